"""Every error voltaloop raises on purpose.

Each survives a process border (pickle) because none overrides ``__init__`` with other arguments
than the ones it passes on to ``Exception``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from voltaloop.core.frame import Label


class VoltaloopError(Exception):
    """Base of all errors that voltaloop raises on purpose; its text is meant for the user."""


class CampaignFileError(VoltaloopError):
    """The campaign file says something that cannot be run."""


class CampaignFolderError(VoltaloopError):
    """The campaign folder cannot be used: of another campaign, held by another run, damaged."""


class StructureError(VoltaloopError):
    """A structure cannot be used: unreadable, no lithium, atoms overlap, content unreachable."""


class LabelledSetError(VoltaloopError):
    """A set of labelled frames cannot be used: unreadable, without a key, not finite, empty."""


class UnknownBackendError(VoltaloopError):
    """A name that no registered backend has."""


class MissingDependencyError(VoltaloopError):
    """An optional package is not installed; the text holds the pip line."""


class ArtifactError(VoltaloopError):
    """An artifact is missing or its content does not match its name."""


class StorageError(VoltaloopError):
    """A disk is full, read-only or gone: nothing is wrong with what was being computed."""


class ReferenceFailure(VoltaloopError):  # noqa: N818 - a named outcome, not a defect of the program
    """A reference could not label a frame, or the gate refused the label.

    ``args`` is ``(reason, detail)``: ``reason`` one of :data:`FAILURE_REASONS`. ``files``: what the
    engine wrote, name to text, for the person who looks into it; ``label``: the refused label,
    where there is one.
    """

    def __init__(
        self,
        reason: str,
        detail: str = "",
        *,
        files: Mapping[str, str] | None = None,
        label: Label | None = None,
    ) -> None:
        super().__init__(reason, detail)
        self.files = dict(files or {})
        self.label = label

    @property
    def reason(self) -> str:
        return str(self.args[0])

    @property
    def detail(self) -> str:
        return str(self.args[1])

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


FailureReason = Literal[
    "not_converged",
    "not_finite",
    "force_too_large",
    "atoms_too_close",
    "moments_insane",
    "moments_jumped",
    "energy_inconsistent",
    "relaxation_failed",
    "engine_failed",
    "crashed",
    "timed_out",
    "out_of_memory",
]
"""Why there is no good label. The last three: how the process ended that computed it."""

FAILURE_REASONS: tuple[str, ...] = get_args(FailureReason)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``" Did you mean 'pod'?"`` when a known word is near, else an empty string."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""

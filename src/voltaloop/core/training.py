"""What goes into the training of a potential and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from voltaloop.core.contracts import Committee
from voltaloop.core.frame import FloatArray, Frame, Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A labelled frame; ``key`` identifies it among all examples of a campaign."""

    key: str
    frame: Frame
    label: Label


class Memo(Protocol):
    """A cache of arrays by the hash of what was computed; may forget at any time."""

    def memo_get(self, key: str) -> Mapping[str, Any] | None:
        """The arrays kept under ``key``, or None."""

    def memo_put(self, key: str, **arrays: Any) -> None:
        """Keep arrays under ``key``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A committee, its held-out errors and the hyperparameters chosen.

    descriptors: (n_examples, d) mean descriptor of every example, as its predictions give them.
    held_out: root mean squares "energy" (eV/atom), "force" (eV/Å) and, where there were stresses,
    "stress" (eV/Å3), of frames predicted by members that had not seen them.
    """

    committee: Committee
    descriptors: FloatArray
    held_out: Mapping[str, float]
    hyperparameters: Mapping[str, float]

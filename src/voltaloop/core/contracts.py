"""What the rooms promise each other. A backend keeps one of these; a contract suite checks it."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

from voltaloop.core.frame import FloatArray, Frame, Label


@runtime_checkable
class Reference(Protocol):
    """An engine taken as truth: structure in, label or :class:`ReferenceFailure` out.

    ``Settings`` is a pydantic model (``extra="forbid"``) with every option documented at its field;
    a reference is built as ``Engine(Settings(...))``. Heavy imports stay inside methods.
    """

    Settings: ClassVar[type[Any]]

    def check_installed(self) -> None:
        """Raise :class:`MissingDependencyError` with the pip line when the engine is not there."""

    def label(self, frame: Frame) -> Label:
        """Energy in eV, forces in eV/Å, stress in eV/Å3 (or None), moments in μB (or None)."""


@runtime_checkable
class Committee(Protocol):
    """Several fits of one potential. ``n`` members; member arrays come first in every shape."""

    @property
    def size(self) -> int:
        """Number of members."""

    def predict(self, frame: Frame) -> CommitteePrediction:
        """What every member says of the frame."""


class CommitteePrediction(Protocol):
    """energy: (n,) eV; forces: (n, n_atoms, 3) eV/Å; stress: (n, 6) eV/Å3 or None;
    descriptor: (d,) the mean descriptor of the frame's atoms, for distances between frames."""

    energy: FloatArray
    forces: FloatArray
    descriptor: FloatArray

"""What the rooms promise each other. A backend keeps one of these; a contract suite checks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from voltaloop.core.frame import FloatArray, Frame, Label
from voltaloop.core.ladder import Rung


@runtime_checkable
class Reference(Protocol):
    """An engine taken as truth: structure in, label or :class:`ReferenceFailure` out.

    ``Settings`` is a pydantic model (``extra="forbid"``) with every option documented at its field;
    a reference is built as ``Engine(Settings(...))``. ``LADDER``: what to try, in this order, when
    it fails; ``settings``: what it was built with. Heavy imports stay inside methods.
    """

    Settings: ClassVar[type[Any]]
    LADDER: ClassVar[tuple[Rung, ...]]

    @property
    def settings(self) -> Any:
        """An instance of ``Settings``."""

    def check_installed(self) -> None:
        """Raise :class:`MissingDependencyError` with the pip line when the engine is not there."""

    def executes(self) -> list[str]:
        """What of the settings is run as a program or imported as code, for people to read."""

    def label(self, frame: Frame) -> Label:
        """Energy in eV, forces in eV/Å, stress in eV/Å3 (or None), moments in μB (or None)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CommitteePrediction:
    """What each of n members says of a frame.

    energy: (n,) eV; forces: (n, n_atoms, 3) eV/Å; stress: (n, 6) eV/Å3 or None;
    descriptor: (d,) mean descriptor of the frame's atoms, for distances between frames.
    """

    energy: FloatArray
    forces: FloatArray
    stress: FloatArray | None
    descriptor: FloatArray


class Committee(Protocol):
    """Several fits of one potential, run by LAMMPS as their mean or one by one."""

    @property
    def size(self) -> int:
        """Number of members."""

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols in the order of the LAMMPS types."""

    def predict(self, frame: Frame, *, stress: bool = False) -> CommitteePrediction:
        """What every member says of the frame."""

    def member(self, index: int) -> Committee:
        """The committee of one member only."""

    def averaged(self) -> Committee:
        """The committee mean as a committee of one."""

    def pair_commands(self, folder: Path) -> list[str]:
        """Write the files of the committee mean into ``folder``; the LAMMPS pair commands."""

    def to_arrays(self) -> dict[str, FloatArray]:
        """The arrays that, with :meth:`to_json`, are the whole committee."""

    def to_json(self) -> Mapping[str, Any]:
        """The rest of what is the whole committee."""

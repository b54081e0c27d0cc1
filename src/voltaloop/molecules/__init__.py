"""Molecules in a frame: their forces, energies and density, within and between them."""

from voltaloop.molecules.energies import EnergyParts, alone, split_energy
from voltaloop.molecules.finding import BOND_SLACK, Molecule, molecules_of
from voltaloop.molecules.forces import ForceErrors, ForceParts, force_errors, split_forces
from voltaloop.molecules.volume import at_density, density, scaled

__all__ = [
    "BOND_SLACK",
    "EnergyParts",
    "ForceErrors",
    "ForceParts",
    "Molecule",
    "alone",
    "at_density",
    "density",
    "force_errors",
    "molecules_of",
    "scaled",
    "split_energy",
    "split_forces",
]

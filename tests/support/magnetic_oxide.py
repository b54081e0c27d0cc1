"""A layered oxide with magnetic moments whose label costs milliseconds."""

from typing import Any, ClassVar

import numpy as np
from ase.calculators.calculator import all_changes
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list
from pair_oxide import PairOxide

BOND_A = 1.95
"""Å. Ni-O distance at which nickel has exactly the moment of its charge."""

BOND_LIMIT_A = 2.6
"""Å. Nearer oxygen is bonded to nickel."""

SLOPE_MUB_PER_A = 0.5
"""A longer bond lets the moment grow."""


class MagneticOxide(PairOxide):
    """The pairs of :class:`PairOxide`, and moments on nickel.

    Nickel beside its lithium is low-spin Ni3+ (1 μB), without lithium it is Ni4+ (none). The signs
    are those of the initial moments, up where there are none. The energy does not depend on them.
    """

    implemented_properties: ClassVar[list[str]] = [*PairOxide.implemented_properties, "magmoms"]

    def calculate(
        self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results["magmoms"] = _moments(self.atoms)


def _moments(atoms: Any) -> Any:
    nickel = atoms.numbers == atomic_numbers["Ni"]
    lithium = np.count_nonzero(atoms.numbers == atomic_numbers["Li"])
    lithium_per_nickel = lithium / max(np.count_nonzero(nickel), 1)
    sign = np.where(atoms.get_initial_magnetic_moments() < 0, -1.0, 1.0)
    size = min(lithium_per_nickel, 1.0) * (1 + SLOPE_MUB_PER_A * (_mean_bond(atoms) - BOND_A))
    return np.where(nickel, sign * size, 0.0)


def _mean_bond(atoms: Any) -> Any:
    """(n_atoms,) mean distance to the bonded oxygen atoms in Å; BOND_A where there is none."""
    i, j, distance = neighbor_list("ijd", atoms, BOND_LIMIT_A)
    bonded = atoms.numbers[j] == atomic_numbers["O"]
    count = np.bincount(i[bonded], minlength=len(atoms))
    total = np.bincount(i[bonded], weights=distance[bonded], minlength=len(atoms))
    return np.where(count > 0, total / np.maximum(count, 1), BOND_A)

"""Which atoms of a frame are one molecule, and where it lies as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import atomic_masses, chemical_symbols
from ase.formula import Formula
from ase.neighborlist import natural_cutoffs, neighbor_list
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from voltaloop.core import FloatArray, Frame, IntArray, StructureError

BOND_SLACK = 0.45
"""Å. Atoms are bonded when closer than the sum of their covalent radii (Cordero et al.,
doi:10.1039/b801115j) and this much more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Molecule:
    """One molecule, whole.

    atoms: (n,) indices into the frame; numbers: (n,) atomic numbers; positions: (n, 3) in Å, moved
    by lattice vectors so that no bond crosses a boundary.
    """

    atoms: IntArray
    numbers: IntArray
    positions: FloatArray

    def __len__(self) -> int:
        return len(self.atoms)

    @property
    def formula(self) -> str:
        """Sum formula in Hill order, such as C3H4O3."""
        symbols = [chemical_symbols[z] for z in self.numbers]
        return str(Formula.from_list(symbols).format("hill"))

    @property
    def masses(self) -> FloatArray:
        """(n,) in u."""
        masses: FloatArray = atomic_masses[self.numbers]
        return masses

    @property
    def centre_of_mass(self) -> FloatArray:
        """(3,) in Å."""
        centre: FloatArray = self.masses @ self.positions / self.masses.sum()
        return centre


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Bonds:
    """Every bond in both directions: atom ``first``, atom ``second`` and the (n_bonds, 3) lattice
    vectors to add to the second one's position to find it beside the first."""

    first: IntArray
    second: IntArray
    shift: IntArray

    def graph(self, n_atoms: int) -> csr_array:
        ones = np.ones(len(self.first))
        return csr_array((ones, (self.first, self.second)), shape=(n_atoms, n_atoms))


def molecules_of(frame: Frame, *, bond_slack: float = BOND_SLACK) -> list[Molecule]:
    """The molecules of a frame, in the order of their first atoms.

    bond_slack: in Å; hot molecules need more, close ones less. Raises StructureError when atoms are
    bonded to their own periodic images: such a molecule has no end.
    """
    bonds = _bonds(frame, bond_slack)
    graph = bonds.graph(len(frame))
    images = _images(frame, bonds, graph)
    whole = frame.positions + images @ frame.cell
    count, owner = connected_components(graph, directed=False)
    members = [np.flatnonzero(owner == k) for k in range(count)]
    return [
        Molecule(atoms=atoms, numbers=frame.numbers[atoms], positions=whole[atoms])
        for atoms in sorted(members, key=lambda atoms: int(atoms[0]))
    ]


def _bonds(frame: Frame, slack: float) -> _Bonds:
    atoms = frame.to_atoms()
    reach = np.array(natural_cutoffs(atoms)) + slack / 2
    first, second, shift = neighbor_list("ijS", atoms, reach)
    return _Bonds(first=first, second=second, shift=shift)


def _images(frame: Frame, bonds: _Bonds, graph: csr_array) -> FloatArray:
    """(n_atoms, 3) lattice vectors that make every molecule whole."""
    shift_of = {
        (int(i), int(j)): shift
        for i, j, shift in zip(bonds.first, bonds.second, bonds.shift, strict=True)
    }
    images = np.zeros((len(frame), 3))
    seen = np.zeros(len(frame), dtype=bool)
    for start in range(len(frame)):
        if seen[start]:
            continue
        order, before = breadth_first_order(graph, start, directed=False)
        seen[order] = True
        for atom in order[1:]:
            images[atom] = images[before[atom]] + shift_of[int(before[atom]), int(atom)]
    _check_finite(frame, bonds, images)
    return images


def _check_finite(frame: Frame, bonds: _Bonds, images: FloatArray) -> None:
    apart = images[bonds.first] + bonds.shift - images[bonds.second]
    broken = np.flatnonzero(apart.any(axis=1))
    if len(broken):
        atom = int(bonds.first[broken[0]])
        symbol = chemical_symbols[frame.numbers[atom]]
        raise StructureError(
            f"Expected molecules, got bonds without an end through the periodic boundary, one of "
            f"them at {symbol} {atom} (counted from 0). Is it a crystal? If not, lower bond_slack "
            "or take a larger cell."
        )

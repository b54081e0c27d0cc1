"""Whether the energies of two labels of nearly the same geometry fit their forces and stresses.

The work along the straight path between the two is taken by the trapezoidal rule, wrong only in the
third order of the step. Calculations that fell into different electronic solutions, a stress at too
small a cutoff, and forces of another geometry show as a mismatch.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from voltaloop.core import FloatArray, Frame, Label, ReferenceFailure
from voltaloop.references.limits import Gate

LONGEST_DISPLACEMENT_A = 0.1
LARGEST_STRAIN = 0.015
"""Within both, the rule is off by up to 6 meV/atom on hot LiNiO2, a third of what the gate allows;
at twice the step by up to 40, which would refuse good labels."""

SAME_DISPLACEMENT_A = 1e-4
SAME_STRAIN = 1e-6
"""Below both, two geometries are the same: the work is below 1e-3 eV per atom at 10 eV/Å."""

Labelled = tuple[Frame, Label]


def check_step(earlier: Labelled, later: Labelled, gate: Gate) -> bool:
    """Refuse the later label as "energy_inconsistent" when its energy does not follow from the
    earlier one; false where the two cannot be compared.

    They can when both hold the same atoms in the same order, each atom moved by less than 0.1 Å and
    the cell was strained by less than 1.5 %; a strained cell needs the stress of both.
    """
    step = _Step.between(earlier[0], later[0])
    if step is None:
        return False
    work = step.work(earlier[1], later[1])
    if work is None:
        return False
    change = later[1].energy - earlier[1].energy
    allowed = step.allowed(work, gate)
    if abs(change - work) > allowed:
        raise ReferenceFailure(
            "energy_inconsistent", step.sentence(change, work, allowed), label=later[1]
        )
    return True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Step:
    """From one geometry to a near one.

    fractional: (n_atoms, 3) what the atoms move beside the cell, in units of its vectors, without
    their common drift; cells: of both ends, in Å; strain: (3, 3), symmetric.
    """

    fractional: FloatArray
    cells: tuple[FloatArray, FloatArray]
    strain: FloatArray

    @classmethod
    def between(cls, earlier: Frame, later: Frame) -> Self | None:
        """None where the two are not near each other."""
        if not np.array_equal(earlier.numbers, later.numbers):
            return None
        deformation: FloatArray = np.asarray(np.linalg.solve(earlier.cell, later.cell))
        if np.abs(deformation - np.eye(3)).max() >= LARGEST_STRAIN:
            return None
        moved = _fractional(later) - _fractional(earlier)
        moved -= np.rint(moved)
        step = cls(
            fractional=moved - moved.mean(axis=0),
            cells=(earlier.cell, later.cell),
            strain=_midpoint_strain(deformation),
        )
        return step if step.displacement < LONGEST_DISPLACEMENT_A else None

    @property
    def displacement(self) -> float:
        """Longest way of an atom in Å, the strain of the cell taken off."""
        return float(np.linalg.norm(self.fractional @ self.cells[0], axis=1).max())

    @property
    def is_still(self) -> bool:
        return self.displacement < SAME_DISPLACEMENT_A and not self._strains(SAME_STRAIN)

    def _strains(self, limit: float) -> bool:
        return bool(np.abs(self.strain).max() > limit)

    def work(self, earlier: Label, later: Label) -> float | None:
        """Change of the energy in eV that forces and stresses call for; None where the cell is
        strained and a stress is not known."""
        labels = (earlier, later)
        of_forces = [
            -float(np.sum(label.forces * (self.fractional @ cell)))
            for label, cell in zip(labels, self.cells, strict=True)
        ]
        if not self._strains(SAME_STRAIN):
            return float(np.mean(of_forces))
        if earlier.stress is None or later.stress is None:
            return None
        of_stresses = [
            abs(float(np.linalg.det(cell))) * float(np.sum(_matrix(stress) * self.strain))
            for stress, cell in zip((earlier.stress, later.stress), self.cells, strict=True)
        ]
        return float(np.mean(of_forces) + np.mean(of_stresses))

    def allowed(self, work: float, gate: Gate) -> float:
        """Mismatch in eV that is let through."""
        atoms = len(self.fractional)
        if self.is_still:
            return gate.max_energy_repeat_eV_per_atom * atoms
        return gate.max_energy_mismatch_eV_per_atom * atoms + gate.max_energy_mismatch_share * abs(
            work
        )

    def sentence(self, change: float, work: float, allowed: float) -> str:
        per_atom = 1e3 / len(self.fractional)
        if self.is_still:
            return (
                f"the same geometry has an energy that is {change * per_atom:.3g} meV/atom off an "
                f"earlier label's, allowed is {allowed * per_atom:.3g} meV/atom "
                "(max_energy_repeat_eV_per_atom)"
            )
        return (
            f"the energy changed by {change * per_atom:.3g} meV/atom from a label whose atoms are "
            f"up to {self.displacement:.3g} Å and whose cell is {np.abs(self.strain).max():.2%} "
            f"away; forces and stresses call for {work * per_atom:.3g} meV/atom, allowed is a "
            f"mismatch of {allowed * per_atom:.3g} meV/atom (max_energy_mismatch_eV_per_atom, "
            "max_energy_mismatch_share)"
        )


def _fractional(frame: Frame) -> FloatArray:
    return np.asarray(np.linalg.solve(frame.cell.T, frame.positions.T).T)


def _midpoint_strain(deformation: FloatArray) -> FloatArray:
    """Strain against the mean of both cells, in which the trapezoidal rule errs in the third order
    of the step only; a small turn of the crystal does no work and is left out."""
    gradient = 2 * (deformation - np.eye(3)) @ np.linalg.inv(deformation + np.eye(3))
    return np.asarray((gradient + gradient.T) / 2)


def _matrix(stress: FloatArray) -> FloatArray:
    return stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]

"""A liquid at other densities, its molecules rigid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import atomic_masses
from ase.units import kg, m

from voltaloop.core import Frame
from voltaloop.molecules.finding import Molecule

G_PER_CM3 = float(1e3 / kg * (1e-2 * m) ** 3)
"""One u/Å3 in g/cm3."""


def density(frame: Frame) -> float:
    """Mass density in g/cm3."""
    return float(atomic_masses[frame.numbers].sum() / frame.volume * G_PER_CM3)


def scaled(frame: Frame, molecules: Sequence[Molecule], factor: float) -> Frame:
    """The cell and the molecules' centres of mass scaled by ``factor``, no molecule deformed.

    What the energy then does is the work of the forces between molecules alone. Raises ValueError
    for a factor that is not positive.
    """
    if not factor > 0:
        raise ValueError(f"Scale of a cell: expected a number above 0, got {factor}")
    positions = np.empty_like(frame.positions)
    for molecule in molecules:
        positions[molecule.atoms] = molecule.positions + (factor - 1) * molecule.centre_of_mass
    return Frame(
        numbers=frame.numbers,
        positions=positions,
        cell=factor * frame.cell,
        magmoms=frame.magmoms,
    )


def at_density(frame: Frame, molecules: Sequence[Molecule], target: float) -> Frame:
    """The frame scaled to a density in g/cm3. Raises ValueError where that is not positive."""
    if not target > 0:
        raise ValueError(f"Density: expected g/cm3 above 0, got {target}")
    return scaled(frame, molecules, float(np.cbrt(density(frame) / target)))

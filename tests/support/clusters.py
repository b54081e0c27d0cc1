"""Small clusters of water and methanol in a large cell, for tests of what molecules do."""

import numpy as np
from ase import Atoms
from ase.build import molecule

from voltaloop.core import Frame

EDGE = 30.0
"""Å. A cell in which a cluster does not feel its images."""

SPACING = 5.5
"""Å between the centres of neighbouring molecules."""


def cluster_atoms(names: list[str], seed: int, rattle: float = 0.05) -> Atoms:
    """Molecules turned at random on a line of random direction, every atom displaced a little."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    atoms = Atoms(cell=[EDGE] * 3, pbc=True)
    for k, name in enumerate(names):
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        one = molecule(name)
        one.positions -= one.get_center_of_mass()
        one.positions = one.positions @ turn + k * SPACING * direction
        atoms += one
    atoms.positions += rng.normal(0.0, rattle, atoms.positions.shape)
    atoms.positions += EDGE / 2 - atoms.get_center_of_mass()
    return atoms


def cluster(names: list[str], seed: int, rattle: float = 0.05) -> Frame:
    return Frame.from_atoms(cluster_atoms(names, seed, rattle))

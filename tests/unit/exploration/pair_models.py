"""Pair potentials that LAMMPS runs fast: models for molecular dynamics and statics."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk

from voltaloop.core import Frame

CUTOFF = 5.5
"""Å, of the copper model."""


@dataclass(frozen=True, kw_only=True)
class PairModel:
    """Commands that need no files."""

    species: tuple[str, ...]
    commands: tuple[str, ...]

    def attach(self, lmp: Any, folder: Path) -> Callable[[], None]:
        assert folder.is_dir()
        lmp.commands_list(list(self.commands))
        return lambda: None


COPPER = PairModel(
    species=("Cu",),
    commands=(
        f"pair_style morse/smooth/linear {CUTOFF}",
        f"pair_coeff * * 0.3429 1.3588 2.866 {CUTOFF}",
    ),
)
"""Morse copper (Girifalco & Weizer, doi 10.1103/PhysRev.114.687), smooth at the cutoff."""

ALLOY = PairModel(
    species=("Cu", "Ag"),
    commands=(
        f"pair_style morse/smooth/linear {CUTOFF}",
        f"pair_coeff 1 1 0.3429 1.3588 2.866 {CUTOFF}",
        f"pair_coeff 1 2 0.3400 1.3600 3.000 {CUTOFF}",
        f"pair_coeff 2 2 0.3323 1.3690 3.115 {CUTOFF}",
    ),
)

COLLAPSING = PairModel(
    species=("Cu",), commands=("pair_style gauss 5.0", "pair_coeff * * 20.0 0.3")
)
"""Atoms attract each other without a core."""


def copper(repeat: int = 2, lattice: float = 3.62) -> Frame:
    """A perfect crystal of 4 ``repeat``³ atoms."""
    return Frame.from_atoms(bulk("Cu", cubic=True, a=lattice).repeat(repeat))


def skewed_alloy(seed: int) -> Frame:
    """Eight rattled atoms in a skewed cell narrower than the cutoff."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", a=3.75) * (2, 2, 2)
    atoms.numbers[rng.permutation(8)[:3]] = 47
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.06, (3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(0.0, 0.15, (8, 3))
    return Frame.from_atoms(atoms)


def moved(frame: Frame, atom: int, by: tuple[float, float, float]) -> Frame:
    positions = frame.positions.copy()
    positions[atom] += by
    return replace(frame, positions=positions)

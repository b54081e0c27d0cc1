"""The short-range repulsion that every potential gets in molecular dynamics."""

from collections.abc import Sequence

from ase.data import atomic_numbers

ZBL_INNER, ZBL_OUTER = 0.8, 1.4
"""Å. Ziegler-Biersack-Littmark repulsion, zero beyond the outer radius: no label reaches there."""


def zbl_style() -> str:
    """The LAMMPS pair style with its two radii."""
    return f"zbl {ZBL_INNER} {ZBL_OUTER}"


def zbl_coefficients(species: Sequence[str], *, hybrid: bool) -> list[str]:
    """The LAMMPS commands for every pair of species; ``hybrid``: as one of several pair styles."""
    numbers = [atomic_numbers[symbol] for symbol in species]
    style = "zbl " if hybrid else ""
    return [
        f"pair_coeff {i + 1} {j + 1} {style}{numbers[i]} {numbers[j]}"
        for i in range(len(numbers))
        for j in range(i, len(numbers))
    ]

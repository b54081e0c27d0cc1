"""Committee statistics of one frame."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from voltaloop.core import FloatArray

CONFIDENCE = 0.95


def t_width(s: ArrayLike, n: int) -> FloatArray:
    """Width of the 95 % Student-t interval of the mean of ``n`` members with spread ``s``.

    2·t(0.975, n−1)·s/√n (Student, Biometrika 6, 1 (1908), doi 10.1093/biomet/6.1.1).
    """
    if n < 2:
        raise ValueError(f"A committee interval needs at least 2 members, got {n}")
    width: FloatArray = 2 * stdtrit(n - 1, (1 + CONFIDENCE) / 2) * np.asarray(s) / np.sqrt(n)
    return width


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far the members of a committee lie apart on one frame.

    Sample standard deviations (n−1): energy_s in eV/atom; force_s (n_atoms,) in eV/Å, root mean
    square over the three components of an atom's force.
    """

    n: int
    energy_s: float
    force_s: FloatArray

    @classmethod
    def of(cls, energies: FloatArray, forces: FloatArray) -> Spread:
        """From energies (n,) in eV and forces (n, n_atoms, 3) in eV/Å."""
        n_atoms = forces.shape[1]
        return cls(
            n=len(energies),
            energy_s=float(np.std(energies, ddof=1)) / n_atoms,
            force_s=np.sqrt(np.mean(np.var(forces, axis=0, ddof=1), axis=-1)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """The stored uncertainty of one frame.

    n: members; energy in eV/atom, forces in eV/Å: s the spread, width the nominal 95 % Student-t
    width, sigma the calibrated standard deviation; forces as the largest and the mean over atoms.
    """

    n: int
    energy_s: float
    energy_width: float
    energy_sigma: float
    force_s_max: float
    force_s_mean: float
    force_width_max: float
    force_width_mean: float
    force_sigma_max: float
    force_sigma_mean: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)

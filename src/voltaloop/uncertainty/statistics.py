"""Committee statistics of one frame."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtrit

from voltaloop.core import FloatArray
from voltaloop.core.contracts import CommitteePrediction

CONFIDENCE = 0.95


def t_width(s: ArrayLike, n: int | None) -> FloatArray:
    """Width of the 95 % Student-t interval of the mean of ``n`` members with spread ``s``.

    2·t(0.975, n−1)·s/√n (Student, Biometrika 6, 1 (1908), doi 10.1093/biomet/6.1.1). Without
    ``n``, ``s`` is a standard deviation that a model knows of itself: the normal interval.
    """
    if n is None:
        normal: FloatArray = 2 * ndtri((1 + CONFIDENCE) / 2) * np.asarray(s)
        return normal
    if n < 2:
        raise ValueError(f"A committee interval needs at least 2 members, got {n}")
    width: FloatArray = 2 * stdtrit(n - 1, (1 + CONFIDENCE) / 2) * np.asarray(s) / np.sqrt(n)
    return width


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far the members of a committee lie apart on one frame.

    Sample standard deviations (n−1): energy_s in eV/atom; force_s (n_atoms,) in eV/Å, root mean
    square over the three components of an atom's force, or, where ``own_force``, what the model
    knows of its own forces.
    """

    n: int
    energy_s: float
    force_s: FloatArray
    own_force: bool = False

    @classmethod
    def of(cls, prediction: CommitteePrediction) -> Spread:
        forces, own = prediction.forces, prediction.force_s
        return cls(
            n=len(prediction.energy),
            energy_s=float(np.std(prediction.energy, ddof=1)) / forces.shape[1],
            force_s=np.sqrt(np.mean(np.var(forces, axis=0, ddof=1), axis=-1))
            if own is None
            else own,
            own_force=own is not None,
        )

    @property
    def force_n(self) -> int | None:
        """What :func:`t_width` needs to know of the forces."""
        return None if self.own_force else self.n


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

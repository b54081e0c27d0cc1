"""Calibration: from the spread of a committee to a standard deviation that keeps its promise.

The members of a committee share their bias, so their spread alone is far too small. Errors of
labels that came after their prediction say by how much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from voltaloop.core import FloatArray
from voltaloop.uncertainty.statistics import CONFIDENCE, Assessment, Spread, t_width

Z95 = float(ndtri((1 + CONFIDENCE) / 2))
MIN_SCORES = 20
"""Fewer scored values than this say too little about a 95 % quantile."""

PRIOR_SLOPE = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """sigma(s) = √((slope·s)² + floor²): the spread scaled, and the bias the members share.

    Spread and floor in the unit of the quantity.
    """

    slope: float
    floor: float

    def sigma(self, s: ArrayLike) -> FloatArray:
        sigma: FloatArray = np.hypot(self.slope * np.asarray(s), self.floor)
        return sigma

    def covered(self, errors: ArrayLike, s: ArrayLike) -> NDArray[np.bool_]:
        """Which errors lie inside the 95 % interval ±1.96 sigma."""
        inside: NDArray[np.bool_] = np.abs(errors) <= Z95 * self.sigma(s)
        return inside

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def prior_calibration(typical_error: float) -> Calibration:
    """Before any label came after its prediction: the held-out error as the floor."""
    return Calibration(slope=PRIOR_SLOPE, floor=typical_error)


def fit_calibration(errors: FloatArray, s: FloatArray, prior: Calibration) -> Calibration:
    """Fit slope and floor to errors (k,) and spreads (k,) of the same values.

    Slope and floor maximise the Gaussian likelihood; then both are scaled so that the 95 %
    interval covers 95 % of the errors seen, with the finite-sample rank of split conformal
    prediction (Lei et al., doi 10.1080/01621459.2017.1307116). Too few values, or no error in
    any of them: the prior.
    """
    if len(errors) < MIN_SCORES or not np.any(errors):
        return prior
    shape = _most_likely(errors, s, prior)
    ratios = np.sort(np.abs(errors) / shape.sigma(s))
    rank = min(int(np.ceil((len(ratios) + 1) * CONFIDENCE)), len(ratios))
    scale = float(ratios[rank - 1]) / Z95
    return Calibration(slope=shape.slope * scale, floor=shape.floor * scale)


def _most_likely(errors: FloatArray, s: FloatArray, prior: Calibration) -> Calibration:
    squares = errors**2
    size = float(np.sqrt(np.mean(squares))) + 1e-12

    def cost(parameters: FloatArray) -> float:
        slope, floor = np.exp(parameters)
        variance = (slope * s) ** 2 + floor**2
        return float(np.mean(np.log(variance) + squares / variance))

    from scipy.optimize import minimize

    low, high = np.log(1e-3 * size), np.log(10 * size)
    found = minimize(
        cost,
        x0=np.array([np.log(prior.slope), np.log(size / 2)]),
        bounds=[(np.log(1e-2), np.log(1e3)), (low, high)],
        method="L-BFGS-B",
    )
    slope, floor = np.exp(found.x)
    return Calibration(slope=float(slope), floor=float(floor))


def raw_covered(errors: ArrayLike, s: ArrayLike, n: int | None) -> NDArray[np.bool_]:
    """Which errors lie inside the nominal, uncalibrated 95 % interval of :func:`t_width`."""
    inside: NDArray[np.bool_] = np.abs(errors) <= t_width(s, n) / 2
    return inside


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrations:
    """The calibrations of one committee: energy (eV/atom), force (eV/Å), stress (eV/Å3)."""

    energy: Calibration
    force: Calibration
    stress: Calibration

    @classmethod
    def from_json(cls, data: Mapping[str, Mapping[str, float]]) -> Calibrations:
        return cls(**{name: Calibration(**values) for name, values in data.items()})

    def to_json(self) -> dict[str, dict[str, float]]:
        return {
            "energy": self.energy.as_dict(),
            "force": self.force.as_dict(),
            "stress": self.stress.as_dict(),
        }

    def assess(self, spread: Spread) -> Assessment:
        widths = t_width(spread.force_s, spread.force_n)
        sigmas = self.force.sigma(spread.force_s)
        return Assessment(
            n=spread.n,
            energy_s=spread.energy_s,
            energy_width=float(t_width(spread.energy_s, spread.n)),
            energy_sigma=float(self.energy.sigma(spread.energy_s)),
            force_s_max=float(spread.force_s.max()),
            force_s_mean=float(spread.force_s.mean()),
            force_width_max=float(widths.max()),
            force_width_mean=float(widths.mean()),
            force_sigma_max=float(sigmas.max()),
            force_sigma_mean=float(sigmas.mean()),
        )

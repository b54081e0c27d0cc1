"""How good predictions were, for labels that came after them.

Kept as flat arrays of one length per quantity, one entry per energy, force component or stress
component, so that rounds append to each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from voltaloop.core import FloatArray, Frame, Label
from voltaloop.core.contracts import CommitteePrediction
from voltaloop.uncertainty import Calibration, Calibrations, Spread, fit_calibration, raw_covered

RECENT_FRAMES = 48
"""The calibration looks at the latest frames: earlier ones were predicted by poorer committees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Errors (predicted − reference) and spreads of one frame.

    energy in eV/atom; forces (3 n_atoms,) in eV/Å, the spread being the atom's (own_force: as the
    model knows it of itself); stress (6,) in eV/Å3 or empty.
    """

    n_members: int
    energy_error: float
    energy_s: float
    force_error: FloatArray
    force_s: FloatArray
    stress_error: FloatArray
    stress_s: FloatArray
    own_force: bool = False

    @classmethod
    def of(cls, frame: Frame, label: Label, prediction: CommitteePrediction) -> Scored:
        spread = Spread.of(prediction)
        stress_error, stress_s = np.zeros(0), np.zeros(0)
        if label.stress is not None and prediction.stress is not None:
            stress_error = prediction.stress.mean(axis=0) - label.stress
            own = np.sqrt(np.mean(np.var(prediction.stress, axis=0, ddof=1)))
            stress_s = np.full(6, own)
        return cls(
            n_members=spread.n,
            energy_error=float(prediction.energy.mean() - label.energy) / len(frame),
            energy_s=spread.energy_s,
            force_error=(prediction.forces.mean(axis=0) - label.forces).ravel(),
            force_s=np.repeat(spread.force_s, 3),
            stress_error=stress_error,
            stress_s=stress_s,
            own_force=spread.own_force,
        )

    @property
    def spread(self) -> Spread:
        """As an assessment needs it."""
        return Spread(
            n=self.n_members,
            energy_s=self.energy_s,
            force_s=self.force_s[::3],
            own_force=self.own_force,
        )


QUANTITIES = ("energy", "force", "stress")


def as_arrays(scored: Sequence[Scored], first_frame: int = 0) -> dict[str, FloatArray]:
    """Flat arrays ``<quantity>_error``, ``<quantity>_s``, ``<quantity>_frame``."""
    columns: dict[str, list[FloatArray]] = {}
    for i, one in enumerate(scored):
        for quantity in QUANTITIES:
            error = np.atleast_1d(getattr(one, f"{quantity}_error"))
            columns.setdefault(f"{quantity}_error", []).append(error)
            columns.setdefault(f"{quantity}_s", []).append(
                np.atleast_1d(getattr(one, f"{quantity}_s"))
            )
            columns.setdefault(f"{quantity}_frame", []).append(
                np.full(len(error), float(first_frame + i))
            )
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def appended(
    old: Mapping[str, FloatArray] | None, new: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    if old is None:
        return dict(new)
    return {name: np.concatenate([old[name], new[name]]) for name in new}


def recalibrated(scores: Mapping[str, FloatArray], prior: Calibrations) -> Calibrations:
    """Calibrations fitted to the latest scored frames."""

    def fitted(quantity: str, before: Calibration) -> Calibration:
        frames = scores[f"{quantity}_frame"]
        last = frames.max() if len(frames) else 0.0
        recent = frames > last - RECENT_FRAMES
        return fit_calibration(
            scores[f"{quantity}_error"][recent], scores[f"{quantity}_s"][recent], before
        )

    return Calibrations(
        energy=fitted("energy", prior.energy),
        force=fitted("force", prior.force),
        stress=fitted("stress", prior.stress),
    )


def noise_floor(scores: Mapping[str, FloatArray], force: Calibration) -> float:
    """The force sigma of a typical atom of the latest scored frames, in eV/Å."""
    frames = scores["force_frame"]
    recent = frames > frames.max() - RECENT_FRAMES
    return float(np.median(force.sigma(scores["force_s"][recent])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Shares of true errors inside the nominal (raw) and the calibrated 95 % interval."""

    energy_raw: float
    energy: float
    force_raw: float
    force: float

    @classmethod
    def of(cls, scored: Sequence[Scored], calibrations: Calibrations) -> Coverage:
        spread = scored[0].spread
        energy_error = np.array([one.energy_error for one in scored])
        energy_s = np.array([one.energy_s for one in scored])
        force_error = np.concatenate([one.force_error for one in scored])
        force_s = np.concatenate([one.force_s for one in scored])
        return cls(
            energy_raw=float(raw_covered(energy_error, energy_s, spread.n).mean()),
            energy=float(calibrations.energy.covered(energy_error, energy_s).mean()),
            force_raw=float(raw_covered(force_error, force_s, spread.force_n).mean()),
            force=float(calibrations.force.covered(force_error, force_s).mean()),
        )

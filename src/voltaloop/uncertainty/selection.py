"""Which frames to label: uncertain, diverse, not known already, and a random share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from voltaloop.core import FloatArray

LOWER_IN_FLOORS = 1.25
UPPER_IN_FLOORS = 10.0
MIN_UPPER = 1.0
"""eV/Å. An upper trust level below this would cut off hot but sound frames."""

NEAR_DUPLICATE = 0.25
"""A frame nearer to a labelled one than this share of the labelled frames' own median distance to
their nearest neighbours teaches nothing new."""


Origin = Literal["relaxed", "uncertain", "random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustLevels:
    """Calibrated force sigma in eV/Å: below ``lower`` a frame is known, above ``upper`` broken."""

    lower: float
    upper: float


def auto_trust(
    floor: float, *, lower: float | None = None, upper: float | None = None
) -> TrustLevels:
    """Levels from the noise floor in eV/Å; given ones win.

    The floor is the sigma of a typical atom of the latest frames scored: what the potential
    reaches now. An uncertain frame has an atom that clearly exceeds it.
    """
    low = LOWER_IN_FLOORS * floor if lower is None else lower
    high = max(UPPER_IN_FLOORS * floor, MIN_UPPER, 2 * low) if upper is None else upper
    return TrustLevels(lower=low, upper=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A sampled frame: its key, calibrated force sigma (eV/Å, largest atom), descriptor (d,)."""

    key: str
    sigma: float
    descriptor: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """A frame to label: "relaxed" ones carry the answer, "uncertain" ones were chosen for their
    sigma, "random" ones feed the calibration."""

    key: str
    origin: Origin
    sigma: float
    reason: str


def select(
    candidates: Sequence[Candidate],
    known: FloatArray,
    trust: TrustLevels,
    *,
    count: int,
    n_random: int,
    rng: np.random.Generator,
    relaxed: Sequence[Candidate] = (),
) -> list[Picked]:
    """Up to ``count`` frames: ``n_random`` at random, then uncertain ones far from each other.

    relaxed: frames at rest, which the answer is computed from; they come first, whatever their
    sigma. known: (n_labelled, d) descriptors of the frames labelled already (or being labelled);
    each descriptor counts in units of its standard deviation over known frames and candidates.
    Random
    picks come from all frames below the upper trust level, whatever their sigma; no pick is a
    near-duplicate of a known frame or of an earlier pick.
    """
    sound = [c for c in (*relaxed, *candidates) if c.sigma <= trust.upper]
    resting = {c.key for c in relaxed}
    if not sound or count <= 0:
        return []
    space = _Distances(np.array([c.descriptor for c in sound]), known)
    picks: list[Picked] = []
    moving = [i for i, c in enumerate(sound) if c.key not in resting]
    for index in (i for i, c in enumerate(sound) if c.key in resting):
        if len(picks) < count and space.is_new(index):
            picks.append(_picked(sound[index], "relaxed", "the answer rests on it"))
            space.take(index)
    n_random += len(picks)
    for index in rng.permutation(moving):
        if len(picks) >= min(n_random, count):
            break
        if space.is_new(index):
            picks.append(_picked(sound[index], "random", "random share"))
            space.take(index)
    uncertain = np.array([c.sigma >= trust.lower and c.key not in resting for c in sound])
    while len(picks) < count:
        farthest = space.farthest(uncertain)
        if farthest is None:
            break
        index, distance = farthest
        reason = (
            f"sigma {sound[index].sigma:.2f} eV/Å above {trust.lower:.2f}, "
            f"{distance:.1f} spacings from the nearest label"
        )
        picks.append(_picked(sound[index], "uncertain", reason))
        space.take(index)
    return picks


def _picked(candidate: Candidate, origin: Origin, reason: str) -> Picked:
    return Picked(key=candidate.key, origin=origin, sigma=candidate.sigma, reason=reason)


class _Distances:
    """Distances from candidates to what is known, in units of the known frames' own spacing."""

    def __init__(self, candidates: FloatArray, known: FloatArray) -> None:
        known = known.reshape(-1, candidates.shape[1])
        everything = np.concatenate([known, candidates])
        scale = everything.std(axis=0)
        scale[scale <= 1e-9 * max(float(np.abs(everything).max()), 1e-300)] = np.inf
        self._points = candidates / scale
        known = known / scale
        self._spacing = _median_spacing(known)
        self._nearest = _nearest(self._points, known) / self._spacing

    def is_new(self, index: int) -> bool:
        return bool(self._nearest[index] > NEAR_DUPLICATE)

    def take(self, index: int) -> None:
        """From now on ``index`` counts as known."""
        own = np.linalg.norm(self._points - self._points[index], axis=1) / self._spacing
        self._nearest = np.minimum(self._nearest, own)

    def farthest(self, allowed: NDArray[np.bool_]) -> tuple[int, float] | None:
        distance = np.where(allowed, self._nearest, -1.0)
        index = int(np.argmax(distance))
        if distance[index] <= NEAR_DUPLICATE:
            return None
        return index, float(distance[index])


def _nearest(points: FloatArray, known: FloatArray) -> FloatArray:
    """(n,) distance of each point to its nearest known one; infinite where nothing is known."""
    distances = [np.linalg.norm(known - p, axis=1).min(initial=np.inf) for p in points]
    return np.array(distances)


def _median_spacing(known: FloatArray) -> float:
    if len(known) < 2:
        return 1.0
    distances = np.array([np.partition(np.linalg.norm(known - p, axis=1), 1)[1] for p in known])
    return float(np.median(distances)) or 1.0

"""Fitting the committee: each member is fitted to all blocks but one.

Regularisation and weights follow one stated rule: the product of the three held-out errors
(energy, force, stress; each frame predicted by the member that has not seen its block) is
smallest, taken over the better nine tenths of the frames unless told otherwise: a few frames far
from all others would decide alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from voltaloop.core import FloatArray
from voltaloop.potentials.pod.normal import QUANTITIES, Block, Equations, empty_block

GRID_STEP = 10**0.5
"""Weights and ridge are searched on a logarithmic grid of half decades."""

LIMITS = {"energy": (9.0, 320.0), "stress": (0.9, 32.0), "ridge": (0.9e-9, 1.1e-3)}

KEPT_SHARE = 0.9
"""Share of the frames that decide weights and ridge."""

STIFFEST = 1.0
"""With a ridge like this on columns of unit norm no finite equations are singular."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """Row weights (force = 1) of energy per atom and virial per atom, and the ridge.

    The ridge acts on columns scaled to unit norm.
    """

    energy: float = 31.6
    stress: float = 3.16
    ridge: float = 1e-8

    def weight(self, quantity: str) -> float:
        return {"energy": self.energy, "stress": self.stress, "force": 1.0}[quantity]

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(slots=True)
class Examples:
    """Labelled frames as equations, and their sums by block: frame i belongs to block i mod n."""

    size: int
    n_blocks: int
    frames: list[Equations]
    blocks: list[Block]
    kept_share: float = KEPT_SHARE

    @classmethod
    def empty(cls, size: int, n_blocks: int, kept_share: float = KEPT_SHARE) -> Examples:
        return cls(size, n_blocks, [], [empty_block(size) for _ in range(n_blocks)], kept_share)

    def add(self, equations: Equations) -> None:
        block = self.blocks[len(self.frames) % self.n_blocks]
        for quantity, (rows, targets) in equations.items():
            block[quantity].add(rows, targets)
        self.frames.append(equations)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameErrors:
    """Errors of frames, each predicted by one member.

    (n_frames,) root mean squares by frame: energy eV/atom; force eV/Å per component; stress:
    virial per atom in eV (NaN where a label has no stress). kept_share: of the frames, those with
    the smallest errors, that make up the score.
    """

    energy: FloatArray
    force: FloatArray
    stress: FloatArray
    kept_share: float = KEPT_SHARE

    def rmse(self, quantity: str, share: float = 1.0) -> float:
        """Root mean square over the ``share`` of frames with the smallest errors (NaN: none)."""
        errors = np.sort(getattr(self, quantity))
        errors = errors[np.isfinite(errors)]
        kept = errors[: max(int(np.ceil(share * len(errors))), 1)]
        return float(np.sqrt(np.mean(kept**2))) if len(kept) else float("nan")

    @property
    def score(self) -> float:
        """Logarithm of the product of the errors of the better frames; smaller is better."""
        errors = [self.rmse(quantity, self.kept_share) for quantity in QUANTITIES]
        return float(np.sum(np.log([max(e, 1e-12) for e in errors if np.isfinite(e)])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """coefficients: (n_members, m); their held-out errors and the hyperparameters used."""

    coefficients: FloatArray
    held_out: FrameErrors
    hyperparameters: Hyperparameters


def solve(gram: FloatArray, moment: FloatArray, ridge: float) -> FloatArray:
    """Ridge solution on columns scaled to unit norm; LinAlgError when singular or not finite."""
    scale = 1.0 / np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
    scale[np.diag(gram) <= 0] = 0.0
    scaled = gram * scale[:, None] * scale[None, :]
    scaled[np.diag_indices_from(scaled)] += ridge
    factor = cho_factor(scaled, lower=True, overwrite_a=True, check_finite=False)
    solution: FloatArray = scale * cho_solve(factor, scale * moment, check_finite=False)
    if not np.isfinite(solution).all():
        raise LinAlgError("The normal equations have no finite solution")
    return solution


def fit_committee(examples: Examples, hyper: Hyperparameters) -> Fit:
    """Fit one member per block, on all other blocks."""
    grams, moments = _weighted(examples.blocks, hyper)
    gram, moment = sum(grams[1:], grams[0].copy()), np.sum(moments, axis=0)
    members = [
        solve(gram - own_gram, moment - own_moment, hyper.ridge)
        for own_gram, own_moment in zip(grams, moments, strict=True)
    ]
    coefficients = np.array(members)
    return Fit(
        coefficients=coefficients,
        held_out=frame_errors(examples, coefficients),
        hyperparameters=hyper,
    )


def _weighted(
    blocks: Sequence[Block], hyper: Hyperparameters
) -> tuple[list[FloatArray], list[FloatArray]]:
    squares = {quantity: hyper.weight(quantity) ** 2 for quantity in QUANTITIES}
    grams = [np.sum([squares[q] * block[q].gram for q in QUANTITIES], axis=0) for block in blocks]
    moments = [
        np.sum([squares[q] * block[q].moment for q in QUANTITIES], axis=0) for block in blocks
    ]
    return grams, moments


def frame_errors(
    examples: Examples, coefficients: FloatArray, *, seen: bool = False
) -> FrameErrors:
    """Each frame's errors under the member that was fitted without its block, or, where ``seen``,
    under one that was fitted to it."""
    errors = {quantity: np.full(len(examples.frames), np.nan) for quantity in QUANTITIES}
    for i, equations in enumerate(examples.frames):
        member = coefficients[(i + seen) % examples.n_blocks]
        for quantity, (rows, targets) in equations.items():
            errors[quantity][i] = np.sqrt(np.mean((rows @ member - targets) ** 2))
    return FrameErrors(**errors, kept_share=examples.kept_share)


def search(examples: Examples, start: Hyperparameters) -> list[Fit]:
    """Walk the grid from ``start`` to a local minimum of the held-out score: the way, best last."""
    tried: dict[Hyperparameters, Fit] = {start: fit_or_stiffen(examples, start)}
    best = tried[start]
    way = [best]
    improved = True
    while improved:
        improved = False
        for candidate in _neighbours(best.hyperparameters, examples):
            if candidate in tried:
                continue
            try:
                tried[candidate] = fit_committee(examples, candidate)
            except LinAlgError:
                continue
            if tried[candidate].held_out.score < best.held_out.score:
                best, improved = tried[candidate], True
                way.append(best)
                break
    return way


def fit_or_stiffen(examples: Examples, hyper: Hyperparameters) -> Fit:
    """Fit; where the equations are singular, raise the ridge until they are not.

    Raises ValueError when no ridge helps.
    """
    while True:
        try:
            return fit_committee(examples, hyper)
        except LinAlgError as err:
            if hyper.ridge >= STIFFEST:
                raise ValueError(
                    "The potential cannot be fitted: expected finite design rows and labels, got "
                    "numbers that are not. Remove examples with overlapping atoms or broken labels."
                ) from err
            hyper = replace(hyper, ridge=hyper.ridge * GRID_STEP)


def _neighbours(hyper: Hyperparameters, examples: Examples) -> Iterator[Hyperparameters]:
    has_stress = any("stress" in equations for equations in examples.frames)
    for name, (low, high) in LIMITS.items():
        if name == "stress" and not has_stress:
            continue
        for factor in (GRID_STEP, 1 / GRID_STEP):
            value = float(f"{getattr(hyper, name) * factor:.3g}")
            if low <= value <= high:
                yield replace(hyper, **{name: value})

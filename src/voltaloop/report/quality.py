"""History → how good the potential and its error bars are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm

from voltaloop.report.answer import Answer
from voltaloop.report.history import AuditRecord, CampaignHistory, LabelRecord, TrainingRound

FloatArray = NDArray[np.float64]
Kind = Literal["raw", "calibrated"]
Quantity = Literal["energy", "forces"]

Z95 = float(norm.ppf(0.975))
"""Half-width of the 95 % interval in calibrated standard deviations."""

MOST_POINTS = 4000
"""Points of one scatter plot; more are thinned, the largest errors always kept."""

WORST_KEPT = 50

NO_SPECIES: NDArray[np.str_] = np.empty(0, dtype=np.str_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Share of true values inside their 95 % interval, with its Clopper-Pearson 95 % interval.

    low and high are None where the number of trials n is not known.
    """

    quantity: Quantity
    kind: Kind
    fraction: float
    n: int | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCoverage:
    """Coverage of one quantity after one training round; band: its Clopper-Pearson interval."""

    n_labels: int
    n_scored: int | None
    raw: float | None
    calibrated: float
    band: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parity:
    """Reference against prediction: (n_shown,) each, all in ``unit``; sigma may be empty.

    species: the atoms' chemical symbols, empty where there are none or they are not known. rmse,
    mae and n are of all points, also those thinned away.
    """

    unit: str
    x: FloatArray
    reference: FloatArray
    predicted: FloatArray
    sigma: FloatArray
    species: NDArray[np.str_]
    rmse: float
    mae: float
    n: int

    @property
    def error(self) -> FloatArray:
        return self.predicted - self.reference


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SigmaPoints:
    """Calibrated σ and true error without sign, (n_shown,) each, in ``unit``; n: of all points."""

    name: str
    unit: str
    sigma: FloatArray
    error: FloatArray
    n: int

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which points lie in their 95 % interval."""
        return self.error <= Z95 * self.sigma


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reliability:
    """Root mean square error against root mean square σ, in bins of equal population."""

    sigma: FloatArray
    rmse: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditErrors:
    """Root mean square errors of the audit; None while there is no audit."""

    frames: int
    energy_rmse_meV_per_atom: float | None
    force_rmse_eV_per_A: float | None
    stress_rmse_GPa: float | None


def clopper_pearson(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Exact binomial confidence interval of a share (doi:10.1093/biomet/26.4.404)."""
    if not 0 <= hits <= n or n < 1:
        raise ValueError(f"Expected 0 <= hits <= n and n >= 1, got hits={hits}, n={n}.")
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(1 - tail, hits + 1, n - hits))
    return low, high


def thinned(error: FloatArray, limit: int = MOST_POINTS) -> NDArray[np.int64]:
    """Indices of at most ``limit`` points: the largest errors and a seeded sample of the rest.

    A fixed stride would pick one Cartesian component only, hence the sample.
    """
    if len(error) <= limit:
        return np.arange(len(error))
    by_size = np.argsort(-np.abs(error), kind="stable")
    worst, rest = np.split(by_size, [min(WORST_KEPT, limit)])
    sample = np.random.default_rng(0).choice(rest, size=limit - len(worst), replace=False)
    return np.sort(np.concatenate([worst, sample]))


def energy_parity(audit: Sequence[AuditRecord]) -> Parity | None:
    """eV/atom; None without an audit."""
    return _parity(
        "eV/atom",
        np.array([a.x for a in audit]),
        np.array([a.reference_energy_eV_per_atom for a in audit]),
        np.array([a.predicted_energy_eV_per_atom for a in audit]),
        np.array([a.energy_sigma for a in audit]),
    )


def force_parity(audit: Sequence[AuditRecord]) -> Parity | None:
    """Components in eV/Å; None without an audit."""
    return _parity(
        "eV/Å",
        np.repeat([a.x for a in audit], [3 * a.n_atoms for a in audit]),
        _joined([a.reference_forces for a in audit]),
        _joined([a.predicted_forces for a in audit]),
        _joined([a.force_sigma for a in audit]),
        force_species(audit),
    )


def force_species(audit: Sequence[AuditRecord]) -> NDArray[np.str_]:
    """Chemical symbol of every force component; empty where a record does not know its own."""
    if not all(a.species for a in audit):
        return NO_SPECIES
    return np.repeat([symbol for a in audit for symbol in a.species], 3)


def stress_parity(audit: Sequence[AuditRecord]) -> Parity | None:
    """Components in GPa; None where no audit frame has both stresses."""
    known = [
        (a.x, a.reference_stress, a.predicted_stress)
        for a in audit
        if a.reference_stress is not None and a.predicted_stress is not None
    ]
    return _parity(
        "GPa",
        np.repeat([x for x, _, _ in known], 6),
        _joined([reference for _, reference, _ in known]),
        _joined([predicted for _, _, predicted in known]),
        np.empty(0),
    )


def _joined(parts: Sequence[Sequence[float]]) -> FloatArray:
    return np.array([value for part in parts for value in part], dtype=np.float64)


def _parity(
    unit: str,
    x: FloatArray,
    reference: FloatArray,
    predicted: FloatArray,
    sigma: FloatArray,
    species: NDArray[np.str_] = NO_SPECIES,
) -> Parity | None:
    if len(reference) == 0:
        return None
    error = predicted - reference
    shown = thinned(error)
    return Parity(
        unit=unit,
        x=x[shown],
        reference=reference[shown],
        predicted=predicted[shown],
        sigma=sigma[shown] if len(sigma) else sigma,
        species=species[shown] if len(species) else species,
        rmse=float(np.sqrt(np.mean(error**2))),
        mae=float(np.mean(np.abs(error))),
        n=len(error),
    )


def audit_errors(history: CampaignHistory) -> AuditErrors:
    """From answer.json where it says them, else from the audit's own records."""
    answer = None if history.answer is None else Answer.from_mapping(history.answer)
    energy, forces, stress = (
        make(history.audit) for make in (energy_parity, force_parity, stress_parity)
    )
    return AuditErrors(
        frames=len(history.audit),
        energy_rmse_meV_per_atom=_said(
            answer, "heldout_energy_rmse_meV_per_atom", None if not energy else 1000 * energy.rmse
        ),
        force_rmse_eV_per_A=_said(
            answer, "heldout_force_rmse_eV_per_A", forces.rmse if forces else None
        ),
        stress_rmse_GPa=_said(answer, "heldout_stress_rmse_GPa", stress.rmse if stress else None),
    )


def _said(answer: Answer | None, key: str, otherwise: float | None) -> float | None:
    said = None if answer is None else answer.number(key)
    return otherwise if said is None else said


def audit_coverage(history: CampaignHistory) -> list[Coverage]:
    """Energy and forces, raw and calibrated; a figure of answer.json comes before a count here."""
    answer = None if history.answer is None else Answer.from_mapping(history.answer)
    counted = {
        ("energy", "raw"): _energy_inside(history.audit, raw=True),
        ("energy", "calibrated"): _energy_inside(history.audit, raw=False),
        ("forces", "raw"): _forces_inside(history.audit, raw=True),
        ("forces", "calibrated"): _forces_inside(history.audit, raw=False),
    }
    keys = {
        ("energy", "raw"): "coverage95_energy_raw",
        ("energy", "calibrated"): "coverage95_energy",
        ("forces", "raw"): "coverage95_force_raw",
        ("forces", "calibrated"): "coverage95_force",
    }
    n = {
        "energy": len(history.audit),
        "forces": sum(3 * record.n_atoms for record in history.audit),
    }
    rows = []
    quantities: tuple[Quantity, ...] = ("energy", "forces")
    kinds: tuple[Kind, ...] = ("raw", "calibrated")
    for quantity in quantities:
        for kind in kinds:
            fraction = _said(answer, keys[quantity, kind], counted[quantity, kind])
            if fraction is not None:
                rows.append(_coverage(quantity, kind, fraction, n[quantity]))
    return rows


def _coverage(quantity: Quantity, kind: Kind, fraction: float, n: int) -> Coverage:
    low, high = clopper_pearson(round(fraction * n), n) if n else (None, None)
    return Coverage(
        quantity=quantity, kind=kind, fraction=fraction, n=n or None, low=low, high=high
    )


def _energy_inside(audit: Sequence[AuditRecord], *, raw: bool) -> float | None:
    if not audit:
        return None
    inside = [
        abs(a.predicted_energy_eV_per_atom - a.reference_energy_eV_per_atom)
        <= (a.energy_t_width / 2 if raw else Z95 * a.energy_sigma)
        for a in audit
    ]
    return sum(inside) / len(inside)


def _forces_inside(audit: Sequence[AuditRecord], *, raw: bool) -> float | None:
    if not audit or (raw and any(a.force_t_width is None for a in audit)):
        return None
    error = np.abs(
        _joined([a.predicted_forces for a in audit]) - _joined([a.reference_forces for a in audit])
    )
    widths = [a.force_t_width or () for a in audit] if raw else [a.force_sigma for a in audit]
    half_width = _joined(widths) * (0.5 if raw else Z95)
    return float(np.mean(error <= half_width))


def running_coverage(rounds: Sequence[TrainingRound], quantity: Quantity) -> list[RunningCoverage]:
    """Round by round, where a round has scored labels.

    Only the energy has a band: one label is one trial, force components of a label are not.
    """
    rows = []
    for fitted in rounds:
        raw, calibrated = (
            (fitted.coverage_energy_raw, fitted.coverage_energy)
            if quantity == "energy"
            else (fitted.coverage_force_raw, fitted.coverage_force)
        )
        if calibrated is None:
            continue
        n = fitted.n_scored
        band = clopper_pearson(round(calibrated * n), n) if n and quantity == "energy" else None
        rows.append(
            RunningCoverage(
                n_labels=fitted.n_labels, n_scored=n, raw=raw, calibrated=calibrated, band=band
            )
        )
    return rows


def audit_energy_sigma(audit: Sequence[AuditRecord]) -> SigmaPoints | None:
    """Audit frames in meV/atom."""
    parity = energy_parity(audit)
    if parity is None:
        return None
    return SigmaPoints(
        name="audit",
        unit="meV/atom",
        sigma=1000 * parity.sigma,
        error=1000 * np.abs(parity.error),
        n=parity.n,
    )


def running_energy_sigma(labels: Sequence[LabelRecord]) -> SigmaPoints | None:
    """Labels scored before they entered training, in meV/atom."""
    scored = [
        (label.energy_sigma, abs(label.energy_error_eV_per_atom))
        for label in labels
        if label.energy_sigma is not None and label.energy_error_eV_per_atom is not None
    ]
    if not scored:
        return None
    sigma, error = 1000 * np.array(scored).T
    return SigmaPoints(
        name="while running", unit="meV/atom", sigma=sigma, error=error, n=len(scored)
    )


def audit_force_sigma(audit: Sequence[AuditRecord]) -> SigmaPoints | None:
    """Force components of the audit in eV/Å."""
    parity = force_parity(audit)
    if parity is None:
        return None
    return SigmaPoints(
        name="audit",
        unit="eV/Å",
        sigma=parity.sigma,
        error=np.abs(parity.error),
        n=parity.n,
    )


def force_reliability(audit: Sequence[AuditRecord], bins: int = 10) -> Reliability | None:
    """From all components, not the thinned ones; at least 20 components a bin, else None."""
    sigma = _joined([a.force_sigma for a in audit])
    bins = min(bins, len(sigma) // 20)
    if bins < 2:
        return None
    error = _joined([a.predicted_forces for a in audit]) - _joined(
        [a.reference_forces for a in audit]
    )
    groups = np.array_split(np.argsort(sigma, kind="stable"), bins)
    return Reliability(
        sigma=np.array([_root_mean_square(sigma[group]) for group in groups]),
        rmse=np.array([_root_mean_square(error[group]) for group in groups]),
    )


def _root_mean_square(values: FloatArray) -> float:
    return math.sqrt(float(np.mean(values**2)))

"""History → what is shown of the answer, of what it rests on and of what was selected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from voltaloop.report.answer import Answer, HullPoint
from voltaloop.report.formats import (
    content,
    fixed,
    percent,
    plural,
    subscripted,
    unit,
    with_error,
)
from voltaloop.report.history import (
    CampaignHistory,
    ExplorationRecord,
    LabelOrigin,
    LabelRecord,
    TrainingRound,
)
from voltaloop.report.quality import Coverage, audit_coverage, audit_errors

Standing = Literal["good", "open", "bad", "unknown"]
ORIGINS: tuple[LabelOrigin, ...] = ("start", "relaxed", "uncertain", "random")
OUTCOMES = (
    "completed",
    "uncertain",
    "atoms_too_close",
    "cell_ran_away",
    "temperature_exploded",
    "crashed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What a campaign should reach; the badges of the report compare with these."""

    energy_meV_per_atom: float = 5.0
    force_eV_per_A: float = 0.12
    coverage: tuple[float, float] = (0.90, 0.99)
    volume_percent: float = 1.0
    voltage_V: float = 0.05


TARGETS = Targets()


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value, its ±, and the reference's own value; None where not known."""

    value: float | None = None
    err: float | None = None
    reference: float | None = None

    @property
    def difference(self) -> float | None:
        """Value minus reference, where both are known."""
        if self.value is None or self.reference is None:
            return None
        return self.value - self.reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The answer in two numbers. round: the training round of a provisional answer, else None."""

    formula: str
    x_from: float
    x_to: float
    volume_change_percent: Estimate
    average_voltage_V: Estimate
    reference: str
    round: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One badge: what was asked of the campaign, what came, and how the two stand."""

    title: str
    value: str
    target: str
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRow:
    """The relaxed ground state at one lithium content."""

    x: float
    volume: Estimate
    a: Estimate
    c: Estimate

    @property
    def volume_deviation_percent(self) -> float | None:
        """Volume relative to the reference's own."""
        if self.volume.value is None or not self.volume.reference:
            return None
        return 100 * (self.volume.value / self.volume.reference - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormationPoint:
    """Formation energy in meV per formula unit, against the end members of the hull."""

    x: float
    energy_meV_per_fu: float
    on_hull: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginRow:
    """Labels of one origin; medians over those that were predicted before they were trained on."""

    origin: str
    labels: int
    share: float
    predicted_force_sigma: float | None
    force_rmse: float | None
    energy_error_meV: float | None
    reference_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRow:
    """Trajectories at one lithium content, counted by how they ended."""

    x: float
    counts: dict[str, int]
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustBand:
    """Lower and upper trust level in eV/Å from this number of labels on."""

    n_labels: int
    lower: float
    upper: float


def answer_of(history: CampaignHistory) -> Answer | None:
    """The answer, or None while the campaign has none."""
    return None if history.answer is None else Answer.from_mapping(history.answer)


def headline(history: CampaignHistory) -> Headline | None:
    """From the answer; else from the latest round that estimated it; else None."""
    answer = answer_of(history)
    if answer is not None:
        return _final_headline(history, answer)
    estimates = [r for r in history.rounds if r.volume_change_percent is not None]
    return _provisional_headline(history, estimates[-1]) if estimates else None


def _final_headline(history: CampaignHistory, answer: Answer) -> Headline:
    number = answer.number
    return Headline(
        formula=subscripted(history.formula),
        x_from=max(answer.x, default=1.0),
        x_to=min(answer.x, default=0.0),
        volume_change_percent=Estimate(
            value=number("volume_change_percent"),
            err=number("volume_change_err"),
            reference=number("reference_volume_change_percent"),
        ),
        average_voltage_V=Estimate(
            value=number("average_voltage_V"),
            err=number("average_voltage_err"),
            reference=number("reference_average_voltage_V"),
        ),
        reference=answer.reference,
        round=None,
    )


def _provisional_headline(history: CampaignHistory, latest: TrainingRound) -> Headline:
    contents = [label.x for label in history.labels]
    return Headline(
        formula=subscripted(history.formula),
        x_from=max(contents, default=1.0),
        x_to=min(contents, default=0.0),
        volume_change_percent=Estimate(
            value=latest.volume_change_percent, err=latest.volume_change_err
        ),
        average_voltage_V=Estimate(value=latest.average_voltage_V, err=latest.average_voltage_err),
        reference="reference",
        round=latest.generation,
    )


def content_rows(answer: Answer) -> list[ContentRow]:
    """One row for each lithium content, from full to empty."""
    columns = zip(
        answer.x,
        _estimates(answer.volume, answer.volume_err, answer.reference_volume),
        _estimates(answer.a, answer.a_err, answer.reference_a),
        _estimates(answer.c, answer.c_err, answer.reference_c),
        strict=True,
    )
    rows = [ContentRow(x=x, volume=volume, a=a, c=c) for x, volume, a, c in columns]
    return sorted(rows, key=lambda row: -row.x)


def _estimates(
    values: Sequence[float | None],
    errors: Sequence[float | None],
    references: Sequence[float | None],
) -> list[Estimate]:
    return [
        Estimate(value=value, err=err, reference=reference)
        for value, err, reference in zip(values, errors, references, strict=True)
    ]


def formation_energies(points: Sequence[HullPoint]) -> list[FormationPoint]:
    """Energies against the line between the lowest orderings at the smallest and largest x.

    Energies that are formation energies already stay as they are. Empty with fewer than two
    lithium contents.
    """
    if len({point.x for point in points}) < 2:
        return []
    low, high = (min(p.x for p in points), max(p.x for p in points))
    energy = {x: min(p.energy_eV_per_fu for p in points if p.x == x) for x in (low, high)}
    slope = (energy[high] - energy[low]) / (high - low)
    return [
        FormationPoint(
            x=p.x,
            energy_meV_per_fu=1000 * (p.energy_eV_per_fu - energy[low] - slope * (p.x - low)),
            on_hull=p.on_hull,
        )
        for p in points
    ]


def verdicts(history: CampaignHistory) -> list[Verdict]:
    """The badges under the answer, in the order of what a reader asks first."""
    answer = answer_of(history)
    errors = audit_errors(history)
    coverage = {row.quantity: row for row in audit_coverage(history) if row.kind == "calibrated"}
    return [
        _at_most(
            "Held-out energy error",
            errors.energy_rmse_meV_per_atom,
            TARGETS.energy_meV_per_atom,
            ("meV/atom", 1),
        ),
        _at_most(
            "Held-out force error", errors.force_rmse_eV_per_A, TARGETS.force_eV_per_A, ("eV/Å", 3)
        ),
        _coverage_verdict("95 % interval, energies", coverage.get("energy")),
        _coverage_verdict("95 % interval, forces", coverage.get("forces")),
        _at_most(
            "Volume off the reference",
            None if answer is None else largest_volume_deviation(content_rows(answer)),
            TARGETS.volume_percent,
            ("%", 2),
        ),
        _at_most(
            "Voltage off the reference",
            _voltage_deviation(history),
            1000 * TARGETS.voltage_V,
            ("mV", 0),
        ),
    ]


def largest_volume_deviation(rows: Sequence[ContentRow]) -> float | None:
    """In percent, without sign, over the contents where the reference was relaxed too."""
    known = [
        abs(row.volume_deviation_percent)
        for row in rows
        if row.volume_deviation_percent is not None
    ]
    return max(known, default=None)


def _voltage_deviation(history: CampaignHistory) -> float | None:
    found = headline(history)
    if found is None:
        return None
    difference = found.average_voltage_V.difference
    return None if difference is None else abs(1000 * difference)


def _at_most(title: str, value: float | None, limit: float, style: tuple[str, int]) -> Verdict:
    name, digits = style
    standing: Standing = "unknown" if value is None else "good" if value <= limit else "bad"
    return Verdict(
        title=title,
        value=unit(fixed(value, digits), name),
        target=f"at most {limit:g} {name}",
        standing=standing,
    )


def _coverage_verdict(title: str, coverage: Coverage | None) -> Verdict:
    low, high = TARGETS.coverage
    return Verdict(
        title=title,
        value=percent(None if coverage is None else coverage.fraction, 1),
        target=f"holds {percent(low)} to {percent(high)}",
        standing="unknown" if coverage is None else _coverage_standing(coverage),
    )


def _coverage_standing(coverage: Coverage) -> Standing:
    low, high = TARGETS.coverage
    if low <= coverage.fraction <= high:
        return "good"
    if coverage.low is None or coverage.high is None:
        return "bad"
    return "open" if coverage.low <= high and coverage.high >= low else "bad"


def origin_rows(history: CampaignHistory) -> list[OriginRow]:
    """How each way of selecting did; only origins that have labels."""
    total = len(history.labels)
    groups = {
        origin: [label for label in history.labels if label.origin == origin] for origin in ORIGINS
    }
    return [_origin_row(origin, labels, total) for origin, labels in groups.items() if labels]


def _origin_row(origin: str, labels: Sequence[LabelRecord], total: int) -> OriginRow:
    energy_error = _median([label.energy_error_eV_per_atom for label in labels])
    return OriginRow(
        origin=origin,
        labels=len(labels),
        share=len(labels) / total,
        predicted_force_sigma=_median([label.force_sigma_max for label in labels]),
        force_rmse=_median([label.force_rmse for label in labels]),
        energy_error_meV=None if energy_error is None else 1000 * energy_error,
        reference_s=sum(label.cost_s for label in labels),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [abs(value) for value in values if value is not None]
    return median(known) if known else None


def trust_bands(history: CampaignHistory) -> list[TrustBand]:
    """The trust levels round by round, where a round has both."""
    return [
        TrustBand(n_labels=r.n_labels, lower=r.lower_trust, upper=r.upper_trust)
        for r in history.rounds
        if r.lower_trust is not None and r.upper_trust is not None
    ]


def outcome_rows(explorations: Sequence[ExplorationRecord]) -> list[OutcomeRow]:
    """Trajectories counted by lithium content (full first) and outcome (all six, also zeros)."""
    rows = []
    for x in sorted({run.x for run in explorations}, reverse=True):
        runs = [run for run in explorations if run.x == x]
        found = Counter(run.outcome for run in runs)
        rows.append(
            OutcomeRow(
                x=x,
                counts={name: found.get(name, 0) for name in OUTCOMES},  # type: ignore[call-overload]
                steps=sum(run.steps for run in runs),
            )
        )
    return rows


def stopping_reason(history: CampaignHistory) -> str | None:
    """Why the campaign stopped, as the answer says it."""
    answer = answer_of(history)
    return None if answer is None else answer.stopped_because


def volume_phrase(found: Headline) -> str:
    """``loses 7.09 ± 0.31 % of its volume``, or that the change is not resolved."""
    change = found.volume_change_percent
    if change.value is None:
        return "has no volume change to report"
    if change.err is not None and abs(change.value) < change.err:
        text = with_error(change.value, change.err)
        return f"changes its volume by {text}\u00a0%, not resolved from zero"
    verb = "loses" if change.value < 0 else "gains"
    return f"{verb} {with_error(abs(change.value), change.err, 2)}\u00a0% of its volume"


def voltage_phrase(found: Headline) -> str:
    """``at an average of 3.553 ± 0.018 V against lithium metal``."""
    voltage = found.average_voltage_V
    if voltage.value is None:
        return "at a voltage not known yet"
    value = with_error(voltage.value, voltage.err, 3)
    return f"at an average of {value}\u00a0V against lithium metal"


def headline_sentence(found: Headline) -> str:
    """The whole answer as one sentence."""
    span = (
        "When all its lithium leaves"
        if (found.x_from, found.x_to) == (1.0, 0.0)
        else f"From x = {content(found.x_from)} to x = {content(found.x_to)}"
    )
    return f"{span}, {found.formula} {volume_phrase(found)}, {voltage_phrase(found)}."


def reference_sentence(found: Headline) -> str | None:
    """What the reference itself says, where it was relaxed too."""
    volume = found.volume_change_percent.reference
    voltage = found.average_voltage_V.reference
    said = [
        unit(fixed(volume, 2), "%") if volume is not None else "",
        unit(fixed(voltage, 3), "V") if voltage is not None else "",
    ]
    said = [text for text in said if text]
    return f"The reference itself ({found.reference}) gives {' and '.join(said)}." if said else None


def rests_on_sentence(history: CampaignHistory) -> str:
    """``129 labels: 25 start, 85 uncertain, 19 random; 3 refused.``"""
    counts = Counter(label.origin for label in history.labels)
    shown = [origin for origin in ORIGINS if counts[origin] or origin != "relaxed"]
    parts = [f"{counts[origin]} {origin}" for origin in shown]
    return (
        f"{plural(len(history.labels), 'label')}: {', '.join(parts)}; "
        f"{len(history.refusals)} refused."
    )

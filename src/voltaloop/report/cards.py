"""What stands on the page: figures and tables with their captions, in the order they are read.

Every card that has nothing to show says why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from voltaloop.report import plots
from voltaloop.report.formats import (
    MISSING,
    content,
    duration,
    fixed,
    percent,
    plural,
    signed,
    significant,
    unit,
    with_content_x,
    with_error,
)
from voltaloop.report.history import CampaignHistory, LabelRecord
from voltaloop.report.operations import (
    CostRow,
    cost_rows,
    overlap_share,
    pool_lines,
    refusal_counts,
    total_cost,
)
from voltaloop.report.quality import (
    Coverage,
    Parity,
    Quantity,
    SigmaPoints,
    audit_coverage,
    audit_energy_sigma,
    audit_errors,
    audit_force_sigma,
    energy_parity,
    force_parity,
    force_reliability,
    running_coverage,
    running_energy_sigma,
    stress_parity,
)
from voltaloop.report.tables import (
    Headline,
    answer_of,
    content_rows,
    formation_energies,
    headline,
    origin_rows,
    outcome_rows,
    trust_bands,
)
from voltaloop.report.training import (
    ErrorRow,
    curve_panels,
    errors_by_content,
    errors_by_species,
)
from voltaloop.report.training_plots import curves_figure

MOST_ROWS = 500
LAST_TRAJECTORIES = 24
NO_ANSWER = "There is no answer yet: it is computed when the campaign stops."
NO_AUDIT = (
    "The audit has not run yet: it labels fresh frames of the final committee after the "
    "campaign stops."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureCard:
    """A figure, or the reason why there is none. wide: it takes the whole width of the page."""

    key: str
    title: str
    caption: str
    figure: Any | None
    empty: str
    wide: bool = False

    @property
    def full(self) -> bool:
        return self.figure is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCard:
    """A table of text; folded: shown on demand, with ``title`` as the handle."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    empty: str = "Nothing yet."
    folded: bool = False
    wide: bool = False

    @property
    def full(self) -> bool:
        return bool(self.rows)

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers only, to be set flush right."""
        return tuple(
            all(_NUMBER.match(row[i]) for row in self.rows) for i in range(len(self.headers))
        )


_NUMBER = re.compile(rf"^({MISSING}$|[+\u2212]?\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A chapter of the page."""

    key: str
    title: str
    lead: str
    cards: tuple[FigureCard | TableCard, ...]

    @property
    def shown(self) -> list[FigureCard | TableCard]:
        """The cards that have something to show."""
        return [card for card in self.cards if card.full]

    @property
    def missing(self) -> dict[str, list[str]]:
        """Why the others have nothing: reason → their titles. Folded details are left out."""
        reasons: dict[str, list[str]] = {}
        for card in self.cards:
            if not card.full and not (isinstance(card, TableCard) and card.folded):
                reasons.setdefault(card.empty, []).append(card.title)
        return reasons


def sections(history: CampaignHistory) -> list[Section]:
    """The chapters after the headline, in reading order."""
    return [
        Section(
            key="answer",
            title="The answer",
            lead=_answer_lead(history),
            cards=tuple(_answer_cards(history)),
        ),
        Section(
            key="basis",
            title="What it rests on",
            lead=_basis_lead(history),
            cards=tuple(_basis_cards(history)),
        ),
        Section(
            key="quality",
            title="How good the potential is",
            lead=_quality_lead(history),
            cards=tuple(_quality_cards(history)),
        ),
        Section(
            key="selection",
            title="What was selected, and why",
            lead=(
                "Frames of the running molecular dynamics whose calibrated force uncertainty lies "
                "in the trust band are labelled, and a random share always is. Random labels show "
                "what uncertainty selection is worth."
            ),
            cards=tuple(_selection_cards(history)),
        ),
        Section(
            key="operations",
            title="What ran, and what it cost",
            lead=_operations_lead(history),
            cards=tuple(_operations_cards(history)),
        ),
    ]


def training_section(history: CampaignHistory) -> Section:
    """How the potential learned, as a chapter of its own."""
    return Section(
        key="training",
        title=f"Training of {history.name}",
        lead=(
            "How the members of the latest committee learned, and how the held-out error fell "
            "with the number of labels."
        ),
        cards=(*training_cards(history), _learning_card(history)),
    )


def parity_section(history: CampaignHistory) -> Section:
    """Predictions against the reference, as a chapter of its own."""
    return Section(
        key="parity",
        title=f"Parity of {history.name}",
        lead=_quality_lead(history),
        cards=tuple(parity_cards(history)),
    )


def _answer_lead(history: CampaignHistory) -> str:
    answer = answer_of(history)
    if answer is None:
        return "Structures, voltages and the hull come when the campaign stops."
    meaning = answer.error_meaning or "the calibrated spread of the committee"
    return (
        "Every member of the committee relaxed cell and atoms of the lithium orderings; the lowest "
        f"at each content is shown. ± is {meaning}. The reference is {answer.reference}."
    )


def _answer_cards(history: CampaignHistory) -> list[FigureCard | TableCard]:
    answer = answer_of(history)
    found = headline(history)
    formula_x = with_content_x(history.formula)
    rows = content_rows(answer) if answer is not None else []
    steps = answer.voltage_steps if answer is not None else ()
    points = formation_energies(answer.hull) if answer is not None else []
    lengths = [row for row in rows if row.a.value is not None or row.c.value is not None]
    return [
        FigureCard(
            key="volume",
            title="Volume as lithium leaves",
            caption="Relaxed volume of the most stable ordering at each lithium content.",
            figure=plots.volume_figure(rows, formula_x) if rows else None,
            empty=NO_ANSWER,
        ),
        FigureCard(
            key="voltage",
            title="Voltage profile",
            caption="Steps between the orderings on the convex hull; bars are the ± of each step.",
            figure=(
                plots.voltage_figure(
                    steps, answer.reference_voltage_steps, found.average_voltage_V, formula_x
                )
                if steps and answer is not None and found is not None
                else None
            ),
            empty=NO_ANSWER if answer is None else "The answer has no voltage step.",
        ),
        FigureCard(
            key="lattice",
            title="Lattice parameters",
            caption="a within the layers, c across them (hexagonal setting).",
            figure=plots.lattice_figure(lengths, formula_x) if lengths else None,
            empty=NO_ANSWER if answer is None else "The answer has no lattice parameters.",
        ),
        FigureCard(
            key="hull",
            title="Convex hull",
            caption="Orderings against the line between the end members; lower is more stable.",
            figure=plots.hull_figure(points, formula_x) if points else None,
            empty=NO_ANSWER if answer is None else "The answer lists no hull energies.",
        ),
        TableCard(
            title="The answer in numbers",
            wide=True,
            headers=(
                "x",
                "volume (Å³/f.u.)",
                "reference (Å³/f.u.)",
                "deviation (%)",
                "a (Å)",
                "c (Å)",
            ),
            rows=tuple(
                (
                    content(row.x),
                    with_error(row.volume.value, row.volume.err),
                    fixed(row.volume.reference, 2),
                    signed(row.volume_deviation_percent, 2),
                    with_error(row.a.value, row.a.err, 3),
                    with_error(row.c.value, row.c.err, 2),
                )
                for row in rows
            ),
            empty=NO_ANSWER,
        ),
        _against_reference(found),
        TableCard(
            title="Voltage steps",
            headers=("from x", "to x", "voltage (V)"),
            rows=tuple(
                (content(s.x_from), content(s.x_to), with_error(s.voltage_V, s.err, 3))
                for s in steps
            ),
            empty=NO_ANSWER if answer is None else "The answer has no voltage step.",
        ),
    ]


def _against_reference(found: Headline | None) -> TableCard:
    rows = (
        []
        if found is None or found.round is not None
        else [
            ("volume change (%)", found.volume_change_percent, 2),
            ("average voltage (V)", found.average_voltage_V, 3),
        ]
    )
    return TableCard(
        title="Against the reference",
        headers=("quantity", "potential", "reference", "difference"),
        rows=tuple(
            (
                name,
                with_error(estimate.value, estimate.err, digits),
                fixed(estimate.reference, digits),
                signed(estimate.difference, digits),
            )
            for name, estimate, digits in rows
        ),
        empty=NO_ANSWER,
    )


def _basis_lead(history: CampaignHistory) -> str:
    answer = answer_of(history)
    n = len(history.labels)
    text = f"{plural(n, 'label')} of the reference in {duration(history.elapsed_s)}."
    if history.rounds:
        text += f" The committee was trained {plural(len(history.rounds), 'time')}."
    if answer is not None and answer.stopped_because:
        text += f" The campaign stopped because: {answer.stopped_because}."
    return text


def _basis_cards(history: CampaignHistory) -> list[FigureCard | TableCard]:
    estimates = [
        r
        for r in history.rounds
        if r.volume_change_percent is not None or r.average_voltage_V is not None
    ]
    return [
        TableCard(
            title="Labels by origin",
            wide=True,
            headers=(
                "origin",
                "labels",
                "share",
                "median force σ (eV/Å)",
                "median force RMSE (eV/Å)",
                "median energy error (meV/atom)",
                "reference time",
            ),
            rows=tuple(
                (
                    row.origin,
                    str(row.labels),
                    percent(row.share),
                    fixed(row.predicted_force_sigma, 3),
                    fixed(row.force_rmse, 3),
                    fixed(row.energy_error_meV, 1),
                    duration(row.reference_s),
                )
                for row in origin_rows(history)
            ),
            note=(
                "σ is the largest in the frame when it was selected; the errors are those the "
                "committee made on the frame before it was trained on it."
            ),
            empty="No label has arrived yet.",
        ),
        FigureCard(
            key="settling",
            title="How the answer settled",
            caption="The provisional answer after each training round.",
            figure=plots.settling_figure(estimates) if estimates else None,
            empty="No training round has estimated the answer yet.",
            wide=True,
        ),
    ]


def _quality_lead(history: CampaignHistory) -> str:
    errors = audit_errors(history)
    if errors.energy_rmse_meV_per_atom is None and errors.force_rmse_eV_per_A is None:
        return "Held-out errors and coverage, as far as they are known."
    frames = f" of {plural(errors.frames, 'frame')}" if errors.frames else ""
    said = [
        unit(significant(errors.energy_rmse_meV_per_atom), "meV/atom"),
        unit(significant(errors.force_rmse_eV_per_A), "eV/Å"),
        unit(significant(errors.stress_rmse_GPa), "GPa"),
    ]
    return (
        f"Audit{frames} taken at random from fresh molecular dynamics of the final committee, "
        f"never trained on. Root mean square errors: {', '.join(s for s in said if s != MISSING)}."
    )


def _quality_cards(history: CampaignHistory) -> list[FigureCard | TableCard]:
    return [
        *parity_cards(history),
        _learning_card(history),
        *training_cards(history),
        *_sigma_cards(history),
        _coverage_table(history),
        _running_card(history, "energy"),
        _running_card(history, "forces"),
    ]


def training_cards(history: CampaignHistory) -> list[FigureCard | TableCard]:
    """How the members of the latest committee learned."""
    panels = curve_panels(history.curves)
    return [
        FigureCard(
            key="training",
            title="How the latest committee learned",
            caption=(
                "From the engine's own log: errors on the frames that a member learned from and on "
                "those held out from it; one line for each member that is trained by itself."
            ),
            figure=curves_figure(panels) if panels else None,
            empty="No training of this campaign has told how it went.",
            wide=True,
        )
    ]


def parity_cards(history: CampaignHistory) -> list[FigureCard | TableCard]:
    """Potential against reference on the audit, and its errors by species and content."""
    audit = history.audit
    forces = force_parity(audit)
    bars = " Bars below are the calibrated 95 % intervals."
    known = forces is not None and len(forces.species) > 0
    return [
        _parity_card("energy", energy_parity(audit), NO_AUDIT, bars),
        _parity_card("force", forces, NO_AUDIT),
        FigureCard(
            key="parity-species",
            title="Forces by species",
            caption="The same force components, coloured by the species of the atom.",
            figure=plots.parity_figure(forces, "force component", "species")
            if forces is not None and known
            else None,
            empty="The audit does not know the species of its atoms." if audit else NO_AUDIT,
        ),
        _parity_card(
            "stress",
            stress_parity(audit),
            "The reference gives no stress, so there is none to compare." if audit else NO_AUDIT,
        ),
        _errors_table(
            "Errors by lithium content",
            ("x", "frames"),
            errors_by_content(audit),
            "Root mean squares over the audit frames of each content.",
        ),
        _errors_table(
            "Force errors by species",
            ("species", "components"),
            errors_by_species(audit),
            "Root mean squares over the force components of the atoms of each species.",
        ),
    ]


def _errors_table(
    title: str, headers: tuple[str, str], rows: Sequence[ErrorRow], note: str
) -> TableCard:
    columns: list[tuple[str, Callable[[ErrorRow], float | None], int]] = [
        ("energy (meV/atom)", lambda row: row.energy_meV_per_atom, 2),
        ("force (eV/Å)", lambda row: row.force_eV_per_A, 3),
        ("largest force error (eV/Å)", lambda row: row.largest_force_error_eV_per_A, 2),
        ("stress (GPa)", lambda row: row.stress_GPa, 2),
    ]
    told = [column for column in columns if any(column[1](row) is not None for row in rows)]
    return TableCard(
        title=title,
        headers=(*headers, *(header for header, _, _ in told)),
        rows=tuple(
            (row.group, str(row.n), *(fixed(value(row), digits) for _, value, digits in told))
            for row in rows
        ),
        note=note,
        empty=NO_AUDIT,
    )


def _parity_card(name: str, parity: Parity | None, empty: str, more: str = "") -> FigureCard:
    title = {"energy": "Energies", "force": "Forces", "stress": "Stresses"}[name]
    thinned = ""
    if parity is not None and len(parity.reference) < parity.n:
        thinned = (
            f" {len(parity.reference)} of {parity.n} components shown, the worst 50 among them."
        )
    what = {"energy": "energy", "force": "force component", "stress": "stress component"}[name]
    return FigureCard(
        key=f"parity-{name}",
        title=f"{title}: potential against reference",
        caption=f"Audit frames, coloured by lithium content x.{more}{thinned}",
        figure=None if parity is None else plots.parity_figure(parity, what),
        empty=empty,
    )


def _learning_card(history: CampaignHistory) -> FigureCard:
    errors = audit_errors(history)
    audited = errors.energy_rmse_meV_per_atom is not None or errors.force_rmse_eV_per_A is not None
    at = len(history.labels) if audited else None
    return FigureCard(
        key="learning",
        title="Error against number of labels",
        caption="Held-out blocks of the training set; stars: the audit; dashed: the targets.",
        figure=plots.learning_figure(history.rounds, errors, at) if history.rounds else None,
        empty="No training round has ended yet.",
    )


def _sigma_cards(history: CampaignHistory) -> list[FigureCard]:
    coverage = audit_coverage(history)
    energy = [
        group
        for group in (audit_energy_sigma(history.audit), running_energy_sigma(history.labels))
        if group is not None
    ]
    forces = [group for group in (audit_force_sigma(history.audit),) if group is not None]
    reliability = force_reliability(history.audit)
    caption = (
        "Red points lie outside their 95 % interval: one in twenty should. Errors under 1 % of the "
        "median σ are drawn at that floor."
    )
    return [
        FigureCard(
            key="sigma-energy",
            title="Uncertainty against true error: energies",
            caption=f"{caption} Open circles: labels scored before they entered training.",
            figure=_sigma_figure(energy, coverage, "energy", None) if energy else None,
            empty="No label has been scored against its prediction yet.",
        ),
        FigureCard(
            key="sigma-forces",
            title="Uncertainty against true error: forces",
            caption=f"{caption} The orange squares should follow RMSE = σ.",
            figure=_sigma_figure(forces, coverage, "forces", reliability) if forces else None,
            empty=NO_AUDIT,
        ),
    ]


def _sigma_figure(
    groups: Sequence[SigmaPoints], coverage: Sequence[Coverage], quantity: str, reliability: Any
) -> go.Figure:
    said = plots.coverage_said([(c.kind, c.fraction) for c in coverage if c.quantity == quantity])
    return plots.sigma_figure(groups, said, reliability)


def _coverage_table(history: CampaignHistory) -> TableCard:
    names = {"raw": "raw Student-t of the committee", "calibrated": "calibrated"}
    return TableCard(
        title="Does the 95 % interval hold the truth 95 % of the time?",
        wide=True,
        headers=("quantity", "interval", "holds", "95 % confidence", "trials"),
        rows=tuple(
            (
                row.quantity,
                names[row.kind],
                percent(row.fraction, 1),
                MISSING if row.low is None else f"{percent(row.low, 1)} to {percent(row.high, 1)}",
                MISSING if row.n is None else fixed(row.n, 0),
            )
            for row in audit_coverage(history)
        ),
        note=(
            "On the audit. Confidence intervals are binomial (Clopper–Pearson); force components "
            "of one frame depend on each other, so theirs is narrower than it should be."
        ),
        empty=NO_AUDIT,
    )


def _running_card(history: CampaignHistory, quantity: Quantity) -> FigureCard:
    rows = running_coverage(history.rounds, quantity)
    bars = " Bars: binomial 95 % confidence." if quantity == "energy" else ""
    return FigureCard(
        key=f"running-{quantity}",
        title=f"Coverage while running: {quantity}",
        caption=(
            "Random labels, scored with the committee as it was before they entered training; "
            f"green: the target.{bars}"
        ),
        figure=plots.coverage_figure(rows) if rows else None,
        empty="No random label has been scored yet.",
    )


def _selection_cards(history: CampaignHistory) -> list[FigureCard | TableCard]:
    chosen = [label for label in history.labels if label.force_sigma_max is not None]
    bands = trust_bands(history)
    latest = bands[-1] if bands else None
    formula_x = with_content_x(history.formula)
    nothing = "No frame has been selected by a committee yet: only starting labels so far."
    runs = history.explorations
    drawn = [run for run in runs if len(run.sigma_steps) > 1][-LAST_TRAJECTORIES:]
    none_run = "No trajectory has ended yet."
    return [
        FigureCard(
            key="selected-x",
            title="Selected frames by lithium content",
            caption="Green: the trust band of the latest round. Points are spread a little in x.",
            figure=plots.selection_content_figure(chosen, latest, formula_x) if chosen else None,
            empty=nothing,
        ),
        FigureCard(
            key="selected-order",
            title="Selected frames in order",
            caption="Green: the trust band as it moved with training.",
            figure=plots.selection_order_figure(chosen, bands) if chosen else None,
            empty=nothing,
        ),
        FigureCard(
            key="outcomes",
            title="How the trajectories ended",
            caption="A trajectory that stops early shows where the potential had to learn.",
            figure=plots.outcomes_figure(outcome_rows(runs), formula_x) if runs else None,
            empty=none_run,
        ),
        FigureCard(
            key="trajectories",
            title="Uncertainty along the trajectories",
            caption=f"The latest {len(drawn)} trajectories; dashed: the trust levels.",
            figure=plots.trajectories_figure(drawn, latest) if drawn else None,
            empty=none_run if not runs else "No trajectory recorded its uncertainty.",
        ),
        _labels_table(history.labels),
        _explorations_table(history),
    ]


def _labels_table(labels: Sequence[LabelRecord]) -> TableCard:
    shown = list(labels)[-MOST_ROWS:]
    cut = "" if len(shown) == len(labels) else f"The latest {len(shown)} of {len(labels)}."
    return TableCard(
        title=f"Every label ({len(labels)})",
        headers=(
            "#",
            "origin",
            "x",
            "T (K)",
            "arrived",
            "force σ (eV/Å)",
            "force RMSE (eV/Å)",
            "energy error (meV/atom)",
            "± 1.96 σ (meV/atom)",
            "cost (s)",
            "frame",
            "why",
        ),
        rows=tuple(_label_row(label) for label in shown),
        note=cut,
        empty="No label has arrived yet.",
        folded=True,
    )


def _label_row(label: LabelRecord) -> tuple[str, ...]:
    error, sigma = label.energy_error_eV_per_atom, label.energy_sigma
    return (
        str(label.index),
        label.origin,
        content(label.x),
        fixed(label.temperature_K, 0),
        duration(label.time_s),
        fixed(label.force_sigma_max, 3),
        fixed(label.force_rmse, 3),
        MISSING if error is None else signed(1000 * error, 1),
        MISSING if sigma is None else fixed(1960 * sigma, 1),
        fixed(label.cost_s, 1),
        label.frame[:10],
        label.reason,
    )


def _explorations_table(history: CampaignHistory) -> TableCard:
    runs = list(history.explorations)[-MOST_ROWS:]
    return TableCard(
        title=f"Every trajectory ({len(history.explorations)})",
        headers=(
            "ended",
            "x",
            "ensemble",
            "T (K)",
            "steps",
            "planned",
            "outcome",
            "committee",
            "last force σ (eV/Å)",
        ),
        rows=tuple(
            (
                duration(run.time_s),
                content(run.x),
                run.ensemble.upper(),
                f"{fixed(run.temperature_from_K, 0)} → {fixed(run.temperature_to_K, 0)}",
                fixed(run.steps, 0),
                fixed(run.steps_planned, 0),
                run.outcome.replace("_", " "),
                str(run.generation),
                fixed(run.max_force_sigma[-1], 3) if run.max_force_sigma else MISSING,
            )
            for run in runs
        ),
        empty="No trajectory has ended yet.",
        folded=True,
    )


def _operations_lead(history: CampaignHistory) -> str:
    share = overlap_share(history)
    text = f"{duration(history.elapsed_s)} from the start to the latest event"
    if share is None:
        return f"{text}."
    return f"{text}; for {percent(share)} of the busy time two or more pools worked at once."


def _operations_cards(history: CampaignHistory) -> list[FigureCard | TableCard]:
    lines = pool_lines(history)
    hidden = sum(line.n_tasks - len(line.bars) for line in lines)
    cut = f" The {hidden} shortest tasks are left out." if hidden else ""
    rows = cost_rows(history)
    total = total_cost(rows)
    return [
        FigureCard(
            key="timeline",
            title="Time line of the pools",
            caption=(
                "One row for each worker that was seen busy; the share of time busy counts all "
                f"workers of the pool from the first task to the last.{cut}"
            ),
            figure=plots.timeline_figure(lines) if lines else None,
            empty="No task has started yet.",
            wide=True,
        ),
        TableCard(
            title="Utilisation",
            headers=("pool", "workers", "tasks", "busy", "utilisation"),
            rows=tuple(
                (
                    line.pool,
                    str(line.workers),
                    str(line.n_tasks),
                    duration(line.busy_s),
                    percent(line.utilisation),
                )
                for line in lines
            ),
            empty="No task has started yet.",
        ),
        TableCard(
            title="Refused labels",
            headers=("reason", "number"),
            rows=tuple((reason, str(n)) for reason, n in refusal_counts(history.refusals)),
            empty="None: the reference and the gate accepted every label asked for.",
        ),
        TableCard(
            title="Cost ledger",
            wide=True,
            headers=(
                "pool",
                "function",
                "calls",
                "failed",
                "wall time",
                "mean call",
                "CPU time",
                "wall s per label",
                "CPU s per label",
            ),
            rows=tuple(_cost_cells(row) for row in ([*rows, total] if total else [])),
            note="Per label: divided by the accepted labels. Running tasks count until now.",
            empty="No task has started yet.",
        ),
        TableCard(
            title=f"Every refused label ({len(history.refusals)})",
            headers=("when", "calculation", "tried", "reason", "in the end", "detail"),
            rows=tuple(
                (
                    duration(r.time_s),
                    r.title or r.frame[:10],
                    r.tried or "as asked",
                    r.reason,
                    r.fate,
                    r.detail.partition("\n")[0],
                )
                for r in list(history.refusals)[-MOST_ROWS:]
            ),
            empty="None.",
            folded=True,
        ),
    ]


def _cost_cells(row: CostRow) -> tuple[str, ...]:
    return (
        row.pool,
        row.function,
        fixed(row.calls, 0),
        fixed(row.failed, 0),
        duration(row.wall_s),
        duration(row.mean_wall_s),
        duration(row.cpu_s),
        significant(row.wall_s_per_label),
        significant(row.cpu_s_per_label),
    )

"""Tables → plotly figures. Each draws what it is given; nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from voltaloop.report.answer import VoltageStep
from voltaloop.report.drawing import (
    BAND,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    ORIGIN_COLOURS,
    OUTCOME_COLOURS,
    POOL_COLOURS,
    RED,
    axis,
    content_colours,
    figure,
    lithium_axis,
    logarithmic,
    note,
    plain,
    time_axis,
    translucent,
)
from voltaloop.report.formats import content, duration, fixed, percent, significant
from voltaloop.report.history import ExplorationRecord, LabelRecord, TrainingRound
from voltaloop.report.operations import PoolLine
from voltaloop.report.quality import (
    Z95,
    AuditErrors,
    Parity,
    Reliability,
    RunningCoverage,
    SigmaPoints,
)
from voltaloop.report.tables import (
    ORIGINS,
    TARGETS,
    ContentRow,
    Estimate,
    FormationPoint,
    OutcomeRow,
    TrustBand,
)

STACKED: dict[str, Any] = {"mirror": "all", "ticks": ""}
"""An x axis under two panels: framed lines on both, ticks would stand between them."""

POTENTIAL = "potential ± error"
REFERENCE = "reference's own"


def volume_figure(rows: Sequence[ContentRow], formula_x: str) -> go.Figure:
    """Volume against lithium content, beside the reference's own."""
    estimates = [(row.x, row.volume) for row in rows]
    return figure(
        _with_reference(estimates, "Å³"),
        xaxis=lithium_axis(formula_x),
        yaxis=axis("volume (Å³ per formula unit)"),
    )


def lattice_figure(rows: Sequence[ContentRow], formula_x: str) -> go.Figure:
    """Lattice parameters a and c against lithium content, one above the other."""
    upper = _with_reference([(row.x, row.a) for row in rows], "Å")
    lower = _with_reference([(row.x, row.c) for row in rows], "Å", yaxis="y2", showlegend=False)
    return figure(
        [*upper, *lower],
        xaxis=lithium_axis(formula_x, anchor="y2", **STACKED),
        yaxis=axis("a (Å)", domain=[0.53, 1]),
        yaxis2=axis("c (Å)", domain=[0, 0.47]),
    )


def _with_reference(
    estimates: Sequence[tuple[float, Estimate]], unit: str, **more: Any
) -> list[go.Scatter]:
    own = [(x, e) for x, e in estimates if e.value is not None]
    reference = [(x, e.reference) for x, e in estimates if e.reference is not None]
    traces = []
    if reference:
        traces.append(
            go.Scatter(
                x=[x for x, _ in reference],
                y=[value for _, value in reference],
                name=REFERENCE,
                mode="lines+markers",
                line={"color": ORANGE, "dash": "dot", "width": 1.5},
                marker={"symbol": "diamond-open", "size": 12, "line": {"width": 2}},
                hovertemplate=f"x = %{{x}}<br>reference %{{y:.3f}} {unit}<extra></extra>",
                **more,
            )
        )
    traces.append(
        go.Scatter(
            x=[x for x, _ in own],
            y=[e.value for _, e in own],
            error_y=_error_bars([e.err for _, e in own]),
            name=POTENTIAL,
            mode="lines+markers",
            line={"color": BLUE, "width": 2},
            marker={"size": 7},
            hovertemplate=f"x = %{{x}}<br>potential %{{y:.3f}} {unit}<extra></extra>",
            **more,
        )
    )
    return traces


def _error_bars(errors: Sequence[float | None]) -> dict[str, Any]:
    return {
        "type": "data",
        "array": [err or 0.0 for err in errors],
        "visible": any(err for err in errors),
        "thickness": 1.5,
        "width": 5,
    }


def voltage_figure(
    steps: Sequence[VoltageStep],
    reference_steps: Sequence[VoltageStep],
    averages: Estimate,
    formula_x: str,
) -> go.Figure:
    """Voltage profile as steps; the reference's own steps, or its average where it has none."""
    traces = []
    if reference_steps:
        traces.append(_staircase(reference_steps, REFERENCE, ORANGE, dash="dot"))
    elif averages.reference is not None:
        flat = VoltageStep(
            x_from=max(step.x_from for step in steps),
            x_to=min(step.x_to for step in steps),
            voltage_V=averages.reference,
        )
        traces.append(_staircase([flat], "reference's average", ORANGE, dash="dot"))
    traces.append(_staircase(steps, POTENTIAL, BLUE))
    traces.append(_step_errors(steps))
    return figure(
        traces,
        xaxis=lithium_axis(formula_x),
        yaxis=axis("voltage against bcc Li (V)"),
    )


def _staircase(
    steps: Sequence[VoltageStep], name: str, colour: str, dash: str = "solid"
) -> go.Scatter:
    return go.Scatter(
        x=[x for step in steps for x in (step.x_from, step.x_to)],
        y=[step.voltage_V for step in steps for _ in range(2)],
        name=name,
        mode="lines",
        line={"color": colour, "width": 2.5, "dash": dash},
        hovertemplate="x = %{x}<br>%{y:.3f} V<extra></extra>",
    )


def _step_errors(steps: Sequence[VoltageStep]) -> go.Scatter:
    return go.Scatter(
        x=[(step.x_from + step.x_to) / 2 for step in steps],
        y=[step.voltage_V for step in steps],
        error_y=_error_bars([step.err for step in steps]),
        mode="markers",
        marker={"color": BLUE, "size": 7},
        showlegend=False,
        hovertemplate="%{y:.3f} V<extra></extra>",
    )


def hull_figure(points: Sequence[FormationPoint], formula_x: str) -> go.Figure:
    """Formation energies of the relaxed orderings, with the convex hull."""
    above = [p for p in points if not p.on_hull]
    hull = sorted((p for p in points if p.on_hull), key=lambda p: p.x)
    hover = "x = %{x}<br>%{y:.1f} meV per formula unit<extra></extra>"
    return figure(
        [
            go.Scatter(
                x=[p.x for p in above],
                y=[p.energy_meV_per_fu for p in above],
                name="above the hull",
                mode="markers",
                marker={"color": GREY, "size": 8, "symbol": "circle-open", "line": {"width": 1.5}},
                hovertemplate=hover,
            ),
            go.Scatter(
                x=[p.x for p in hull],
                y=[p.energy_meV_per_fu for p in hull],
                name="on the convex hull",
                mode="lines+markers",
                line={"color": BLUE, "width": 2},
                marker={"size": 9},
                hovertemplate=hover,
            ),
        ],
        xaxis=lithium_axis(formula_x),
        yaxis=axis("formation energy (meV per formula unit)"),
    )


def settling_figure(rounds: Sequence[TrainingRound]) -> go.Figure:
    """The provisional answer round by round."""
    known = [r for r in rounds if r.volume_change_percent is not None]
    volts = [r for r in rounds if r.average_voltage_V is not None]
    return figure(
        [
            _settling(
                [r.n_labels for r in known],
                [r.volume_change_percent for r in known],
                [r.volume_change_err for r in known],
                "y",
            ),
            _settling(
                [r.n_labels for r in volts],
                [r.average_voltage_V for r in volts],
                [r.average_voltage_err for r in volts],
                "y2",
            ),
        ],
        showlegend=False,
        height=320,
        xaxis=axis("labels in training (number)", anchor="y2", **STACKED),
        yaxis=axis("volume<br>change (%)", domain=[0.54, 1]),
        yaxis2=axis("average<br>voltage (V)", domain=[0, 0.46]),
    )


def _settling(
    n_labels: Sequence[int],
    values: Sequence[float | None],
    errors: Sequence[float | None],
    yaxis: str,
) -> go.Scatter:
    return go.Scatter(
        x=n_labels,
        y=values,
        error_y=_error_bars(errors),
        mode="lines+markers",
        line={"color": BLUE, "width": 1.5},
        marker={"size": 6},
        yaxis=yaxis,
        hovertemplate="%{x} labels<br>%{y:.3f}<extra></extra>",
    )


def parity_figure(
    parity: Parity, quantity: str, by: Literal["content", "species"] = "content"
) -> go.Figure:
    """Prediction against reference, and below it the error, coloured by lithium content or by
    species."""
    unit = parity.unit
    factor, error_unit = (1000.0, "meV/atom") if unit == "eV/atom" else (1.0, unit)
    low = float(min(parity.reference.min(), parity.predicted.min()))
    high = float(max(parity.reference.max(), parity.predicted.max()))
    pad = 0.04 * (high - low or 1.0)
    span = [low - pad, high + pad]
    style = {
        "size": 8 if parity.n < 300 else 4.5,
        "opacity": 0.85 if parity.n < 300 else 0.6,
    }
    traces: list[go.Scatter] = []
    for name, mask, colour in _groups(parity, by):
        traces += _parity_traces(parity, mask, factor, name, {**style, "color": colour})
    label = (
        f"RMSE {significant(factor * parity.rmse)} {error_unit}<br>"
        f"mean |error| {significant(factor * parity.mae)} {error_unit}<br>n = {parity.n}"
    )
    return figure(
        traces,
        height=460,
        shapes=[_line(span, span), _line(span, [0, 0], yref="y2")],
        annotations=[note(label, y=0.04)],
        xaxis=axis(f"reference {quantity} ({unit})", range=span, anchor="y2", **STACKED),
        yaxis=axis(f"predicted ({unit})", range=span, domain=[0.37, 1]),
        yaxis2=axis(f"error<br>({error_unit})", domain=[0, 0.3]),
    )


def _groups(parity: Parity, by: Literal["content", "species"]) -> list[tuple[str, Any, str]]:
    """Name, mask and colour of each group of points."""
    if by == "content":
        colours = content_colours(parity.x.tolist()).items()
        return [(f"x = {content(x)}", parity.x == x, colour) for x, colour in colours]
    symbols = sorted(set(parity.species.tolist()))
    return [
        (symbol, parity.species == symbol, colour)
        for symbol, colour in zip(symbols, _cycled(len(symbols)), strict=True)
    ]


def _parity_traces(
    parity: Parity, mask: Any, factor: float, name: str, marker: dict[str, Any]
) -> list[go.Scatter]:
    reference = parity.reference[mask]
    bars = None
    if len(parity.sigma) and parity.n < 300:
        bars = {
            "type": "data",
            "array": factor * Z95 * parity.sigma[mask],
            "thickness": 1.2,
            "width": 0,
        }
    shared = {"x": reference, "mode": "markers", "legendgroup": name, "name": name}
    return [
        go.Scatter(
            **shared,
            y=parity.predicted[mask],
            marker=marker,
            hovertemplate="reference %{x:.4f}<br>predicted %{y:.4f}<extra></extra>",
        ),
        go.Scatter(
            **shared,
            y=factor * parity.error[mask],
            yaxis="y2",
            error_y=bars,
            showlegend=False,
            marker={**marker, "size": marker["size"] - 1},
            hovertemplate="reference %{x:.4f}<br>error %{y:.3f}<extra></extra>",
        ),
    ]


def _line(x: Sequence[float], y: Sequence[float], **more: Any) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": x[0],
        "x1": x[1],
        "y0": y[0],
        "y1": y[1],
        "line": {"color": GREY, "width": 1.2},
        "layer": "below",
        **more,
    }


def learning_figure(
    rounds: Sequence[TrainingRound], audit: AuditErrors, audit_at: int | None
) -> go.Figure:
    """Held-out error of energies and forces against the number of labels; stars: the audit."""
    n = [r.n_labels for r in rounds]
    energy = [r.heldout_energy_rmse_meV_per_atom for r in rounds]
    force = [r.heldout_force_rmse_eV_per_A for r in rounds]
    traces = [
        _learning(n, energy, "energy, held-out blocks", BLUE, "y"),
        _learning(n, force, "forces, held-out blocks", GREEN, "y2"),
    ]
    if audit_at is not None:
        traces += [
            _star(audit_at, audit.energy_rmse_meV_per_atom, "meV/atom", "y"),
            _star(audit_at, audit.force_rmse_eV_per_A, "eV/Å", "y2"),
        ]
    return figure(
        traces,
        height=460,
        xaxis=axis("labels in training (number)", anchor="y2", **STACKED),
        yaxis=logarithmic(
            "energy RMSE<br>(meV/atom)",
            [*energy, audit.energy_rmse_meV_per_atom, TARGETS.energy_meV_per_atom],
            domain=[0.53, 1],
        ),
        yaxis2=logarithmic(
            "force RMSE<br>(eV/Å)",
            [*force, audit.force_rmse_eV_per_A, TARGETS.force_eV_per_A],
            domain=[0, 0.47],
        ),
        shapes=[
            _target(TARGETS.energy_meV_per_atom, "y"),
            _target(TARGETS.force_eV_per_A, "y2"),
        ],
    )


def _learning(
    n: Sequence[int], values: Sequence[float], name: str, colour: str, yaxis: str
) -> go.Scatter:
    return go.Scatter(
        x=n,
        y=values,
        name=name,
        yaxis=yaxis,
        mode="lines+markers",
        line={"color": colour, "width": 2},
        marker={"size": 6},
        hovertemplate="%{x} labels<br>RMSE %{y:.3g}<extra></extra>",
    )


def _star(n: int, value: float | None, unit: str, yaxis: str) -> go.Scatter:
    return go.Scatter(
        x=[n],
        y=[value],
        name="audit",
        legendgroup="audit",
        showlegend=yaxis == "y" and value is not None,
        yaxis=yaxis,
        mode="markers",
        marker={"symbol": "star", "size": 15, "color": ORANGE},
        hovertemplate=f"audit, {n} labels<br>RMSE %{{y:.3g}} {unit}<extra></extra>",
    )


def _target(value: float, yref: str) -> dict[str, Any]:
    return _line(
        [0, 1],
        [value, value],
        xref="x domain",
        yref=yref,
        line={"color": RED, "width": 1.2, "dash": "dash"},
    )


def sigma_figure(
    groups: Sequence[SigmaPoints], said: str, reliability: Reliability | None
) -> go.Figure:
    """True error against calibrated σ, log-log; points above the line are outside their 95 %."""
    unit = groups[0].unit
    sigma = np.concatenate([group.sigma for group in groups])
    floor = 1e-2 * float(np.median(sigma)) or 1e-6
    span = np.array([max(floor, sigma.min()) * 0.8, sigma.max() * 1.25])
    traces = [trace for group in groups for trace in _inside_outside(group, floor)]
    traces.append(
        go.Scatter(
            x=span,
            y=Z95 * span,
            name="95 % line, error = 1.96 σ",
            mode="lines",
            line={"color": GREY, "width": 1.5},
            hoverinfo="skip",
        )
    )
    if reliability is not None:
        traces += _reliability(reliability, span)
    errors = np.concatenate([np.maximum(group.error, floor) for group in groups])
    return figure(
        traces,
        height=420,
        xaxis=logarithmic(f"calibrated σ ({unit})", span, range=np.log10(span).tolist()),
        yaxis=logarithmic(f"true error without sign ({unit})", [*errors, Z95 * span[1]]),
        annotations=[note(said, y=0.02)],
    )


def _inside_outside(group: SigmaPoints, floor: float) -> list[go.Scatter]:
    """The two clouds of one group; errors under the floor are drawn on it (log axis)."""
    running = group.name != "audit"
    many = group.n > 300
    style = {
        "size": 4.5 if many else 8,
        "opacity": 0.55 if many else 0.85,
        "symbol": "circle-open" if running else "circle",
    }
    clouds = (("inside", group.inside, BLUE), ("outside", ~group.inside, RED))
    return [
        go.Scatter(
            x=group.sigma[mask],
            y=np.maximum(group.error[mask], floor),
            name=f"{group.name}, {where}",
            mode="markers",
            marker={**style, "color": colour},
            hovertemplate="σ %{x:.3g}<br>error %{y:.3g}<extra></extra>",
        )
        for where, mask, colour in clouds
        if mask.any()
    ]


def _reliability(bins: Reliability, span: Any) -> list[go.Scatter]:
    return [
        go.Scatter(
            x=span,
            y=span,
            name="RMSE = σ",
            mode="lines",
            line={"color": ORANGE, "width": 1.2, "dash": "dot"},
            hoverinfo="skip",
        ),
        go.Scatter(
            x=bins.sigma,
            y=bins.rmse,
            name="RMSE in bins of σ",
            mode="lines+markers",
            line={"color": ORANGE, "width": 2},
            marker={"size": 7, "symbol": "square"},
            hovertemplate="σ %{x:.3g}<br>RMSE %{y:.3g}<extra></extra>",
        ),
    ]


def coverage_figure(rows: Sequence[RunningCoverage]) -> go.Figure:
    """Running coverage of the 95 % interval, raw and calibrated."""
    n = [row.n_labels for row in rows]
    bands = [row.band for row in rows]
    errors: dict[str, Any] = {"visible": False}
    if all(band is not None for band in bands):
        errors = {
            "type": "data",
            "array": [100 * (b[1] - r.calibrated) for r, b in zip(rows, bands, strict=True) if b],
            "arrayminus": [
                100 * (r.calibrated - b[0]) for r, b in zip(rows, bands, strict=True) if b
            ],
            "thickness": 1.2,
            "width": 4,
        }
    low, high = TARGETS.coverage
    return figure(
        [
            _coverage_line(n, [row.raw for row in rows], "raw Student-t interval", GREY),
            _coverage_line(n, [row.calibrated for row in rows], "calibrated", BLUE, errors),
        ],
        xaxis=axis("labels in training (number)"),
        yaxis=axis("inside the 95 % interval (%)", range=[-3, 103], dtick=20),
        shapes=[
            {
                **_line([0, 1], [100 * low, 100 * high], xref="x domain"),
                "type": "rect",
                "fillcolor": BAND,
                "line": {"width": 0},
            }
        ],
    )


def _coverage_line(
    n: Sequence[int],
    fractions: Sequence[float | None],
    name: str,
    colour: str,
    errors: dict[str, Any] | None = None,
) -> go.Scatter:
    return go.Scatter(
        x=n,
        y=[None if value is None else 100 * value for value in fractions],
        error_y=errors,
        name=name,
        mode="lines+markers",
        line={"color": colour, "width": 2},
        marker={"size": 6},
        hovertemplate="%{x} labels<br>%{y:.1f} %<extra></extra>",
    )


def selection_content_figure(
    labels: Sequence[LabelRecord], band: TrustBand | None, formula_x: str
) -> go.Figure:
    """Predicted force σ of what was selected against lithium content, with the trust band."""
    shapes = []
    if band is not None:
        shapes.append(
            {
                **_line([0, 1], [band.lower, band.upper], xref="x domain"),
                "type": "rect",
                "fillcolor": BAND,
                "line": {"width": 0},
            }
        )
    return figure(
        _selected_traces(labels, lambda label: _spread(label.x, label.index)),
        xaxis=lithium_axis(formula_x),
        yaxis=logarithmic(
            "largest force σ when selected (eV/Å)", _with_levels(_sigmas(labels), band)
        ),
        shapes=shapes,
    )


def selection_order_figure(labels: Sequence[LabelRecord], bands: Sequence[TrustBand]) -> go.Figure:
    """The same against the order of labelling, with the trust levels as they moved."""
    traces = _selected_traces(labels, lambda label: float(label.index + 1))
    if bands:
        n = [*(band.n_labels for band in bands), max(len(labels), bands[-1].n_labels)]
        lower = [*(band.lower for band in bands), bands[-1].lower]
        upper = [*(band.upper for band in bands), bands[-1].upper]
        traces = [
            _trust_level(n, lower, fill=None),
            _trust_level(n, upper, fill="tonexty"),
            *traces,
        ]
    return figure(
        traces,
        xaxis=axis("label (number, in order of arrival)"),
        yaxis=logarithmic(
            "largest force σ when selected (eV/Å)",
            [*_sigmas(labels), *(level for band in bands for level in (band.lower, band.upper))],
        ),
    )


def _trust_level(n: Sequence[int], level: Sequence[float], *, fill: str | None) -> go.Scatter:
    return go.Scatter(
        x=n,
        y=level,
        name="trust band",
        showlegend=fill is not None,
        mode="lines",
        line={"color": translucent(GREEN, 0.6), "width": 1, "shape": "hv"},
        fill=fill,
        fillcolor=BAND,
        hovertemplate="trust level %{y:.3g} eV/Å<extra></extra>",
    )


def _sigmas(labels: Sequence[LabelRecord]) -> list[float]:
    return [s.force_sigma_max for s in labels if s.force_sigma_max is not None]


def _with_levels(values: Sequence[float], band: TrustBand | None) -> list[float]:
    return [*values] if band is None else [*values, band.lower, band.upper]


def _spread(x: float, index: int) -> float:
    """x moved a little (golden-ratio sequence), so that points at one content do not overlap."""
    return x + 0.07 * ((0.618034 * index) % 1.0 - 0.5)


def _selected_traces(labels: Sequence[LabelRecord], position: Any) -> list[go.Scatter]:
    traces = []
    for origin in ORIGINS:
        chosen = [s for s in labels if s.origin == origin and s.force_sigma_max is not None]
        if chosen:
            traces.append(
                go.Scatter(
                    x=[position(label) for label in chosen],
                    y=[label.force_sigma_max for label in chosen],
                    name=f"{origin} ({len(chosen)})",
                    mode="markers",
                    marker={
                        "color": ORIGIN_COLOURS[origin],
                        "size": 8,
                        "opacity": 0.8,
                        "symbol": "diamond" if origin == "random" else "circle",
                    },
                    text=[
                        plain(f"label {label.index}, x = {content(label.x)}: {label.reason}"[:160])
                        for label in chosen
                    ],
                    hovertemplate="%{text}<br>σ %{y:.3g} eV/Å<extra></extra>",
                )
            )
    return traces


def outcomes_figure(rows: Sequence[OutcomeRow], formula_x: str) -> go.Figure:
    """Trajectories by lithium content and outcome, stacked."""
    contents = [content(row.x) for row in rows]
    return figure(
        [
            go.Bar(
                x=contents,
                y=[row.counts[outcome] for row in rows],
                name=outcome.replace("_", " "),
                marker={"color": colour},
                hovertemplate="x = %{x}<br>%{y} trajectories<extra></extra>",
            )
            for outcome, colour in OUTCOME_COLOURS.items()
            if any(row.counts[outcome] for row in rows)
        ],
        barmode="stack",
        showlegend=True,
        bargap=0.45,
        xaxis=axis(f"x in {plain(formula_x)} (Li per f.u.), charging →", type="category"),
        yaxis=axis("trajectories (number)"),
    )


def trajectories_figure(
    explorations: Sequence[ExplorationRecord], band: TrustBand | None
) -> go.Figure:
    """Largest force σ along the trajectories, coloured by how they ended."""
    traces = []
    seen: set[str] = set()
    for run in explorations:
        traces.append(
            go.Scatter(
                x=run.sigma_steps,
                y=run.max_force_sigma,
                name=run.outcome.replace("_", " "),
                legendgroup=run.outcome,
                showlegend=run.outcome not in seen,
                mode="lines",
                line={"color": OUTCOME_COLOURS[run.outcome], "width": 1.3},
                opacity=0.75,
                hovertemplate=(
                    f"x = {content(run.x)}, committee {run.generation}<br>"
                    "step %{x}: %{y:.3g} eV/Å<extra></extra>"
                ),
            )
        )
        seen.add(run.outcome)
    lines = [] if band is None else [band.lower, band.upper]
    return figure(
        traces,
        showlegend=True,
        xaxis=axis("molecular dynamics (steps)", rangemode="tozero"),
        yaxis=logarithmic(
            "largest force σ in the frame (eV/Å)",
            _with_levels([s for run in explorations for s in run.max_force_sigma], band),
        ),
        shapes=[
            _line(
                [0, 1],
                [level, level],
                xref="x domain",
                line={"color": GREEN, "width": 1.2, "dash": "dash"},
            )
            for level in lines
        ],
    )


def timeline_figure(lines: Sequence[PoolLine]) -> go.Figure:
    """One row for each worker of each pool, one bar for each task; failed ones in red."""
    names = [_lane_name(line, lane) for line in lines for lane in range(line.workers)]
    time, second = time_axis(max(bar.end_s for line in lines for bar in line.bars))
    traces = [
        trace
        for line, colour in zip(lines, _cycled(len(lines)), strict=True)
        for trace in _pool_traces(line, colour, second)
    ]
    seen: set[str] = set()
    for trace in traces:
        trace.showlegend = trace.name not in seen
        seen.add(trace.name)
    return figure(
        traces,
        height=110 + 46 * len(names),
        barmode="overlay",
        bargap=0.25,
        xaxis=time,
        yaxis=axis(
            "pool (% busy)",
            type="category",
            categoryorder="array",
            categoryarray=names[::-1],
            showgrid=False,
        ),
    )


def _cycled(n: int) -> list[str]:
    return [POOL_COLOURS[i % len(POOL_COLOURS)] for i in range(n)]


def _lane_name(line: PoolLine, lane: int) -> str:
    worker = f" {lane + 1}" if line.workers > 1 else ""
    busy = f"{percent(line.utilisation)}" if lane == 0 else " " * (lane + 1)
    return f"{plain(line.pool)}{worker}  {busy}"


def _pool_traces(line: PoolLine, colour: str, second: float) -> list[go.Bar]:
    sorts = (
        (line.pool, [b for b in line.bars if b.task.outcome not in ("failed", "running")], colour),
        (
            f"{line.pool}, running",
            [b for b in line.bars if b.task.outcome == "running"],
            translucent(colour, 0.45),
        ),
        ("failed", [b for b in line.bars if b.task.outcome == "failed"], RED),
    )
    return [
        go.Bar(
            y=[_lane_name(line, bar.lane) for bar in bars],
            x=[(bar.end_s - (bar.task.started_s or 0.0)) / second for bar in bars],
            base=[(bar.task.started_s or 0.0) / second for bar in bars],
            orientation="h",
            name=plain(name),
            legendgroup=plain(name),
            marker={"color": bar_colour, "line": {"width": 0.5, "color": "rgba(255,255,255,0.5)"}},
            text=[
                plain(f"{b.task.function}: {b.task.title}"[:120])
                + f"<br>{duration(b.end_s - (b.task.started_s or 0.0))}"
                + f" from {duration(b.task.started_s)}"
                for b in bars
            ],
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
        )
        for name, bars, bar_colour in sorts
        if bars
    ]


def coverage_said(rows: Sequence[tuple[str, float]]) -> str:
    """The coverage printed in a plot, on two lines."""
    said = ", ".join(f"{kind} {fixed(100 * fraction, 0)} %" for kind, fraction in rows)
    return f"inside the 95 % interval:<br>{said}" if said else ""

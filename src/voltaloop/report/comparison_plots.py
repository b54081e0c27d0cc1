"""Plots of a comparison: errors against training frames, cost, coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from voltaloop.report.comparison import Mean
from voltaloop.report.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    axis,
    figure,
    logarithmic,
    plain,
)
from voltaloop.report.formats import significant

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED, "#1aa3ad", "#9aa32a", GREY)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "hexagon")
ROW_HEIGHT = 34
NOMINAL = 95.0


def error_figure(
    found: Sequence[Mean], names: Sequence[str], quantity: str, title: str
) -> go.Figure | None:
    """A line for each potential over the number of training frames; bars where there is but one
    number."""
    known = [mean for mean in found if mean.of(quantity) is not None]
    sizes = sorted({mean.n_train for mean in known})
    if not known:
        return None
    if len(sizes) == 1:
        return bar_figure(known, names, {title: quantity}, title, log=False)
    traces = [
        go.Scatter(
            x=[mean.n_train for mean in own],
            y=[mean.of(quantity) for mean in own],
            error_y=_error_bars(own, quantity),
            name=plain(name),
            mode="lines+markers",
            line={"color": _colour(index), "width": 2},
            marker={"size": 8, "symbol": SYMBOLS[index % len(SYMBOLS)]},
            hovertemplate=f"{plain(name)}<br>%{{x}} frames<br>%{{y:.4g}}<extra></extra>",
        )
        for index, name in enumerate(names)
        if (own := [mean for mean in known if mean.potential == name])
    ]
    return figure(
        traces,
        xaxis=logarithmic(
            "training frames (number)",
            sizes,
            tickvals=sizes,
            ticktext=[str(size) for size in sizes],
        ),
        yaxis=logarithmic(title, _with_bars(known, quantity)),
    )


def price_figure(found: Sequence[Mean], names: Sequence[str]) -> go.Figure | None:
    """CPU time of training against force error, a line for each potential through its sizes."""
    known = [
        mean
        for mean in found
        if mean.of("train_cpu_s") is not None and mean.of("force_rmse_eV_per_A") is not None
    ]
    if not known:
        return None
    traces = [
        go.Scatter(
            x=[mean.of("train_cpu_s") for mean in own],
            y=[mean.of("force_rmse_eV_per_A") for mean in own],
            name=plain(name),
            mode="lines+markers",
            line={"color": _colour(index), "width": 1.5, "dash": "dot"},
            marker={"size": 9, "symbol": SYMBOLS[index % len(SYMBOLS)]},
            customdata=[mean.n_train for mean in own],
            hovertemplate=(
                f"{plain(name)}, %{{customdata}} frames<br>%{{x:.3g}} s<br>%{{y:.4g}} eV/Å"
                "<extra></extra>"
            ),
        )
        for index, name in enumerate(names)
        if (own := [mean for mean in known if mean.potential == name])
    ]
    return figure(
        traces,
        xaxis=logarithmic("CPU time of training (s)", [m.of("train_cpu_s") for m in known]),
        yaxis=logarithmic("force error (eV/Å)", [m.of("force_rmse_eV_per_A") for m in known]),
    )


def bar_figure(
    at: Sequence[Mean],
    names: Sequence[str],
    quantities: Mapping[str, str],
    title: str,
    *,
    log: bool = True,
) -> go.Figure | None:
    """Horizontal bars, one row for each potential; quantities: name in the legend → quantity."""
    known = [
        mean
        for name in reversed(names)
        for mean in at
        if mean.potential == name and any(mean.of(q) is not None for q in quantities.values())
    ]
    if not known:
        return None
    colours = (None,) if len(quantities) == 1 else (BLUE, ORANGE)
    traces = [
        go.Bar(
            y=[plain(mean.potential) for mean in known],
            x=[mean.of(quantity) for mean in known],
            name=label,
            orientation="h",
            marker={"color": colour or _bar_colours(known, names)},
            text=[_told(mean.of(quantity)) for mean in known],
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"%{{y}}, {plain(label)}: %{{x:.4g}}<extra></extra>",
        )
        for (label, quantity), colour in zip(quantities.items(), colours, strict=True)
    ]
    values = [mean.of(quantity) for mean in known for quantity in quantities.values()]
    across = _log_from_below(title, values) if log else _from_zero(title, values)
    return figure(
        traces,
        height=110 + ROW_HEIGHT * len(known) * len(quantities),
        barmode="group",
        showlegend=len(quantities) > 1,
        xaxis=across,
        yaxis=axis("", ticks="", showgrid=False),
    )


def coverage_figure(at: Sequence[Mean], names: Sequence[str], quantity: str) -> go.Figure | None:
    """Raw and calibrated coverage in percent for each potential, with the line they should keep."""
    known = [
        mean
        for name in names
        for mean in at
        if mean.potential == name and mean.of(f"coverage_{quantity}_raw") is not None
    ]
    if not known:
        return None
    return figure(
        [
            _coverage_bars(known, f"coverage_{quantity}_raw", "raw", GREY),
            _coverage_bars(known, f"coverage_{quantity}", "calibrated", GREEN),
        ],
        barmode="group",
        xaxis=axis("", ticks="", showgrid=False),
        yaxis=axis(
            "true errors inside the interval (%)", range=[0, 112], tickvals=[0, 20, 40, 60, 80, 100]
        ),
        shapes=[
            {
                "type": "line",
                "xref": "x domain",
                "x0": 0,
                "x1": 1,
                "y0": NOMINAL,
                "y1": NOMINAL,
                "line": {"color": RED, "width": 1.5, "dash": "dash"},
            }
        ],
    )


def _coverage_bars(known: Sequence[Mean], quantity: str, name: str, colour: str) -> go.Bar:
    shares = [mean.of(quantity) for mean in known]
    return go.Bar(
        x=[plain(mean.potential) for mean in known],
        y=[None if share is None else 100 * share for share in shares],
        name=name,
        marker={"color": colour},
        text=["" if share is None else f"{100 * share:.0f}" for share in shares],
        textposition="outside",
        cliponaxis=False,
        hovertemplate=f"%{{x}}, {name}: %{{y:.1f}} %<extra></extra>",
    )


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _bar_colours(known: Sequence[Mean], names: Sequence[str]) -> list[str]:
    return [_colour(names.index(mean.potential)) for mean in known]


def _told(value: float | None) -> str:
    return "" if value is None else significant(value)


def _log_from_below(title: str, values: Sequence[float | None]) -> dict[str, Any]:
    """Bars on a logarithmic axis begin below the smallest and leave room for their numbers."""
    known = [value for value in values if value]
    return logarithmic(title, [min(known) / 2.2, (max(known) / min(known)) ** 0.2 * max(known)])


def _from_zero(title: str, values: Sequence[float | None]) -> dict[str, Any]:
    return axis(title, range=[0, 1.18 * max(value for value in values if value is not None)])


def _error_bars(own: Sequence[Mean], quantity: str) -> dict[str, Any]:
    """Standard deviations over splits; on logarithmic axes the lower end stays above zero."""
    pairs = [(mean.values[quantity].mean, mean.values[quantity].err or 0.0) for mean in own]
    return {
        "type": "data",
        "array": [err for _, err in pairs],
        "arrayminus": [min(err, 0.9 * mean) for mean, err in pairs],
        "visible": any(err for _, err in pairs),
        "thickness": 1.5,
        "width": 4,
    }


def _with_bars(known: Sequence[Mean], quantity: str) -> list[float]:
    """The ends of all bars, so that the axis holds them."""
    pairs = [(mean.values[quantity].mean, mean.values[quantity].err or 0.0) for mean in known]
    return [end for mean, err in pairs for end in (mean - min(err, 0.9 * mean), mean + err)]

"""How the members learned → plotly figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from voltaloop.report.drawing import BLUE, ORANGE, axis, figure, logarithmic
from voltaloop.report.training import CurvePanel, Line

PANEL_HEIGHT = 190


def curves_figure(panels: Sequence[CurvePanel]) -> go.Figure:
    """One panel below the other over the same axis; a line for each member, logarithmic."""
    last = len(panels) - 1
    ends = [max(line.axis) for panel in panels for line in panel.lines]
    ticks = {"dtick": 1} if max(ends) <= 10 else {}
    seen: set[bool] = set()
    traces = [
        _trace(line, panel, _number(index), seen)
        for index, panel in enumerate(panels)
        for line in panel.lines
    ]
    return figure(
        traces,
        height=90 + PANEL_HEIGHT * len(panels),
        xaxis=axis(panels[0].axis, anchor=f"y{_number(last)}", mirror="all", ticks="", **ticks),
        **{
            f"yaxis{_number(index)}": logarithmic(
                f"{panel.title}<br>({panel.unit})",
                [value for line in panel.lines for value in line.values],
                domain=_domain(index, len(panels)),
            )
            for index, panel in enumerate(panels)
        },
    )


def _number(index: int) -> str:
    """Plotly's suffix of the axis of a panel."""
    return "" if index == 0 else str(index + 1)


def _domain(index: int, count: int) -> list[float]:
    """The share of the height of a panel, the first one on top."""
    gap = 0.05 if count > 1 else 0.0
    height = (1 - gap * (count - 1)) / count
    top = 1 - index * (height + gap)
    return [max(top - height, 0.0), top]


def _trace(line: Line, panel: CurvePanel, number: str, seen: set[bool]) -> Any:
    name = "held out" if line.held_out else "learned from"
    first = line.held_out not in seen
    seen.add(line.held_out)
    return go.Scatter(
        x=line.axis,
        y=line.values,
        name=name,
        legendgroup=name,
        showlegend=first,
        yaxis=f"y{number}",
        mode="lines" if len(line.axis) > 30 else "lines+markers",
        opacity=0.75,
        line={"color": ORANGE if line.held_out else BLUE, "width": 1.4},
        marker={"size": 6, "symbol": "diamond" if line.held_out else "circle"},
        hovertemplate=f"member {line.member + 1}, {name}<br>%{{x}}: %{{y:.4g}} {panel.unit}"
        "<extra></extra>",
    )

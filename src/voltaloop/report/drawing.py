"""How every plot looks: colours that read on white and on black, axes, legends.

Text, grid and axis lines take their colour from the page's style sheet, so that one figure serves
light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

BLUE = "#3f7fd6"
ORANGE = "#e0801f"
GREEN = "#2c9c72"
RED = "#d64a5e"
PURPLE = "#8a66d0"
GREY = "#8792a2"
BAND = "rgba(44,156,114,0.14)"

ORIGIN_COLOURS = {"start": GREY, "relaxed": GREEN, "uncertain": BLUE, "random": ORANGE}
OUTCOME_COLOURS = {
    "completed": GREEN,
    "uncertain": BLUE,
    "atoms_too_close": ORANGE,
    "cell_ran_away": PURPLE,
    "temperature_exploded": RED,
    "crashed": GREY,
}
POOL_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)

_CONTENT_SCALE = ("#8a66d0", "#3f7fd6", "#1aa3ad", "#2c9c72", "#9aa32a", "#e0801f", "#d64a5e")
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def plain(text: str) -> str:
    """Untrusted text for a plot, which would otherwise read tags and links in it."""
    return escape(text, quote=False)


def translucent(colour: str, alpha: float) -> str:
    """``rgba(…)`` of ``#rrggbb``."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def content_colours(contents: Sequence[float]) -> dict[float, str]:
    """One colour for each lithium content, from empty (violet) to full (red)."""
    ordered = sorted(set(contents))
    last = len(_CONTENT_SCALE) - 1
    return {
        x: _CONTENT_SCALE[round(i * last / max(1, len(ordered) - 1))] for i, x in enumerate(ordered)
    }


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with its title, ``quantity (unit)``."""
    return {
        "title": {"text": title, "standoff": 8, "font": {"size": 13}},
        "tickfont": {"size": 12},
        "automargin": True,
        "showline": True,
        "mirror": True,
        "linewidth": 1,
        "linecolor": GREY,
        "gridcolor": "rgba(135,146,162,0.22)",
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": GREY,
        **more,
    }


def logarithmic(title: str, values: Iterable[float | None], **more: Any) -> dict[str, Any]:
    """A logarithmic axis over ``values``, labelled without exponents.

    Up to two decades it is labelled at 1, 2 and 5 of each, beyond at the decades only, within half
    a decade at even steps.
    """
    logs = [math.log10(value) for value in values if value is not None and value > 0] or [0.0]
    low, high = min(logs), max(logs)
    pad = 0.05 + 0.04 * (high - low)
    ticks = _log_ticks(low, high, pad)
    return axis(
        title,
        **{
            "type": "log",
            "range": [low - pad, high + pad],
            "tickvals": ticks,
            "ticktext": [f"{tick:.9f}".rstrip("0").rstrip(".") for tick in ticks],
            **more,
        },
    )


def _log_ticks(low: float, high: float, pad: float) -> list[float]:
    """Places to label between two decimal logarithms; the axis is wider by ``pad`` on each side."""
    if high - low < 0.5:
        return _even_ticks(10.0 ** (low - pad), 10.0 ** (high + pad))
    digits = (1, 2, 5) if high - low <= 2 else (1,)
    return [digit * 10.0**decade for decade in range(-9, 10) for digit in digits]


def _even_ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers."""
    rough = (high - low) / 5
    decade = 10.0 ** math.floor(math.log10(rough))
    step = next(digit * decade for digit in (1, 2, 5, 10) if digit * decade >= rough)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def time_axis(span_s: float) -> tuple[dict[str, Any], float]:
    """An axis from zero in s, min or h as fits the span, and how many seconds its unit has."""
    name, seconds = ("s", 1.0) if span_s < 900 else ("min", 60.0)
    if span_s >= 3 * 3600:
        name, seconds = ("h", 3600.0)
    title = f"time since the start ({name})"
    return axis(title, range=[0, 1.01 * (span_s or 1.0) / seconds]), seconds


def lithium_axis(formula_x: str, **more: Any) -> dict[str, Any]:
    """Lithium content from full to empty, the way a cell is charged."""
    return axis(
        f"x in {plain(formula_x)} (Li per f.u.), charging →",
        **{"range": [1.06, -0.06], "dtick": 0.25, **more},
    )


def figure(traces: Sequence[Any], *, height: int = 340, **layout: Any) -> go.Figure:
    """A figure in the house style; the legend lies above the plot."""
    return go.Figure(
        data=list(traces),
        layout={
            "template": go.layout.Template(),
            "height": height,
            "margin": {"l": 56, "r": 14, "t": 10, "b": 46},
            "font": {"family": _FONT, "size": 13, "color": "#5b6675"},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "legend": {
                "orientation": "h",
                "font": {"size": 12},
                "traceorder": "normal",
                "x": 0,
                "xanchor": "left",
                "y": 1.01,
                "yanchor": "bottom",
                "bgcolor": "rgba(0,0,0,0)",
                "itemsizing": "constant",
            },
            "hoverlabel": {"bgcolor": "#1f2733", "font": {"color": "#ffffff", "size": 12}},
            **layout,
        },
    )


def note(text: str, **place: Any) -> dict[str, Any]:
    """A line of figures inside the plot, at its lower right unless told otherwise."""
    return {
        "text": text,
        "showarrow": False,
        "xref": "x domain",
        "yref": "y domain",
        "x": 0.98,
        "y": 0.03,
        "xanchor": "right",
        "yanchor": "bottom",
        "align": "right",
        **place,
    }

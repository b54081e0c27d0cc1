"""Plots of the results: on a page (plotly), and the same as a picture (matplotlib)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from results import (
    HEADERS,
    PUBLISHED,
    SCAN_HEADERS,
    SCAN_UNITS,
    UNITS,
    Results,
    Row,
    scan_rows,
    table,
)

from voltaloop.core import require
from voltaloop.report import FigureCard, Section, TableCard, render_figures, write_page
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
)

COLOURS = {"pod": BLUE, "gap": ORANGE, "mace": GREEN, "deepmd": PURPLE, "chgnet": RED}
MARKS = {"pod": ("circle", "o"), "gap": ("square", "s"), "mace": ("diamond", "D")}
OPEN = ("circle-open", "o")
REFERENCE = "GFN2-xTB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Points to draw. published: figures of others, drawn open and not joined."""

    name: str
    engine: str
    x: Sequence[float]
    y: Sequence[float]
    published: bool = False
    dashed: bool = False

    @property
    def colour(self) -> str:
        return COLOURS.get(self.engine, GREY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One plot."""

    key: str
    title: str
    caption: str
    x: str
    y: str
    lines: Sequence[Line]
    logarithmic: bool = True


ERRORS = {
    "force": ("Forces on atoms", "force error (meV/Å)"),
    "energy": ("Energy of clusters", "energy error (meV/atom)"),
    "net_force": ("Net forces on molecules", "net force error (meV/Å)"),
    "internal": ("Within molecules: internal forces", "force error (meV/Å)"),
    "rotational": ("Between molecules: what turns them", "force error (meV/Å)"),
    "inter": ("Energy between molecules", "energy error (meV/molecule)"),
}


def panels(results: Results) -> list[Panel]:
    """What is drawn, as data."""
    drawn = [
        Panel(
            key=f"error-{quantity}",
            title=title,
            caption="Test set, against the clusters trained on"
            + ("; open: published." if quantity in ("force", "energy", "net_force") else "."),
            x="training clusters (number)",
            y=label,
            lines=[*_learned(results.rows, quantity), *_published(quantity)],
        )
        for quantity, (title, label) in ERRORS.items()
    ]
    return [*drawn, _scan_panel(results)]


def _learned(rows: Sequence[Row], quantity: str) -> Iterator[Line]:
    for engine in dict.fromkeys(row.engine for row in rows):
        points = sorted(
            (row.n_frames, getattr(row.errors["test"], quantity))
            for row in rows
            if row.engine == engine and "test" in row.errors
        )
        known = [(n, error) for n, error in points if error is not None]
        if known:
            x, y = zip(*known, strict=True)
            yield Line(name=engine, engine=engine, x=x, y=y)


def _published(quantity: str) -> Iterator[Line]:
    for name in dict.fromkeys(one.name for one in PUBLISHED):
        known = [
            (one.n_frames, getattr(one, quantity, None)) for one in PUBLISHED if one.name == name
        ]
        points = [(n, value) for n, value in known if value is not None]
        if points:
            x, y = zip(*points, strict=True)
            engine = "gap" if name.startswith("GAP") else "mace"
            yield Line(name=name, engine=engine, x=x, y=y, published=True)


def _scan_panel(results: Results) -> Panel:
    scans = {
        f"{row.engine}, {row.n_frames} clusters": (row.engine, row.scan)
        for row in _last(results.rows)
    }
    if results.reference_scan is not None:
        scans[REFERENCE] = (REFERENCE, results.reference_scan)
    return Panel(
        key="scan",
        title="The liquid at other densities",
        caption="Energy from the first density on, all molecules rigid; the frame itself has "
        f"{results.liquid_density:.3f} g/cm3.",
        x="density (g/cm3)",
        y="energy (meV/molecule)",
        lines=[
            Line(
                name=name,
                engine=engine,
                x=scan.densities.tolist(),
                y=(1e3 * scan.energies).tolist(),
                dashed=engine == REFERENCE,
            )
            for name, (engine, scan) in scans.items()
            if scan is not None
        ],
        logarithmic=False,
    )


def _last(rows: Sequence[Row]) -> list[Row]:
    """The fit of every engine to the most clusters."""
    best: dict[str, Row] = {}
    for row in rows:
        if row.engine not in best or row.n_frames > best[row.engine].n_frames:
            best[row.engine] = row
    return list(best.values())


def write_html(results: Results, path: Path) -> Path:
    """One page with every plot and table, which opens offline."""
    cards: list[FigureCard | TableCard] = [
        FigureCard(
            key=panel.key,
            title=panel.title,
            caption=panel.caption,
            figure=_plotly(panel) if panel.lines else None,
            empty="nothing was computed.",
        )
        for panel in panels(results)
    ]
    for name in results.sizes:
        cards.append(
            TableCard(
                title=f"Errors on the set '{name}'",
                headers=_with_units(HEADERS, UNITS),
                rows=tuple(table(results, name)),
                wide=True,
            )
        )
    cards.append(
        TableCard(
            title="Volume scan and rotation",
            headers=_with_units(SCAN_HEADERS, SCAN_UNITS),
            rows=tuple(scan_rows(results)),
        )
    )
    section = Section(
        key="ecemc",
        title="Potentials of carbonate electrolytes",
        lead="Root mean squares of errors against GFN2-xTB, within and between molecules.",
        cards=tuple(cards),
    )
    return write_page(render_figures(section, "voltaloop example"), path)


def _with_units(headers: Sequence[str], units: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{h} ({u})" if u else h for h, u in zip(headers, units, strict=True))


def _plotly(panel: Panel) -> go.Figure:
    traces = [
        go.Scatter(
            x=list(line.x),
            y=list(line.y),
            name=line.name,
            mode="markers" if line.published else "lines+markers",
            line={"color": line.colour, "width": 2, "dash": "dash" if line.dashed else "solid"},
            marker={"size": 9, "symbol": _symbol(line), "line": {"width": 2}},
            hovertemplate=f"{line.name}<br>%{{x:.4g}}<br>%{{y:.4g}}<extra></extra>",
        )
        for line in panel.lines
    ]
    if not panel.logarithmic:
        return figure(traces, xaxis=axis(panel.x), yaxis=axis(panel.y))
    sizes = _sizes(panel)
    return figure(
        traces,
        xaxis=logarithmic(panel.x, sizes, tickvals=sizes, ticktext=[f"{n:g}" for n in sizes]),
        yaxis=logarithmic(panel.y, [y for line in panel.lines for y in line.y]),
    )


def _symbol(line: Line) -> str:
    symbol = MARKS.get(line.engine, OPEN)[0].removesuffix("-open")
    return f"{symbol}-open" if line.published else symbol


def _sizes(panel: Panel) -> list[float]:
    """Numbers of clusters to name on the axis: of two that nearly meet, the first."""
    named: list[float] = []
    for size in sorted({x for line in panel.lines for x in line.x}):
        if not named or size > 1.2 * named[-1]:
            named.append(size)
    return named


def write_picture(results: Results, path: Path) -> Path:
    """The plots side by side. Raises MissingDependencyError without matplotlib."""
    require("matplotlib", extra="chgnet").use("Agg")
    pyplot = require("matplotlib.pyplot", extra="chgnet")
    drawn = [panel for panel in panels(results) if panel.lines]
    rows = -(-len(drawn) // 3)
    made, axes = pyplot.subplots(rows, 3, figsize=(13, 3.9 * rows), squeeze=False)
    for place in axes.flat[len(drawn) :]:
        place.axis("off")
    for panel, place in zip(drawn, axes.flat, strict=False):
        _draw(panel, place)
    made.tight_layout()
    made.savefig(path, dpi=110)
    pyplot.close(made)
    return path


def _draw(panel: Panel, place: Any) -> None:
    for line in panel.lines:
        place.plot(
            line.x,
            line.y,
            label=line.name,
            color=line.colour,
            marker=MARKS.get(line.engine, OPEN)[1],
            linestyle="none" if line.published else "--" if line.dashed else "-",
            markerfacecolor="white" if line.published else line.colour,
            markersize=6,
        )
    place.set(xlabel=panel.x, ylabel=panel.y)
    place.set_title(panel.title, fontsize=11, loc="left")
    place.grid(alpha=0.25, which="both")
    place.legend(fontsize=8, framealpha=0.6)
    if panel.logarithmic:
        _name_ticks(place, _sizes(panel), [y for line in panel.lines for y in line.y])


def _name_ticks(place: Any, sizes: Sequence[float], values: Sequence[float]) -> None:
    ticks = [digit * 10.0**decade for decade in range(-3, 6) for digit in (1, 2, 5)]
    place.set(xscale="log", yscale="log")
    place.set_xticks(sizes, [f"{n:g}" for n in sizes])
    place.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    place.set_xticks([], minor=True)
    place.set_yticks([], minor=True)
    place.set_ylim(0.8 * min(values), 1.25 * max(values))

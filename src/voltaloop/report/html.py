"""One HTML file that opens offline: style, plots and plotly.js are all inside it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from voltaloop.report.cards import FigureCard, Section, TableCard, sections
from voltaloop.report.formats import (
    duration,
    fixed,
    plural,
    signed,
    subscripted,
    unit,
    with_error,
)
from voltaloop.report.history import CampaignHistory
from voltaloop.report.tables import (
    Estimate,
    Headline,
    headline,
    headline_sentence,
    reference_sentence,
    rests_on_sentence,
    verdicts,
)

_BANNERS = {
    "running": (
        "Still running",
        "Figures are those of the moment this page was written; write it again to renew them.",
    ),
    "paused": (
        "Paused",
        "The campaign was ended before it was done. Run it again on the same folder to go on.",
    ),
    "failed": ("Failed", "The campaign ended with an error; see the notes below."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One of the large numbers at the top."""

    title: str
    value: str
    unit: str
    below: str


def render_report(history: CampaignHistory) -> str:
    """The whole page. Raises ValueError where the answer's lists do not fit together."""
    chapters = sections(history)
    found = headline(history)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            history=history,
            formula=subscripted(history.formula),
            banner=_BANNERS.get(history.state),
            sentence=None if found is None else headline_sentence(found),
            provisional=found is not None and found.round is not None,
            headline=found,
            reference=None if found is None else reference_sentence(found),
            rests_on=rests_on_sentence(history),
            tiles=_tiles(history, found),
            verdicts=verdicts(history),
            marks=_MARKS,
            sections=chapters,
            figures=figures_of(chapters),
            facts=_facts(history),
            plotly_js=get_plotlyjs(),
        )
    )


def render_figures(section: Section, kicker: str) -> str:
    """A page of one chapter: its cards, without a campaign around them."""
    return (
        environment()
        .get_template("figures.html.j2")
        .render(
            title=section.title,
            kicker=kicker,
            section=section,
            figures=figures_of([section]),
            plotly_js=get_plotlyjs(),
        )
    )


def write_report(history: CampaignHistory, path: Path) -> Path:
    """Write the report of a campaign."""
    return write_page(render_report(history), path)


def write_page(page: str, path: Path) -> Path:
    """Write a page in one step, so that a reader never opens half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


_MARKS = {
    "good": ("✓", "meets the target"),
    "open": ("≈", "too few trials to tell"),
    "bad": ("✕", "misses the target"),
    "unknown": ("…", "not known yet"),
}


def environment() -> Environment:
    """The templates; a name that they do not know is an error."""
    templates = Environment(
        loader=PackageLoader("voltaloop.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.tests["table"] = lambda card: isinstance(card, TableCard)
    return templates


def figures_of(chapters: Sequence[Section]) -> dict[str, Any]:
    """Figure key → {data, layout}, ready for JSON; numpy arrays travel as base64."""
    return {
        card.key: json.loads(card.figure.to_json())
        for chapter in chapters
        for card in chapter.cards
        if isinstance(card, FigureCard) and card.figure is not None
    }


def _tiles(history: CampaignHistory, found: Headline | None) -> list[Tile]:
    labels = Tile(
        title="Reference labels",
        value=str(len(history.labels)),
        unit="",
        below=f"in {duration(history.elapsed_s)}",
    )
    if found is None:
        return [labels]
    return [
        Tile(
            title="Volume change",
            value=_tile_value(found.volume_change_percent, 2, sign=True),
            unit="%",
            below=_beside(found.volume_change_percent, "%", 2),
        ),
        Tile(
            title="Average voltage",
            value=_tile_value(found.average_voltage_V, 3),
            unit="V",
            below=_beside(found.average_voltage_V, "V", 3),
        ),
        labels,
    ]


def _tile_value(estimate: Estimate, digits: int, *, sign: bool = False) -> str:
    text = with_error(estimate.value, estimate.err, digits)
    gains = sign and estimate.value is not None and estimate.value > 0
    return f"+{text}" if gains else text


def _beside(estimate: Estimate, name: str, digits: int) -> str:
    if estimate.reference is None:
        return "reference’s own: not computed"
    write = signed if name == "%" else fixed
    return f"reference’s own: {unit(write(estimate.reference, digits), name)}"


def _facts(history: CampaignHistory) -> list[tuple[str, str]]:
    return [
        ("campaign", history.name),
        ("material", subscripted(history.formula)),
        ("explored cell", plural(history.n_atoms, "atom")),
        ("seed", str(history.seed)),
        *((f"{name} version", version) for name, version in sorted(history.versions.items())),
    ]

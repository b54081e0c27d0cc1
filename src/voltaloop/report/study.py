"""The page of a study: one HTML file that opens offline and belongs to no campaign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plotly.offline import get_plotlyjs

from voltaloop.report.cards import Section
from voltaloop.report.html import environment, figures_of


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPage:
    """What stands above the chapters of a study, and what it was made from.

    kicker: what kind of study; sentence: what came out; beside: what to know of it; facts: names
    and values; source: the text of the file that asked for it.
    """

    kicker: str
    title: str
    sentence: str
    beside: Sequence[str]
    chapters: Sequence[Section]
    facts: Sequence[tuple[str, str]]
    source: str


def render_study(page: StudyPage) -> str:
    """The whole page, with style, plots and plotly.js inside."""
    return (
        environment()
        .get_template("study.html.j2")
        .render(page=page, figures=figures_of(page.chapters), plotly_js=get_plotlyjs())
    )

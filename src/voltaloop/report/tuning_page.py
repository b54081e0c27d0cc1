"""The page of a search: Pareto plot, what each option does, tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from voltaloop.report.cards import FigureCard, Section, TableCard
from voltaloop.report.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    axis,
    figure,
    logarithmic,
    plain,
)
from voltaloop.report.formats import plural
from voltaloop.report.plots import STACKED
from voltaloop.report.study import StudyPage
from voltaloop.report.tuning import (
    RESULT_HEADERS,
    TRIAL_HEADERS,
    Trial,
    Tuning,
    best_lines,
    front_rows,
    option,
    pareto_front,
    result_rows,
    setting,
    trial_row,
    tuning_sentence,
)

ENERGY, FORCE = "energy error (meV/atom)", "force error (eV/Å)"
NOTHING = "no setting worked."


def tuning_page(tuning: Tuning) -> StudyPage:
    return StudyPage(
        kicker=f"voltaloop search for options of {tuning.engine}",
        title=tuning.name,
        sentence=tuning_sentence(tuning),
        beside=[
            f"Labels: {tuning.labels}.",
            f"Settings are compared by {tuning.scoring}.",
            f"Test, never seen by the search: {tuning.test}.",
        ],
        chapters=[_result_section(tuning), _option_section(tuning), _trial_section(tuning)],
        facts=[
            ("search", tuning.name),
            ("seed", str(tuning.seed)),
            ("sampler", tuning.sampler),
            *tuning.versions.items(),
        ],
        source=tuning.text,
    )


def _result_section(tuning: Tuning) -> Section:
    return Section(
        key="result",
        title="Energy against force error",
        lead=" ".join(best_lines(tuning)[:1]) or "No setting gave errors.",
        cards=(
            FigureCard(
                key="pareto",
                title="All settings",
                caption="Held-out errors. On the Pareto front no setting is better in both; lower "
                "left is better. ★ has the smallest product of the two.",
                figure=pareto_figure(tuning),
                empty=NOTHING,
                wide=True,
            ),
            TableCard(
                title="What the search brought",
                headers=RESULT_HEADERS,
                rows=tuple(result_rows(tuning)),
                note="Test: trained on all frames of the search, examined on frames that no trial "
                "saw.",
                wide=True,
            ),
            TableCard(
                title="The Pareto front",
                headers=TRIAL_HEADERS,
                rows=tuple(front_rows(tuning)),
                note="★ the best. CPU: all trainings of the setting and their scoring.",
                wide=True,
            ),
        ),
    )


def _option_section(tuning: Tuning) -> Section:
    names = list(dict.fromkeys(name for trial in tuning.trials for name in trial.values))
    return Section(
        key="options",
        title="What each option does",
        lead="Every point is a trial; where points fall along one line, that option decides.",
        cards=tuple(
            FigureCard(
                key=f"option-{index}",
                title=name,
                caption="Held-out errors; ★ the best setting.",
                figure=option_figure(tuning, name),
                empty=NOTHING,
            )
            for index, name in enumerate(names)
        ),
    )


def _trial_section(tuning: Tuning) -> Section:
    failed = [trial for trial in tuning.trials if trial.failed]
    return Section(
        key="trials",
        title="How the search went",
        lead=f"{plural(len(tuning.trials), 'trial')}, {len(failed)} of them failed; the setting in "
        "the file was measured first.",
        cards=(
            FigureCard(
                key="way",
                title="Trial by trial",
                caption="Product of the two held-out errors; the line is the smallest so far.",
                figure=way_figure(tuning),
                empty=NOTHING,
                wide=True,
            ),
            TableCard(
                title="All trials",
                headers=TRIAL_HEADERS,
                rows=tuple(trial_row(trial) for trial in (tuning.present, *tuning.trials)),
                folded=True,
            ),
        ),
    )


def pareto_figure(tuning: Tuning) -> go.Figure | None:
    """Held-out errors of all settings, the front as steps, the best and the present one."""
    if not tuning.candidates:
        return None
    front = pareto_front(tuning.candidates)
    others = [trial for trial in tuning.candidates if trial not in front]
    return figure(
        [
            _points(others, "other settings", {"color": GREY, "size": 8, "opacity": 0.75}),
            go.Scatter(
                x=[trial.energy_rmse_meV_per_atom for trial in front],
                y=[trial.force_rmse_eV_per_A for trial in front],
                mode="lines",
                line={"color": BLUE, "width": 1.5, "shape": "hv"},
                showlegend=False,
                hoverinfo="skip",
            ),
            _points(front, "Pareto front", {"color": BLUE, "size": 9}),
            *_landmarks(tuning),
        ],
        height=420,
        xaxis=logarithmic(ENERGY, [t.energy_rmse_meV_per_atom for t in tuning.candidates]),
        yaxis=logarithmic(FORCE, [t.force_rmse_eV_per_A for t in tuning.candidates]),
    )


def _landmarks(tuning: Tuning) -> list[go.Scatter]:
    marks = []
    if not tuning.present.failed:
        marks.append(
            _points(
                [tuning.present],
                "as the file has it",
                {"color": ORANGE, "size": 13, "symbol": "diamond"},
            )
        )
    if tuning.best is not None:
        marks.append(_points([tuning.best], "best", {"color": GREEN, "size": 17, "symbol": "star"}))
    return marks


def _points(trials: Sequence[Trial], name: str, marker: dict[str, Any]) -> go.Scatter:
    return go.Scatter(
        x=[trial.energy_rmse_meV_per_atom for trial in trials],
        y=[trial.force_rmse_eV_per_A for trial in trials],
        name=name,
        mode="markers",
        marker=marker,
        customdata=[_hover(trial) for trial in trials],
        hovertemplate="%{customdata}<br>%{x:.3g} meV/atom, %{y:.3g} eV/Å<extra></extra>",
    )


def _hover(trial: Trial) -> str:
    title = "" if trial.number is None else f"trial {trial.name}<br>"
    return title + plain(setting(trial.values)).replace(", ", "<br>")


def option_figure(tuning: Tuning, name: str) -> go.Figure | None:
    """Force error above, energy error below, over the values of one option."""
    trials = [trial for trial in tuning.candidates if name in trial.values]
    if not trials:
        return None
    values = [trial.values[name] for trial in trials]
    numbers = all(isinstance(value, int | float) for value in values)
    shown = values if numbers else [plain(option(value)) for value in values]
    best = [trial is tuning.best for trial in trials]
    marker = {
        "color": [GREEN if one else BLUE for one in best],
        "size": [15 if one else 7 for one in best],
        "symbol": ["star" if one else "circle" for one in best],
        "opacity": [1.0 if one else 0.7 for one in best],
    }
    traces = [
        go.Scatter(
            x=shown,
            y=[getattr(trial, quantity) for trial in trials],
            mode="markers",
            marker=marker,
            yaxis=place,
            customdata=[_hover(trial) for trial in trials],
            hovertemplate="%{customdata}<br>%{y:.3g}<extra></extra>",
        )
        for quantity, place in (
            ("force_rmse_eV_per_A", "y"),
            ("energy_rmse_meV_per_atom", "y2"),
        )
    ]
    across = _across(name, values) if numbers else axis(plain(name), type="category", **STACKED)
    return figure(
        traces,
        height=340,
        showlegend=False,
        xaxis={**across, "anchor": "y2"},
        yaxis=logarithmic(
            "force (eV/Å)", [t.force_rmse_eV_per_A for t in trials], domain=[0.54, 1]
        ),
        yaxis2=logarithmic(
            "energy (meV/atom)", [t.energy_rmse_meV_per_atom for t in trials], domain=[0, 0.46]
        ),
    )


def _across(name: str, values: Sequence[float]) -> dict[str, Any]:
    """Logarithmic where values span more than a decade; few whole numbers are labelled each."""
    low, high, different = min(values), max(values), sorted(set(values))
    labels = [f"{value:g}" for value in different]
    whole = all(isinstance(value, int) for value in values)
    few = {"tickvals": different, "ticktext": labels} if whole and len(different) <= 8 else {}
    if low > 0 and high / low > 10:
        return logarithmic(plain(name), values, **few, **STACKED)
    return axis(plain(name), **few, **STACKED)


def way_figure(tuning: Tuning) -> go.Figure | None:
    """The product of the errors trial by trial, and the smallest so far."""
    known = [trial for trial in tuning.trials if not trial.failed]
    if not known:
        return None
    numbers = [trial.number + 1 for trial in known if trial.number is not None]
    smallest: list[float] = []
    for trial in known:
        smallest.append(min([trial.product, *smallest[-1:]]))
    failed = [t.number + 1 for t in tuning.trials if t.failed and t.number is not None]
    values = [trial.product for trial in known]
    traces = [
        go.Scatter(
            x=numbers,
            y=values,
            name="trial",
            mode="markers",
            marker={"color": BLUE, "size": 7, "opacity": 0.75},
            customdata=[_hover(trial) for trial in known],
            hovertemplate="%{customdata}<br>%{y:.3g}<extra></extra>",
        ),
        go.Scatter(
            x=numbers,
            y=smallest,
            name="smallest so far",
            mode="lines",
            line={"color": GREEN, "width": 2, "shape": "hv"},
            hoverinfo="skip",
        ),
    ]
    if failed:
        traces.append(
            go.Scatter(
                x=failed,
                y=[max(values)] * len(failed),
                name="failed",
                mode="markers",
                marker={"color": RED, "size": 8, "symbol": "x"},
                hovertemplate="trial %{x} failed<extra></extra>",
            )
        )
    if not tuning.present.failed:
        values = [*values, tuning.present.product]
        traces.append(
            go.Scatter(
                x=[0, len(tuning.trials) + 1],
                y=[tuning.present.product] * 2,
                name="as the file has it",
                mode="lines",
                line={"color": ORANGE, "width": 1.5, "dash": "dot"},
                hoverinfo="skip",
            )
        )
    return figure(
        traces,
        height=300,
        xaxis=axis("trial (number)", range=[0, len(tuning.trials) + 1]),
        yaxis=logarithmic("energy × force error<br>(meV/atom · eV/Å)", values),
    )

"""The page of a comparison: its plots and tables in the order they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voltaloop.report.cards import FigureCard, Section, TableCard
from voltaloop.report.comparison import (
    HEADERS,
    ComparedRun,
    Comparison,
    comparison_rows,
    comparison_sentence,
    failures,
    largest_common_size,
    meaning,
    means,
    notes,
)
from voltaloop.report.comparison_plots import (
    bar_figure,
    coverage_figure,
    error_figure,
    price_figure,
)
from voltaloop.report.formats import duration, fixed, plural, significant
from voltaloop.report.study import StudyPage

NOTHING = "no run gave it."


def comparison_page(comparison: Comparison) -> StudyPage:
    """Raises ValueError nowhere: what is missing says why."""
    return StudyPage(
        kicker="voltaloop comparison of potentials",
        title=comparison.name,
        sentence=comparison_sentence(comparison),
        beside=[
            f"Labels: {comparison.labels}.",
            f"Test: {comparison.test}.",
            *failures(comparison),
        ],
        chapters=[
            _table_section(comparison),
            _error_section(comparison),
            _cost_section(comparison),
            _coverage_section(comparison),
            _detail_section(comparison),
        ],
        facts=[
            ("comparison", comparison.name),
            ("seed", str(comparison.seed)),
            *comparison.versions.items(),
        ],
        source=comparison.text,
    )


def _table_section(comparison: Comparison) -> Section:
    return Section(
        key="table",
        title="All figures",
        lead=meaning(comparison),
        cards=(
            TableCard(
                title="Potentials and sizes",
                headers=HEADERS,
                rows=tuple(comparison_rows(comparison)),
                note="* not all splits gave a result." if _incomplete(comparison) else "",
                wide=True,
            ),
        ),
    )


def _incomplete(comparison: Comparison) -> bool:
    return any(0 < mean.finished < mean.runs for mean in means(comparison))


def _error_section(comparison: Comparison) -> Section:
    names = [engine.name for engine in comparison.engines]
    found = means(comparison)
    cards = [
        FigureCard(
            key=f"error-{quantity}",
            title=title,
            caption=caption + _bars_mean(comparison),
            figure=error_figure(found, names, f"{quantity}_rmse_{unit}", axis_title),
            empty=empty,
        )
        for quantity, unit, title, axis_title, caption, empty in (
            (
                "force",
                "eV_per_A",
                "Forces",
                "force error (eV/Å)",
                "Root mean square error of force components.",
                NOTHING,
            ),
            (
                "energy",
                "meV_per_atom",
                "Energy",
                "energy error (meV/atom)",
                "Root mean square error of the energy of a frame.",
                NOTHING,
            ),
            (
                "stress",
                "GPa",
                "Stress",
                "stress error (GPa)",
                "Root mean square error of stress components.",
                "no label of the test has a stress.",
            ),
        )
    ]
    return Section(
        key="errors",
        title="Errors on unseen frames",
        lead="How far the committee mean is from the label, and how fast that falls with more "
        "training frames.",
        cards=tuple(cards),
    )


def _bars_mean(comparison: Comparison) -> str:
    if comparison.splits == 1:
        return ""
    return f" Bars: standard deviation over {comparison.splits} splits."


def _cost_section(comparison: Comparison) -> Section:
    found = means(comparison)
    names = [engine.name for engine in comparison.engines]
    size = largest_common_size(comparison)
    at = [mean for mean in found if mean.n_train == size and mean.finished]
    trained = "" if size is None else f" after {plural(size, 'training frame')}"
    times = {"training": "train_cpu_s", "retraining": "retrain_cpu_s"}
    speeds = {"of wall time": "atom_steps_per_s", "of CPU time": "atom_steps_per_cpu_s"}
    atoms = sorted({run.md_atoms for run in comparison.runs if run.md_atoms is not None})
    cell = f" in a cell of {plural(atoms[-1], 'atom')}" if atoms else ""
    return Section(
        key="cost",
        title="What it costs",
        lead="CPU time counts every core that was busy, so it is the fairer measure on a loaded "
        "machine; it holds for the machine named under Provenance.",
        cards=(
            FigureCard(
                key="price",
                title="Force error against training time",
                caption="Every point is one training set; lower left is better.",
                figure=price_figure(found, names),
                empty=NOTHING,
            ),
            FigureCard(
                key="times",
                title="Training and retraining",
                caption=f"CPU time{trained}; retraining goes on with "
                f"{plural(comparison.retrain_frames, 'more frame', 'more frames')}.",
                figure=bar_figure(at, names, times, "CPU time (s)"),
                empty=NOTHING,
            ),
            FigureCard(
                key="speed",
                title="Speed of molecular dynamics",
                caption=f"Committee mean{cell}{trained}. Longer is better.",
                figure=bar_figure(at, names, speeds, "atom-steps per second"),
                empty=NOTHING,
            ),
            FigureCard(
                key="memory",
                title="Memory",
                caption=f"Largest resident memory{trained}, with Python, libraries and programs.",
                figure=bar_figure(
                    at, names, {"memory": "peak_memory_GB"}, "memory (GB)", log=False
                ),
                empty=NOTHING,
            ),
        ),
    )


def _coverage_section(comparison: Comparison) -> Section:
    names = [engine.name for engine in comparison.engines]
    size = largest_common_size(comparison)
    at = [mean for mean in means(comparison) if mean.n_train == size and mean.finished]
    trained = "" if size is None else f" After {plural(size, 'training frame')}."
    return Section(
        key="coverage",
        title="How honest the error bars are",
        lead="Share of true errors inside the 95 % interval. The raw interval is the Student-t "
        "interval of the committee mean, or the potential’s own standard deviation; the calibrated "
        "one was fitted on one half of the test frames and is counted on the other.",
        cards=tuple(
            FigureCard(
                key=f"coverage-{quantity}",
                title=title,
                caption=f"The line is at 95 %.{trained}",
                figure=coverage_figure(at, names, quantity),
                empty="no committee of several members was examined on enough frames.",
            )
            for quantity, title in (("energy", "Energy"), ("force", "Force components"))
        ),
    )


def _detail_section(comparison: Comparison) -> Section:
    return Section(
        key="details",
        title="Details",
        lead="Every run, every option, and what went wrong.",
        cards=(
            TableCard(
                title="All runs",
                headers=_RUN_HEADERS,
                rows=tuple(_run_row(run) for run in comparison.runs),
                folded=True,
            ),
            TableCard(
                title="Options of the engines",
                headers=("potential", "engine", "options"),
                rows=tuple(
                    (engine.name, engine.engine, _options(engine.options))
                    for engine in comparison.engines
                ),
                note=" ".join(dict.fromkeys(e.notice for e in comparison.engines if e.notice)),
                folded=True,
            ),
            TableCard(
                title="Notes",
                headers=("what was found besides",),
                rows=tuple((text,) for text in notes(comparison)),
                wide=True,
                folded=True,
            ),
        ),
    )


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in options.items())


_RUN_HEADERS = (
    "potential",
    "frames",
    "split",
    "energy (meV/atom)",
    "force (eV/Å)",
    "stress (GPa)",
    "training",
    "CPU",
    "retraining",
    "CPU",
    "examining",
    "atom-steps/s",
    "memory (GB)",
    "ended",
)


def _run_row(run: ComparedRun) -> tuple[str, ...]:
    return (
        run.potential,
        str(run.n_train),
        str(run.split + 1),
        significant(run.energy_rmse_meV_per_atom),
        significant(run.force_rmse_eV_per_A),
        significant(run.stress_rmse_GPa),
        *(
            duration(seconds)
            for seconds in (
                run.train_s,
                run.train_cpu_s,
                run.retrain_s,
                run.retrain_cpu_s,
                run.examine_s,
            )
        ),
        fixed(run.atom_steps_per_s, 0),
        significant(run.peak_memory_GB),
        run.outcome if not run.reason else f"{run.outcome}: {run.reason}",
    )

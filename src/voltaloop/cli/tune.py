"""voltaloop tune"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from voltaloop.cli.output import console, error_console, is_interactive

if TYPE_CHECKING:
    from voltaloop.report.tuning import Trial, Tuning

EXIT_FAILED = 1
EXIT_STOPPED = 130


def tune(
    file: Annotated[Path, typer.Argument(help="Search file (YAML).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results.", show_default="runs/NAME")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Plain lines instead of a progress bar.")
    ] = False,
) -> None:
    """Search for good options of a potential: energy against force error on held-out frames.

    Settings are compared on frames that their committees have not seen; the best one and the one
    in the file are then examined on test frames that no trial has seen. Run again, it goes on where
    it stopped; with more trials in the file, it goes on searching.

    Writes DIR/tune.json, DIR/tune.html and DIR/best.yaml, whose section 'potential' is ready for a
    campaign file.

    Exit code 0: a best setting was found, 1: none worked, 2: bad input, 130: stopped.
    """
    from voltaloop.campaigns.comparing import notices
    from voltaloop.campaigns.study_file import read_tune_file
    from voltaloop.campaigns.studying import open_bench
    from voltaloop.campaigns.tuning import plan_tuning, trials_planned, write_tuning
    from voltaloop.campaigns.tuning import tune as run_search
    from voltaloop.cli.study_progress import StudyBar, StudyLines

    tuned, text = read_tune_file(file)
    plan = plan_tuning(tuned, file.resolve().parent)
    told = error_console()
    told.print(f"Labels: {plan.labels}", markup=False, soft_wrap=True)
    told.print(f"Settings are compared by {plan.scoring}", markup=False, soft_wrap=True)
    told.print(f"Test, never seen by the search: {plan.test_set}", markup=False, soft_wrap=True)
    for notice in notices([tuned.potential]):
        told.print(notice, markup=False, soft_wrap=True)
    folder = out or Path("runs") / tuned.name
    progress_class = StudyBar if is_interactive(quiet=quiet) else StudyLines
    try:
        with (
            open_bench(folder, tuned.resources, text) as bench,
            progress_class(told, "settings", trials_planned(tuned)) as progress,
        ):
            tuning = run_search(
                tuned, text, plan, bench, watch=lambda trial: progress.ended(_line(trial))
            )
    except KeyboardInterrupt:
        go_on = f"voltaloop tune {file}" + (f" --out {out}" if out else "")
        told.print(f"Stopped; finished trials are kept. Go on with: {go_on}", soft_wrap=True)
        raise typer.Exit(EXIT_STOPPED) from None
    paths = write_tuning(tuning, folder)
    _print(console(quiet=quiet), tuning)
    for path in paths.values():
        console(quiet=quiet).print(f"Wrote {path}", soft_wrap=True)
    if tuning.best is None:
        raise typer.Exit(EXIT_FAILED)


def _line(trial: Trial) -> str:
    from voltaloop.report.tuning import setting

    title = setting(trial.values) if trial.number is None else f"trial {trial.name}"
    values = "" if trial.number is None else f"  ({setting(trial.values)})"
    if trial.failed:
        return f"{title}: failed: {trial.failed.splitlines()[0]}{values}"
    return (
        f"{title}: {trial.energy_rmse_meV_per_atom:.2f} meV/atom, "
        f"{trial.force_rmse_eV_per_A:.3f} eV/Å{values}"
    )


def _print(out: Console, tuning: Tuning) -> None:
    from voltaloop.report.tuning import (
        RESULT_HEADERS,
        TRIAL_HEADERS,
        best_lines,
        front_rows,
        result_rows,
        tuning_sentence,
    )

    out.print(_table("Pareto front of the held-out errors", TRIAL_HEADERS, front_rows(tuning)))
    out.print(_table("What the search brought", RESULT_HEADERS, result_rows(tuning)))
    for text in best_lines(tuning) or [tuning_sentence(tuning)]:
        out.print(text, markup=False, soft_wrap=True)


def _table(title: str, headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    shown = Table(*headers, title=title, box=None, title_justify="left")
    for row in rows:
        shown.add_row(*map(escape, row))
    return shown

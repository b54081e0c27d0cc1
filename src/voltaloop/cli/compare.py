"""voltaloop compare"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from voltaloop.cli.output import console, error_console, is_interactive

if TYPE_CHECKING:
    from voltaloop.report.comparison import ComparedRun, Comparison

EXIT_FAILED = 1
EXIT_STOPPED = 130


def compare(
    file: Annotated[Path, typer.Argument(help="Comparison file (YAML).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results.", show_default="runs/NAME")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Plain lines instead of a progress bar.")
    ] = False,
) -> None:
    """Compare potentials on one labelled set: errors, times, speed, coverage, memory.

    All are trained on the same frames and examined on the same others, each run in a process of
    its own: what one engine cannot do is a row that says why. Finished runs are kept in DIR and
    not computed again; those that failed are tried again.

    Writes DIR/compare.json, DIR/compare.md and DIR/compare.html.

    Exit code 0: at least one run gave a result, 1: none did, 2: bad input, 130: stopped.
    """
    from voltaloop.campaigns.comparing import (
        compare as run_comparison,
    )
    from voltaloop.campaigns.comparing import (
        notices,
        plan_comparison,
        runs_planned,
        write_comparison,
    )
    from voltaloop.campaigns.study_file import read_compare_file
    from voltaloop.campaigns.studying import open_bench
    from voltaloop.cli.study_progress import StudyBar, StudyLines

    compared, text = read_compare_file(file)
    plan = plan_comparison(compared, file.resolve().parent)
    told = error_console()
    told.print(f"Labels: {plan.labels}", markup=False, soft_wrap=True)
    told.print(f"Test: {plan.test}", markup=False, soft_wrap=True)
    for notice in notices(compared.potentials):
        told.print(notice, markup=False, soft_wrap=True)
    folder = out or Path("runs") / compared.name
    progress_class = StudyBar if is_interactive(quiet=quiet) else StudyLines
    total = runs_planned(compared, plan)
    try:
        with (
            open_bench(folder, compared.resources, text) as bench,
            progress_class(told, "runs", total) as progress,
        ):
            comparison = run_comparison(
                compared, text, plan, bench, watch=lambda run: progress.ended(_line(run))
            )
    except KeyboardInterrupt:
        go_on = f"voltaloop compare {file}" + (f" --out {out}" if out else "")
        told.print(f"Stopped; finished runs are kept. Go on with: {go_on}", soft_wrap=True)
        raise typer.Exit(EXIT_STOPPED) from None
    paths = write_comparison(comparison, folder)
    _print(console(quiet=quiet), comparison)
    for path in paths.values():
        console(quiet=quiet).print(f"Wrote {path}", soft_wrap=True)
    if not any(run.outcome == "finished" for run in comparison.runs):
        raise typer.Exit(EXIT_FAILED)


def _line(run: ComparedRun) -> str:
    where = f"{run.potential}, {run.n_train} frames, split {run.split + 1}"
    if run.outcome == "not installed":
        return f"{where}: not installed"
    if run.outcome == "failed":
        return f"{where}: failed: {run.reason.splitlines()[0] if run.reason else ''}"
    return (
        f"{where}: {run.energy_rmse_meV_per_atom:.2f} meV/atom, "
        f"{run.force_rmse_eV_per_A:.3f} eV/Å, trained in {run.train_s:.1f} s"
    )


def _print(out: Console, comparison: Comparison) -> None:
    from voltaloop.report.comparison import (
        HEADERS,
        comparison_rows,
        comparison_sentence,
        failures,
        notes,
    )

    shown = Table(box=None, header_style="bold")
    for index, header in enumerate(HEADERS):
        shown.add_column(header, justify="right" if index else "left")
    for row in comparison_rows(comparison):
        shown.add_row(*map(escape, row))
    out.print(shown)
    for text in (*failures(comparison), *notes(comparison), comparison_sentence(comparison)):
        out.print(text, markup=False, soft_wrap=True)

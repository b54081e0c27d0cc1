"""voltaloop run"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from voltaloop.cli.output import console, error_console, is_interactive

if TYPE_CHECKING:
    from voltaloop.report.summary import AnswerTable

EXIT_FAILED = 1
EXIT_PAUSED = 3
EXIT_STOPPED = 130


def run(
    file: Annotated[Path, typer.Argument(help="Campaign file (YAML).")],
    out: Annotated[
        Path | None, typer.Option(help="Campaign folder.", show_default="runs/NAME")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Plain lines instead of progress bars.")
    ] = False,
) -> None:
    """Run a campaign to its answer; on a folder that exists already, go on where it stopped.

    Writes DIR/answer.json and DIR/report.html.

    Ctrl-C or SIGTERM ends it cleanly; the same command goes on.

    When calculations fail for a common reason, or the disk is full, the campaign pauses and says
    why; the same command goes on when that is mended. Single calculations that fail are tried in
    other ways and then put into quarantine: see voltaloop quarantine.

    Exit code 0: answered, 1: failed, 2: bad input, 3: paused, 130: stopped.
    """
    from voltaloop.campaigns import (
        CampaignFolder,
        campaign_history,
        read_campaign_file,
        run_campaign,
    )
    from voltaloop.cli.progress import BarProgress, LineProgress
    from voltaloop.report import answer_table

    campaign, text = read_campaign_file(file)
    folder = CampaignFolder(out or Path("runs") / campaign.name)
    progress_class = BarProgress if is_interactive(quiet=quiet) else LineProgress
    with progress_class(error_console(), campaign.stop.labels, campaign.audit.labels) as progress:
        ending = run_campaign(
            campaign,
            text,
            file.resolve().parent,
            folder,
            watch=progress.watch,
            on_stop=progress.stopping,
            tell=progress.tell,
        )
    out_console = console(quiet=quiet)
    go_on = f"voltaloop run {file}" + (f" --out {out}" if out else "")
    if ending.state == "stopped":
        out_console.print(
            f"Stopped; everything finished is kept. Go on with: {go_on}", soft_wrap=True
        )
        raise typer.Exit(EXIT_STOPPED)
    if ending.state == "paused":
        error_console().print(f"Paused: {ending.reason}", markup=False, soft_wrap=True)
        error_console().print(
            f"Everything finished is kept. Mend it, then go on with: {go_on}", soft_wrap=True
        )
        raise typer.Exit(EXIT_PAUSED)
    if ending.state == "failed":
        error_console().print(f"The campaign ended without an answer: {ending.reason}")
        error_console().print(f"Report: {folder.report_path}", soft_wrap=True)
        raise typer.Exit(EXIT_FAILED)
    history = campaign_history(folder)
    _print_table(out_console, answer_table(history))
    out_console.print(f"Answer: {folder.answer_path}", soft_wrap=True)
    out_console.print(f"Report: {folder.report_path}", soft_wrap=True)


def _print_table(out_console: Console, table: AnswerTable) -> None:
    out_console.print(table.caption, soft_wrap=True)
    shown = Table(*table.headers)
    for row in table.rows:
        shown.add_row(*row)
    out_console.print(shown)

"""voltaloop check"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from voltaloop.cli.output import console, error_console

if TYPE_CHECKING:
    from voltaloop.campaigns.preflight import Finding

EXIT_FAILED = 1


def check(
    file: Annotated[Path, typer.Argument(help="Campaign file (YAML).")],
    out: Annotated[
        Path | None,
        typer.Option(help="Campaign folder of the later run.", show_default="runs/NAME"),
    ] = None,
    patience: Annotated[
        str, typer.Option(help="Longest wait for one task, the queue included: 90s, 10m, 2h.")
    ] = "10m",
    trace: Annotated[
        bool, typer.Option("--trace", help="Print tracebacks of what failed.")
    ] = False,
) -> None:
    """Pre-flight: run one tiny task of every kind where the campaign would run it.

    Says what of the file is run as code, which pool runs where, how long a label of the unit cell
    takes, and what is wrong. Real workers, real engines; nothing is kept.

    Exit code 0: ready, 1: something failed, 2: bad input.
    """
    from voltaloop.campaigns import check as validate
    from voltaloop.campaigns import notice, read_campaign_file
    from voltaloop.campaigns.preflight import preflight, runs_code, where_tasks_run
    from voltaloop.core.durations import parse_duration
    from voltaloop.core.errors import CampaignFileError

    try:
        patience_s = parse_duration(patience)
    except ValueError as err:
        raise CampaignFileError(f"--patience: {err}") from err
    campaign, _ = read_campaign_file(file)
    base = file.resolve().parent
    out_console = console()
    out_console.print(validate(campaign, base), markup=False, soft_wrap=True)
    if said := notice(campaign):
        out_console.print(said, markup=False, soft_wrap=True)
    out_console.print("Code and commands that this file runs:", soft_wrap=True)
    for what in runs_code(campaign) or ["nothing beyond voltaloop and its engines"]:
        out_console.print(f"  {what}", markup=False, soft_wrap=True)
    out_console.print("Pools, and where their tasks run:", soft_wrap=True)
    for pool, where in where_tasks_run(campaign).items():
        out_console.print(f"  {pool}: {where}", markup=False, soft_wrap=True)
    folder = (out or Path("runs") / campaign.name).resolve().parent
    findings: list[Finding] = []
    with error_console().status("trying every Doer in its pool ...") as status:
        for finding in preflight(campaign, base, folder, patience_s=patience_s):
            findings.append(finding)
            ended = "works" if finding.ok else "fails"
            status.update(f"{finding.doer} {ended}, trying the next ...")
    out_console.print(_table(findings))
    failed = [finding for finding in findings if not finding.ok]
    for finding in failed:
        where = f"{finding.doer} in pool {finding.pool}"
        out_console.print(f"{where}: {finding.detail}", markup=False, soft_wrap=True)
        if trace and finding.trace:
            out_console.print(finding.trace, markup=False, soft_wrap=True)
    if failed:
        if not trace and any(finding.trace for finding in failed):
            out_console.print("Tracebacks: the same command with --trace.")
        raise typer.Exit(EXIT_FAILED)
    go_on = f"voltaloop run {file}" + (f" --out {out}" if out else "")
    out_console.print(f"Ready. Go on with: {go_on}", markup=False, soft_wrap=True)


def _table(findings: list[Finding]) -> Table:
    """Seconds of waiting: for a worker, and for what it loads at first."""
    shown = Table("pool", "task", "", "wait s", "run s", "what came out", box=None)
    for one in findings:
        mark = "[green]works[/]" if one.ok else "[bold red]fails[/]"
        first_line = escape(one.detail.splitlines()[0]) if one.ok else "see below"
        run = "" if one.run_s is None else f"{one.run_s:.1f}"
        wait = f"{one.seconds - (one.run_s or 0.0):.1f}"
        shown.add_row(one.pool, one.doer, mark, wait, run, first_line)
    return shown

"""voltaloop quarantine"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from voltaloop.cli.output import console

if TYPE_CHECKING:
    from voltaloop.campaigns.quarantine import QuarantinedCase


def quarantine(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Campaign folder, runs/NAME.")],
    retry: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Compute it again, from the first rung.")
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Take the refused label as it is: you have looked at it."),
    ] = None,
) -> None:
    """List calculations that failed on every rung of the retry ladder, and decide about them.

    ID: the first digits of an id (4 or more). A running campaign takes a decision up within a
    second; otherwise the next `voltaloop run` does.
    """
    from voltaloop.campaigns import CampaignFolder, decide, quarantined

    campaign_folder = CampaignFolder(folder)
    out_console = console()
    for start in retry or []:
        _tell(out_console, decide(campaign_folder, "retry", start), "computed again")
    for start in accept or []:
        _tell(out_console, decide(campaign_folder, "accept", start), "accepted")
    if retry or accept:
        return
    cases = quarantined(campaign_folder)
    if not cases:
        out_console.print("Nothing is in quarantine.")
        return
    _list(out_console, cases)
    out_console.print(
        f"Decide with: voltaloop quarantine {folder} --retry ID, or --accept ID", soft_wrap=True
    )


def _tell(out_console: Console, name: str, verb: str) -> None:
    out_console.print(
        f"{name[:8]} will be {verb}, at once if the campaign is running, else by the next "
        "`voltaloop run`.",
        soft_wrap=True,
    )


def _list(out_console: Console, cases: list[QuarantinedCase]) -> None:
    shown = Table("id", "what", "reason", "tries", "label to accept")
    for case in cases:
        acceptable = "yes" if case.acceptable else "no"
        shown.add_row(
            case.id[:8], escape(case.title), case.reason, str(len(case.tries)), acceptable
        )
    out_console.print(shown)
    for case in cases:
        out_console.print(f"{case.id[:8]} {case.title}", markup=False, soft_wrap=True)
        for rung, reason, detail in case.tries:
            said = detail.splitlines()[0] if detail else ""
            out_console.print(f"  {rung}: {reason}: {said}", markup=False, soft_wrap=True)
        for name, path in case.files:
            lost = "" if path.is_file() else " (lost)"
            out_console.print(f"  {name}: {path}{lost}", markup=False, soft_wrap=True)

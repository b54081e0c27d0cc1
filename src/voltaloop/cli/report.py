"""voltaloop report"""

from pathlib import Path
from typing import Annotated

import typer

from voltaloop.cli.output import console


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Campaign folder, runs/NAME.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="DIR/report.html")
    ] = None,
) -> None:
    """Write the report of a campaign, finished or not: one HTML file that opens offline."""
    from voltaloop.campaigns import CampaignFolder, campaign_history
    from voltaloop.report import write_report

    campaign_folder = CampaignFolder(folder)
    path = write_report(campaign_history(campaign_folder), out or campaign_folder.report_path)
    console().print(f"Report: {path}", soft_wrap=True)

"""voltaloop status"""

from pathlib import Path
from typing import Annotated

import typer


def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Campaign folder, runs/NAME.")],
) -> None:
    """Say how a campaign stands: labels, errors, running tasks, the answer so far.

    Only reads the folder, so it can be asked at any time, also while the campaign runs.
    """
    from voltaloop.campaigns import CampaignFolder, campaign_history
    from voltaloop.report import status_lines

    campaign_folder = CampaignFolder(folder)
    campaign, _ = campaign_folder.campaign()
    history = campaign_history(campaign_folder)
    for line in status_lines(history, label_budget=campaign.stop.labels, folder=str(folder)):
        typer.echo(line)

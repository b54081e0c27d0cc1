"""voltaloop validate"""

from pathlib import Path
from typing import Annotated

import typer

from voltaloop.cli.output import console


def validate(
    file: Annotated[Path, typer.Argument(help="Campaign file (YAML).")],
) -> None:
    """Check a campaign file: keys, units, the structure, lithium contents, installed engines.

    Nothing is run and nothing is written. Exit code 2 and the reasons when something is wrong.
    """
    from voltaloop.campaigns import check, notice, read_campaign_file

    campaign, _ = read_campaign_file(file)
    summary = check(campaign, file.resolve().parent)
    console().print(f"{file} is valid: {summary}")
    if said := notice(campaign):
        console().print(said, markup=False, soft_wrap=True)

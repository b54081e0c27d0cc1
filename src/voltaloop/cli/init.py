"""voltaloop init"""

from pathlib import Path
from typing import Annotated

import typer

from voltaloop.cli.output import console


def init(
    name: Annotated[str, typer.Argument(help="Name of the campaign; the file is NAME.yaml.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="NAME.yaml")
    ] = None,
) -> None:
    """Write a commented campaign file: every key, its default, its unit and what it means."""
    from voltaloop.campaigns import campaign_template, parse_campaign
    from voltaloop.core import CampaignFileError

    path = out or Path(f"{name}.yaml")
    text = campaign_template(name)
    parse_campaign(text, f"name '{name}'")
    if path.exists():
        raise CampaignFileError(f"{path} exists already; nothing was written. Name another file.")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as err:
        raise CampaignFileError(f"{path} cannot be written: {err.strerror}.") from err
    console().print(f"Wrote {path}. Next: voltaloop validate {path}; voltaloop run {path}")

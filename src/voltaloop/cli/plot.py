"""voltaloop plot"""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from voltaloop.cli.output import console


class PlotKind(StrEnum):
    """What is plotted."""

    TRAINING = "training"
    PARITY = "parity"


def plot(
    kind: Annotated[
        PlotKind,
        typer.Argument(
            help="training: loss and error curves of the latest committee, learned from and held "
            "out, and the error against the number of labels; parity: energies, forces and "
            "stresses of the audit, which was never trained on, by lithium content and species."
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Campaign folder, runs/NAME.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Page to write.", show_default="DIR/training.html or DIR/parity.html"),
    ] = None,
    as_json: Annotated[
        Path | None,
        typer.Option("--json", help="Also write the data behind the plots, as JSON."),
    ] = None,
) -> None:
    """Write the training curves or the parity plots of a campaign: one page that opens offline.

    Energies are per atom, in meV; forces in eV/Å; stresses in GPa. The camera above a plot saves
    it as SVG.
    """
    from voltaloop.campaigns import CampaignFolder, campaign_history
    from voltaloop.report import parity_section, render_figures, training_section, write_page

    history = campaign_history(CampaignFolder(folder))
    section = (training_section if kind is PlotKind.TRAINING else parity_section)(history)
    page = render_figures(section, f"voltaloop plot {kind.value}")
    path = write_page(page, out or folder / f"{kind.value}.html")
    if as_json is not None:
        records = history.curves if kind is PlotKind.TRAINING else history.audit
        write_page(json.dumps([asdict(record) for record in records], indent=1) + "\n", as_json)
        console().print(f"Data: {as_json}", soft_wrap=True)
    for reason, titles in section.missing.items():
        console().print(f"{', '.join(titles)}: {reason}", soft_wrap=True)
    console().print(f"Plots: {path}", soft_wrap=True)

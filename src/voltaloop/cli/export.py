"""voltaloop export"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from voltaloop.cli.output import console


class ExportFormat(StrEnum):
    """What other programs train on."""

    EXTXYZ = "extxyz"
    DEEPMD = "deepmd"
    ASE_DB = "ase-db"


_NAMES = {
    ExportFormat.EXTXYZ: "labels.xyz",
    ExportFormat.DEEPMD: "deepmd",
    ExportFormat.ASE_DB: "labels.db",
}


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Campaign folder, runs/NAME.")],
    format_name: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            help="extxyz: one file for ASE, MACE and others; deepmd: a folder of numpy systems; "
            "ase-db: an ASE database.",
        ),
    ] = ExportFormat.EXTXYZ,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write.", show_default="DIR/labels.xyz, deepmd/ or labels.db"),
    ] = None,
) -> None:
    """Write all accepted labels: energies in eV, forces in eV/Å, stress in eV/Å3 (ASE's signs).

    Frames of the audit are marked with origin=audit: keep them out of training.
    """
    from voltaloop.campaigns import CampaignFolder, export_labels

    path = out or folder / _NAMES[format_name]
    count = export_labels(CampaignFolder(folder), format_name.value, path)
    console().print(f"Wrote {count} labelled frames to {path}", soft_wrap=True)

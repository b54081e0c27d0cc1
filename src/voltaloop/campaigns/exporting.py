"""Labelled frames in the formats that other programs train on."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ase.db
import ase.io
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from voltaloop.campaigns.folder import CampaignFolder
from voltaloop.campaigns.minds import state_of
from voltaloop.core import CampaignFolderError, Frame, Label
from voltaloop.core.deepmd_npy import write_deepmd

FORMATS = ("extxyz", "deepmd", "ase-db")

Row = tuple[Frame, Label, Mapping[str, Any]]
"""With what is known beside them: origin, x and the campaign's name."""


def export_labels(folder: CampaignFolder, format_name: str, out: Path) -> int:
    """Write all accepted labels (training and audit) to ``out``; how many.

    extxyz and ase-db are files, in which audit frames are marked: ``origin`` is audit. deepmd is a
    folder with one system per composition, which comes back without loss. An existing ``out`` is
    refused.
    """
    if out.exists():
        raise CampaignFolderError(f"{out} exists already. Remove it, or name another with --out.")
    rows = list(_rows(folder))
    if not out.absolute().parent.is_dir():
        raise CampaignFolderError(f"There is no folder {out.parent} to write {out.name} into.")
    if not rows:
        raise CampaignFolderError(f"{folder.root} has no accepted labels yet: nothing to export.")
    temporary = out.with_name(f".{out.name}.tmp")
    _remove(temporary)
    writers = {"extxyz": _write_extxyz, "deepmd": _write_deepmd, "ase-db": _write_ase_db}
    try:
        writers[format_name](rows, temporary)
        temporary.replace(out)
    finally:
        _remove(temporary)
    return len(rows)


def _rows(folder: CampaignFolder) -> Iterable[Row]:
    campaign, _ = folder.campaign()
    state = state_of(folder)
    store = folder.artifacts
    for one in [*state.labels, *state.audit]:
        frame = Frame.from_json(store.get_json(one.frame))
        label = Label.from_json(store.get_json(one.label))
        info = {"origin": one.origin, "x": one.x, "campaign": campaign.name}
        yield frame, label, info


def _atoms(frame: Frame, label: Label, info: Mapping[str, Any]) -> Atoms:
    atoms = frame.to_atoms()
    atoms.info.update(info)
    results = {
        "energy": label.energy,
        "forces": label.forces,
        "stress": label.stress,
        "magmoms": label.magmoms,
    }
    known = {name: value for name, value in results.items() if value is not None}
    atoms.calc = SinglePointCalculator(atoms, **known)
    return atoms


def _write_extxyz(rows: Sequence[Row], path: Path) -> None:
    ase.io.write(path, [_atoms(*row) for row in rows], format="extxyz")


def _write_ase_db(rows: Sequence[Row], path: Path) -> None:
    """The campaign's name goes into ``data``: a key may not hold text that looks like a number."""
    with ase.db.connect(path, type="db") as database:
        for frame, label, info in rows:
            pairs = {"origin": info["origin"], "x": info["x"]}
            database.write(
                _atoms(frame, label, info),
                key_value_pairs=pairs,
                data={"campaign": info["campaign"]},
            )


def _write_deepmd(rows: Sequence[Row], path: Path) -> None:
    write_deepmd([(frame, label) for frame, label, _ in rows], path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

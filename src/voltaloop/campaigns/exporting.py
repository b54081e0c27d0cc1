"""Labelled frames in the formats that other programs train on."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from voltaloop.campaigns.folder import CampaignFolder
from voltaloop.campaigns.minds import state_of
from voltaloop.core import CampaignFolderError, Frame, Label

FORMATS = ("extxyz", "deepmd", "ase-db")


def export_labels(folder: CampaignFolder, format_name: str, out: Path) -> int:
    """Write all accepted labels (training and audit) to ``out``; how many.

    extxyz and ase-db are files, deepmd a folder with one system per composition. Audit frames are
    marked: ``origin`` is audit. An existing ``out`` is refused.
    """
    if out.exists():
        raise CampaignFolderError(f"{out} exists already. Remove it, or name another with --out.")
    atoms = list(_labelled_atoms(folder))
    if not out.absolute().parent.is_dir():
        raise CampaignFolderError(f"There is no folder {out.parent} to write {out.name} into.")
    if not atoms:
        raise CampaignFolderError(f"{folder.root} has no accepted labels yet: nothing to export.")
    temporary = out.with_name(f".{out.name}.tmp")
    _remove(temporary)
    writers = {"extxyz": _write_extxyz, "deepmd": _write_deepmd, "ase-db": _write_ase_db}
    try:
        writers[format_name](atoms, temporary)
        temporary.replace(out)
    finally:
        _remove(temporary)
    return len(atoms)


def _labelled_atoms(folder: CampaignFolder) -> Iterable[Atoms]:
    campaign, _ = folder.campaign()
    state = state_of(folder)
    store = folder.artifacts
    for one in [*state.labels, *state.audit]:
        frame = Frame.from_json(store.get_json(one.frame))
        label = Label.from_json(store.get_json(one.label))
        info = {"origin": one.origin, "x": one.x, "campaign": campaign.name}
        yield _atoms(frame, label, info)


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


def _write_extxyz(atoms: list[Atoms], path: Path) -> None:
    ase.io.write(path, atoms, format="extxyz")


def _write_ase_db(atoms: list[Atoms], path: Path) -> None:
    """The campaign's name goes into ``data``: a key may not hold text that looks like a number."""
    with ase.db.connect(path, type="db") as database:
        for one in atoms:
            pairs = {"origin": one.info["origin"], "x": one.info["x"]}
            database.write(one, key_value_pairs=pairs, data={"campaign": one.info["campaign"]})


def _write_deepmd(atoms: list[Atoms], path: Path) -> None:
    """DeePMD-kit's numpy format: type.raw, type_map.raw, set.000/{box,coord,energy,force,virial}.

    Virial = −stress · volume in eV, as DeePMD-kit defines it. Frames without stress go to systems
    of their own, without virial.npy.
    """
    species = sorted({symbol for one in atoms for symbol in one.get_chemical_symbols()})
    systems: dict[tuple[str, bool], list[Atoms]] = {}
    for one in atoms:
        has_stress = "stress" in one.calc.results
        ordered = one[np.argsort(one.numbers, kind="stable")]
        ordered.calc = _permuted(one)
        key = (ordered.get_chemical_formula(), has_stress)
        systems.setdefault(key, []).append(ordered)
    for (formula, has_stress), frames in systems.items():
        folder = path / (formula if has_stress else f"{formula}_without_stress")
        _write_system(folder, frames, species, has_stress=has_stress)


def _permuted(atoms: Atoms) -> SinglePointCalculator:
    order = np.argsort(atoms.numbers, kind="stable")
    results = dict(atoms.calc.results)
    results["forces"] = results["forces"][order]
    results.pop("magmoms", None)
    return SinglePointCalculator(atoms[order], **results)


def _write_system(
    folder: Path, frames: list[Atoms], species: list[str], *, has_stress: bool
) -> None:
    data = folder / "set.000"
    data.mkdir(parents=True)
    types = [species.index(symbol) for symbol in frames[0].get_chemical_symbols()]
    (folder / "type.raw").write_text("\n".join(map(str, types)) + "\n")
    (folder / "type_map.raw").write_text("\n".join(species) + "\n")
    arrays = {
        "box": [one.cell.array.ravel() for one in frames],
        "coord": [one.positions.ravel() for one in frames],
        "energy": [one.get_potential_energy() for one in frames],
        "force": [one.get_forces().ravel() for one in frames],
    }
    if has_stress:
        arrays["virial"] = [
            -one.get_stress(voigt=False).ravel() * one.get_volume() for one in frames
        ]
    for name, values in arrays.items():
        np.save(data / f"{name}.npy", np.array(values))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

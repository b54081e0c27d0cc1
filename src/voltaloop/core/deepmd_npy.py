"""Labelled frames in DeePMD-kit's numpy format (https://doi.org/10.1063/1.5027645), without loss.

A system is a folder with ``type.raw`` (a species of each atom, 0-based), ``type_map.raw`` (their
symbols) and folders ``set.*`` of arrays with one row a frame: ``box`` (9) and ``coord`` (3 n_atoms)
in Å, ``energy`` in eV, ``force`` (3 n_atoms) in eV/Å, ``virial`` (9) in eV, which is −stress ·
volume. What the format has no place for lies beside them and is ignored by other programs:
``index`` (the frame's place among all frames), ``order`` (the place of each atom in its frame),
``stress`` (6) in eV/Å3, ``initial_magmom`` and ``magmom`` (n_atoms) in μB, ``label.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from voltaloop.core.errors import LabelledSetError
from voltaloop.core.frame import FloatArray, Frame, Label

Labelled = tuple[Frame, Label]

VOIGT = (0, 4, 8, 5, 2, 1)
"""Where xx, yy, zz, yz, xz, xy are in a (3, 3) matrix written as a row."""

_MATRIX = (0, 5, 4, 5, 1, 3, 4, 3, 2)
"""Where the nine elements of a (3, 3) matrix are in xx, yy, zz, yz, xz, xy."""

_VIRTUAL = -1
"""The kind of the atoms that fill up the smaller frames of a mixed system."""


def write_deepmd(
    pairs: Iterable[Labelled], folder: Path, species: Sequence[str] | None = None
) -> list[Path]:
    """Write systems into ``folder``, one for each composition; their folders.

    Atoms are sorted by atomic number, as all frames of a system share one list of kinds. Frames
    without stress go to systems of their own, without virial. species: the symbols of
    ``type_map.raw`` in their order; default: those of the frames, sorted.
    """
    numbered = list(enumerate(pairs))
    present = {chemical_symbols[z] for _, (frame, _) in numbered for z in frame.numbers}
    type_map = list(species) if species is not None else sorted(present)
    systems: dict[str, list[tuple[int, Labelled]]] = {}
    for index, (frame, label) in numbered:
        systems.setdefault(_system_name(frame, label), []).append((index, (frame, label)))
    for name, members in systems.items():
        _write_system(folder / name, members, type_map)
    return [folder / name for name in systems]


def read_deepmd(folder: Path) -> list[Labelled]:
    """Every labelled frame of the systems in ``folder`` and below it, single sets and mixed ones.

    What :func:`write_deepmd` wrote comes back as it was, to the last bit and in its order; other
    frames come by the names of their systems. Raises LabelledSetError for what cannot be read.
    """
    systems = sorted(path.parent for path in folder.rglob("type.raw"))
    if not systems:
        raise LabelledSetError(
            f"There is no system of DeePMD-kit in {folder}: expected folders with type.raw, "
            "type_map.raw and set.000 (deepmd/npy)."
        )
    found = [row for system in systems for row in _read_system(system)]
    if all(index is not None for index, _ in found):
        found.sort(key=lambda row: row[0] or 0)
    return [pair for _, pair in found]


def _system_name(frame: Frame, label: Label) -> str:
    formula = str(Atoms(numbers=frame.numbers).get_chemical_formula())
    return formula if label.stress is not None else f"{formula}_without_stress"


def _write_system(
    folder: Path, members: Sequence[tuple[int, Labelled]], type_map: Sequence[str]
) -> None:
    data = folder / "set.000"
    data.mkdir(parents=True)
    orders = [np.argsort(frame.numbers, kind="stable") for _, (frame, _) in members]
    first, _ = members[0][1]
    kinds = [type_map.index(chemical_symbols[z]) for z in first.numbers[orders[0]]]
    (folder / "type.raw").write_text("".join(f"{kind}\n" for kind in kinds))
    (folder / "type_map.raw").write_text("".join(f"{symbol}\n" for symbol in type_map))
    rows = [_row(index, pair, order) for (index, pair), order in zip(members, orders, strict=True)]
    for name in {name: None for row in rows for name in row}:
        values = [row.get(name, np.full(len(kinds), np.nan)) for row in rows]
        np.save(data / f"{name}.npy", np.array(values))
    facts = [
        {"converged": label.converged, "details": dict(label.details)} for _, (_, label) in members
    ]
    if any(fact["details"] or not fact["converged"] for fact in facts):
        (data / "label.json").write_text(json.dumps(facts))


def _row(index: int, pair: Labelled, order: NDArray[np.int64]) -> dict[str, Any]:
    """The arrays of one frame; moments are left out where it has none."""
    frame, label = pair
    row: dict[str, Any] = {
        "box": frame.cell.ravel(),
        "coord": frame.positions[order].ravel(),
        "energy": label.energy,
        "force": label.forces[order].ravel(),
        "index": index,
        "order": order,
    }
    if label.stress is not None:
        row["virial"] = _virial(label.stress, frame)
        row["stress"] = label.stress
    if frame.magmoms is not None:
        row["initial_magmom"] = frame.magmoms[order]
    if label.magmoms is not None:
        row["magmom"] = label.magmoms[order]
    return row


def _virial(stress: FloatArray, frame: Frame) -> FloatArray:
    """(9,) in eV."""
    return -stress[list(_MATRIX)] * frame.volume


def _read_system(folder: Path) -> list[tuple[int | None, Labelled]]:
    """Frames with their places among all, where these are known."""
    if (folder / "nopbc").exists():
        raise LabelledSetError(
            f"The system {folder} is not periodic (nopbc). Give its frames a cell first."
        )
    symbols = _type_map(folder)
    kinds = np.loadtxt(folder / "type.raw", dtype=np.int64, ndmin=1)
    sets = sorted(path for path in folder.glob("set.*") if path.is_dir())
    if not sets:
        raise LabelledSetError(f"The system {folder} has no folder set.000 with its frames.")
    return [row for data in sets for row in _read_set(data, kinds, symbols)]


def _type_map(folder: Path) -> list[str]:
    file = folder / "type_map.raw"
    if not file.is_file():
        raise LabelledSetError(
            f"The system {folder} has no type_map.raw, so its atoms have no species. Write their "
            "chemical symbols into it, one a line, in the order of the kinds in type.raw."
        )
    symbols = file.read_text().split()
    unknown = [symbol for symbol in symbols if symbol not in atomic_numbers]
    if unknown:
        raise LabelledSetError(f"{file}: '{unknown[0]}' is not a chemical symbol.")
    return symbols


def _read_set(
    data: Path, kinds: NDArray[np.int64], symbols: Sequence[str]
) -> list[tuple[int | None, Labelled]]:
    arrays = {path.stem: np.load(path) for path in data.glob("*.npy")}
    missing = [name for name in ("box", "coord", "energy", "force") if name not in arrays]
    if missing:
        raise LabelledSetError(f"{data} has no {missing[0]}.npy: a labelled frame needs it.")
    count, n_atoms = len(arrays["box"]), len(kinds)
    widths = {"box": 9, "coord": 3 * n_atoms, "energy": 1, "force": 3 * n_atoms}
    for name, width in widths.items():
        if arrays[name].size != count * width:
            raise LabelledSetError(
                f"{data / name}.npy: expected {count} frames of {width} numbers ({n_atoms} atoms), "
                f"got the shape {arrays[name].shape}."
            )
    facts = data / "label.json"
    more = json.loads(facts.read_text()) if facts.is_file() else [{}] * count
    return [
        _pair({name: values[k] for name, values in arrays.items()}, kinds, symbols, more[k])
        for k in range(count)
    ]


def _pair(
    row: Mapping[str, Any], kinds: NDArray[np.int64], symbols: Sequence[str], facts: Any
) -> tuple[int | None, Labelled]:
    kinds = np.asarray(row.get("real_atom_types", kinds))
    real = np.flatnonzero(kinds != _VIRTUAL)
    back = np.argsort(row["order"]) if "order" in row else real
    frame = Frame(
        numbers=np.array([atomic_numbers[symbols[kind]] for kind in kinds[back]]),
        positions=row["coord"].reshape(-1, 3)[back],
        cell=row["box"].reshape(3, 3),
        magmoms=_moments(row.get("initial_magmom"), back),
    )
    label = Label(
        energy=float(np.ravel(row["energy"])[0]),
        forces=row["force"].reshape(-1, 3)[back],
        stress=_stress(row, frame),
        magmoms=_moments(row.get("magmom"), back),
        **facts,
    )
    return (int(row["index"]) if "index" in row else None), (frame, label)


def _moments(sorted_moments: FloatArray | None, back: NDArray[np.int64]) -> FloatArray | None:
    if sorted_moments is None or np.isnan(sorted_moments).all():
        return None
    return sorted_moments[back]


def _stress(row: Mapping[str, Any], frame: Frame) -> FloatArray | None:
    """The stress as it was written, unless the virial beside it has been changed since."""
    if "virial" not in row:
        return None
    virial = row["virial"].ravel()
    kept: FloatArray | None = row.get("stress")
    if kept is not None and np.allclose(_virial(kept, frame), virial, rtol=1e-9, atol=1e-9):
        return kept
    symmetric = (virial.reshape(3, 3) + virial.reshape(3, 3).T).ravel() / 2
    stress: FloatArray = -symmetric[list(VOIGT)] / frame.volume
    return stress

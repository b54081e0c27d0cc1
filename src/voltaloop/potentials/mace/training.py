"""What the training program is given and what it tells."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io import write

from voltaloop.core import VoltaloopError
from voltaloop.core.training import Curve, Example
from voltaloop.potentials.composition import one_body_energies
from voltaloop.potentials.mace.network import chosen_device
from voltaloop.potentials.mace.program import FOUNDATION, NAME, OPTIONS, PREVIOUS, TRAINED
from voltaloop.potentials.mace.settings import ARCHITECTURE, MaceSettings
from voltaloop.potentials.models import Model

MOST_CHECKS = 100
"""Passes after which held-out frames are asked; each costs a third of learning from them."""

ASKED = 4
"""Where nothing is held out the program is asked about each fourth frame that it learns from."""

PROGRAM = "voltaloop.potentials.mace.program"
LOG = "log.txt"
LOG_LINES = 15
"""Lines of the program's own output that an error shows."""


class MaceError(VoltaloopError):
    """The training program of mace failed."""


def prepare(
    folder: Path,
    settings: MaceSettings,
    species: Sequence[str],
    learned: Sequence[Example],
    held_out: Sequence[Example],
    member: int,
    previous: Model | None,
) -> None:
    """Write what one member's training needs into its folder."""
    folder.mkdir()
    _write_frames(folder / "learned.xyz", learned)
    _write_frames(folder / "held_out.xyz", held_out or learned[::ASKED])
    if previous is not None:
        np.savez(folder / PREVIOUS, **previous)  # type: ignore[arg-type]  # names of arrays
    chosen = options(folder, settings, species, learned, member, goes_on=previous is not None)
    (folder / OPTIONS).write_text(json.dumps(chosen, indent=1))


def options(
    folder: Path,
    settings: MaceSettings,
    species: Sequence[str],
    learned: Sequence[Example],
    member: int,
    *,
    goes_on: bool,
) -> dict[str, Any]:
    """Options of mace_run_train by its own names."""
    numbers = [atomic_numbers[symbol] for symbol in species]
    return {
        "name": NAME,
        "work_dir": str(folder),
        "train_file": str(folder / "learned.xyz"),
        "valid_file": str(folder / "held_out.xyz"),
        "atomic_numbers": str(sorted(numbers)),
        "loss": "stress" if any(e.label.stress is not None for e in learned) else "weighted",
        "plot": False,
        "pin_memory": False,
        "save_cpu": True,
        "device": chosen_device(settings.device),
        "seed": settings.seed + member,
        "batch_size": min(settings.batch_size, len(learned)),
        "energy_weight": settings.energy_weight,
        "forces_weight": settings.force_weight,
        "stress_weight": settings.stress_weight,
        **{theirs: getattr(settings, ours) for ours, theirs in ARCHITECTURE.items()},
        **_average(settings),
        **_schedule(settings, goes_on=goes_on),
        **_start(folder, settings, species, learned, goes_on=goes_on),
        **settings.extra,
    }


def run(folder: Path) -> None:
    """Train the members whose folders are in ``folder``. Raises MaceError with the last lines."""
    with (folder / LOG).open("w") as log:
        done = subprocess.run(  # noqa: S603 - a list, no shell; our own module
            [sys.executable, "-m", PROGRAM, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            check=False,
        )
    if done.returncode != 0:
        last = (folder / LOG).read_text(errors="replace").splitlines()[-LOG_LINES:]
        raise MaceError(
            f"The training program of mace ended with {done.returncode}. Its last lines:\n"
            + "\n".join(last)
        )


def trained_model(folder: Path) -> Model:
    """What became of one member."""
    with np.load(folder / TRAINED) as model:
        return dict(model)


def read_curve(folder: Path, member: int, *, held_out: bool) -> Curve:
    """Losses and errors at the passes after which they were asked for.

    The program writes a line for each step ("opt") and for each check ("eval"), all in eV, Å and
    atoms. ``held_out``: whether it was asked about frames that it does not learn from.
    """
    (file,) = (folder / "results").glob("*_train.txt")
    steps: list[float] = []
    rows: list[dict[str, float | None]] = []
    for line in map(json.loads, file.read_text().splitlines()):
        if line["mode"] == "opt":
            steps.append(line["loss"])
        elif line["epoch"] is not None:
            rows.append(_row(line, steps, "held_out_" if held_out else ""))
            steps = []
    names = {name for row in rows for name in row}
    return Curve(
        member=member,
        axis="epoch",
        columns={name: [row.get(name) for row in rows] for name in sorted(names)},
    )


def _row(line: Mapping[str, Any], steps: Sequence[float], prefix: str) -> dict[str, float | None]:
    found = {
        f"{prefix}energy": line.get("rmse_e_per_atom"),
        f"{prefix}force": line.get("rmse_f"),
        f"{prefix}stress": line.get("rmse_stress"),
    }
    if prefix:
        found[f"{prefix}loss"] = line["loss"]
    row = {name: _or_none(value) for name, value in found.items() if value is not None}
    return {"axis": line["epoch"] + 1, "loss": _or_none(float(np.mean(steps))), **row}


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _write_frames(file: Path, examples: Sequence[Example]) -> None:
    write(file, [_atoms(example) for example in examples], format="extxyz")


def _atoms(example: Example) -> Atoms:
    """Under the names that the program looks for; without stress it ignores that of the frame."""
    frame, label = example.frame, example.label
    atoms = Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=True)
    atoms.info["REF_energy"] = label.energy
    atoms.arrays["REF_forces"] = np.array(label.forces)
    if label.stress is not None:
        atoms.info["REF_stress"] = label.stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]]
    return atoms


def _average(settings: MaceSettings) -> dict[str, Any]:
    if settings.ema_decay is None:
        return {}
    return {"ema": True, "ema_decay": settings.ema_decay}


def _schedule(settings: MaceSettings, *, goes_on: bool) -> dict[str, Any]:
    """Passes, learning rates and stage two, which needs passes before and after its start."""
    epochs = settings.retrain_epochs if goes_on else settings.epochs
    gentle = goes_on or settings.foundation is not None
    first = settings.retrain_learning_rate if gentle else settings.learning_rate
    last = min(first, settings.last_learning_rate)
    start = round(epochs * (settings.stage_two_from or 1.0))
    two = {
        "swa": True,
        "start_swa": start,
        "swa_lr": last,
        "swa_energy_weight": settings.stage_two_energy_weight,
        "swa_forces_weight": settings.force_weight,
        "swa_stress_weight": settings.stress_weight,
    }
    return {
        "max_num_epochs": epochs,
        "eval_interval": -(-epochs // MOST_CHECKS),
        "lr": first,
        "scheduler": "ExponentialLR",
        "lr_scheduler_gamma": (last / first) ** (1 / start),
        **(two if 1 <= start < epochs else {}),
    }


def _start(
    folder: Path,
    settings: MaceSettings,
    species: Sequence[str],
    learned: Sequence[Example],
    *,
    goes_on: bool,
) -> dict[str, Any]:
    """Where training starts, and with what energies of single atoms.

    Those of the last committee stay; those of a foundation, which had labels of another kind, are
    moved by what its predictions miss; else they are what the labels' compositions explain.
    """
    if goes_on:
        return _foundation(folder / FOUNDATION, "foundation")
    if settings.foundation is not None:
        return _foundation(Path(settings.foundation), "estimated")
    energies = one_body_energies(learned, species)
    by_number = {
        atomic_numbers[symbol]: float(energy)
        for symbol, energy in zip(species, energies, strict=True)
    }
    return {"E0s": str(by_number)}


def _foundation(file: Path, energies: str) -> dict[str, Any]:
    return {"foundation_model": str(file), "multiheads_finetuning": False, "E0s": energies}

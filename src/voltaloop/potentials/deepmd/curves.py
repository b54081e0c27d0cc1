"""What DeePMD-kit's lcurve.out tells of a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from voltaloop.core import FloatArray
from voltaloop.core.training import Curve

_PARTS = {"": "trn", "held_out_": "val"}


def read_curve(file: Path, member: int, density: float) -> Curve:
    """Errors along the steps: of the batch just learned, and of some held-out frames.

    density: atoms per Å3. The file's rmse is the root of the loss, rmse_e is per atom in eV, rmse_f
    in eV/Å, rmse_v per atom in eV: times the density it is the stress in eV/Å3 (all nine elements
    counted).
    """
    names, rows = _table(file)
    given = dict(zip(names, rows.T, strict=True))
    columns: dict[str, list[float | None]] = {"axis": [int(step) for step in given["step"]]}
    for prefix, part in _PARTS.items():
        # Without held-out frames the file has one column each, without the part in its name.
        found = {
            "loss": _column(given, "rmse", part),
            "energy": _column(given, "rmse_e", part),
            "force": _column(given, "rmse_f", part),
            "stress": _column(given, "rmse_v", part),
        }
        scaled = {"loss": lambda v: v**2, "stress": lambda v: v * density}
        for name, values in found.items():
            if values is not None and not np.isnan(values).all():
                changed = scaled.get(name, lambda v: v)(values)
                columns[prefix + name] = [_or_none(value) for value in changed]
    return Curve(member=member, axis="step", columns=columns)


def _column(given: dict[str, FloatArray], name: str, part: str) -> FloatArray | None:
    return given.get(f"{name}_{part}", given.get(name) if part == "trn" else None)


def _table(file: Path) -> tuple[list[str], FloatArray]:
    lines = file.read_text().splitlines()
    names = lines[0].lstrip("# ").split()
    rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    return names, np.array(rows, dtype=np.float64).reshape(-1, len(names))


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

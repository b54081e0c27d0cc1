"""History → how the members learned, and where their errors lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voltaloop.core import EV_PER_A3_IN_GPA, MEV
from voltaloop.report.history import AuditRecord, CurveRecord
from voltaloop.report.quality import (
    FloatArray,
    energy_parity,
    force_parity,
    force_species,
    stress_parity,
)

PANELS = {
    "loss": ("loss", "engine's own", 1.0),
    "energy": ("energy RMSE", "meV/atom", MEV),
    "force": ("force RMSE", "eV/Å", 1.0),
    "stress": ("stress RMSE", "GPa", EV_PER_A3_IN_GPA),
}
"""Column of a curve: its title, the unit people read, and that unit in the column's own."""

AXES = {
    "step": "training step (number)",
    "epoch": "epoch (number)",
    "try": "better setting found by the search (number)",
    "fit": "fit (number)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One member's curve in a panel; held_out: on frames that the member did not learn from."""

    member: int
    held_out: bool
    axis: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePanel:
    """Curves of one quantity in ``unit``; axis: what is counted along x."""

    title: str
    unit: str
    axis: str
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRow:
    """Root mean square errors of one group of audit frames or of the atoms of one species.

    n: frames, or force components; energy in meV/atom, force in eV/Å, stress in GPa, None where
    there is none.
    """

    group: str
    n: int
    energy_meV_per_atom: float | None
    force_eV_per_A: float
    largest_force_error_eV_per_A: float
    stress_GPa: float | None


def curve_panels(curves: Sequence[CurveRecord]) -> list[CurvePanel]:
    """One panel for each quantity that the engine tells; loss first."""
    panels = []
    for name, (title, unit, factor) in PANELS.items():
        lines = [
            line
            for curve in curves
            for held_out in (False, True)
            if (line := _line(curve, name, held_out=held_out, factor=factor)) is not None
        ]
        if lines:
            axis = AXES.get(curves[0].axis, curves[0].axis)
            panels.append(CurvePanel(title=title, unit=unit, axis=axis, lines=lines))
    return panels


def _line(curve: CurveRecord, name: str, *, held_out: bool, factor: float) -> Line | None:
    values = curve.columns.get(f"held_out_{name}" if held_out else name, ())
    known = [
        (float(at), factor * value)
        for at, value in zip(curve.columns["axis"], values, strict=bool(values))
        if at is not None and value is not None
    ]
    if not known:
        return None
    return Line(
        member=curve.member,
        held_out=held_out,
        axis=[at for at, _ in known],
        values=[value for _, value in known],
    )


def errors_by_content(audit: Sequence[AuditRecord]) -> list[ErrorRow]:
    """One row for each lithium content, from full to empty."""
    contents = sorted({a.x for a in audit}, reverse=True)
    return [_content_row(x, [a for a in audit if a.x == x]) for x in contents]


def _content_row(x: float, audit: Sequence[AuditRecord]) -> ErrorRow:
    energy, force, stress = energy_parity(audit), force_parity(audit), stress_parity(audit)
    if energy is None or force is None:
        raise ValueError("Expected at least one audit frame of the content, got none.")
    return ErrorRow(
        group=f"{x:g}",
        n=len(audit),
        energy_meV_per_atom=MEV * energy.rmse,
        force_eV_per_A=force.rmse,
        largest_force_error_eV_per_A=float(np.abs(force.error).max()),
        stress_GPa=None if stress is None else stress.rmse,
    )


def errors_by_species(audit: Sequence[AuditRecord]) -> list[ErrorRow]:
    """One row for each species; empty where the audit does not know its atoms' species."""
    species = force_species(audit)
    errors = _force_errors(audit)
    return [
        ErrorRow(
            group=str(symbol),
            n=int(np.count_nonzero(species == symbol)),
            energy_meV_per_atom=None,
            force_eV_per_A=float(np.sqrt(np.mean(errors[species == symbol] ** 2))),
            largest_force_error_eV_per_A=float(np.abs(errors[species == symbol]).max()),
            stress_GPa=None,
        )
        for symbol in sorted(set(species.tolist()))
    ]


def _force_errors(audit: Sequence[AuditRecord]) -> FloatArray:
    pairs = [np.subtract(a.predicted_forces, a.reference_forces) for a in audit]
    return np.concatenate(pairs) if pairs else np.empty(0)

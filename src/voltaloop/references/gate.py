"""The gate: no poisoned label enters the training set."""

from typing import Any

import numpy as np
from ase.neighborlist import neighbor_list
from pydantic import BaseModel, ConfigDict, Field

from voltaloop.core import FloatArray, Frame, Label, MissingDependencyError, ReferenceFailure
from voltaloop.core.contracts import Reference

_TRANSITION_METALS = (*range(21, 31), *range(39, 49), *range(72, 81))


class Gate(BaseModel):
    """What a label must keep to enter the training set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_force_eV_per_A: float = Field(
        default=30.0,
        gt=0,
        description="Largest force on one atom in eV/Å. Atoms in hot, strained oxides stay "
        "below about 15; above the cap the structure is broken and would bend the fit.",
    )
    min_distance_A: float = Field(
        default=1.0,
        gt=0,
        description="Shortest distance between two atoms in Å, periodic images counted. Checked "
        "before the engine runs. Choose 0.6 for molecules with hydrogen.",
    )
    max_moment_muB: float = Field(
        default=5.5,
        gt=0,
        description="Largest magnetic moment of one atom in μB. High-spin d5 (Mn2+, Fe3+) has 5.",
    )
    max_total_moment_per_metal_muB: float = Field(
        default=5.0,
        gt=0,
        description="Largest sum of the moments in μB per transition metal atom (per atom where "
        "there is none). LiNiO2 has 1, LiMnO2 4; no d shell has more than 5.",
    )


def label_frame(reference: Reference, frame: Frame, gate: Gate) -> Label:
    """Label a frame, or raise :class:`ReferenceFailure` with the reason there is no good label.

    Whatever the engine raises becomes the reason "engine_failed"; a failure it names itself passes
    through. What the user must mend (a missing package) is no failure of a frame and passes too.
    """
    check_frame(frame, gate)
    label = _engine_label(reference, frame)
    check_label(frame, label, gate)
    return label


def check_frame(frame: Frame, gate: Gate) -> None:
    """Refuse a frame no engine should waste time on: "not_finite" or "atoms_too_close"."""
    _check_finite({"positions": frame.positions, "cell": frame.cell})
    if frame.volume < 1e-3 * gate.min_distance_A**3:
        raise ReferenceFailure(
            "atoms_too_close",
            f"expected three independent lattice vectors, got a cell of {frame.volume:.3g} Å3",
        )
    _check_distances(frame, gate)


def check_label(frame: Frame, label: Label, gate: Gate) -> None:
    """Refuse a label: "not_converged", "not_finite", "force_too_large", "moments_insane", or the
    reasons of :func:`check_frame`."""
    check_frame(frame, gate)
    if len(label.forces) != len(frame):
        raise ReferenceFailure(
            "engine_failed",
            f"expected forces on {len(frame)} atoms, got forces on {len(label.forces)}",
        )
    if not label.converged:
        raise ReferenceFailure("not_converged", "the engine reports an unconverged calculation")
    _check_finite(
        {
            "energy": label.energy,
            "forces": label.forces,
            "stress": label.stress,
            "magmoms": label.magmoms,
        }
    )
    _check_forces(label, gate)
    if label.magmoms is not None:
        _check_moments(frame, label.magmoms, gate)


def _engine_label(reference: Reference, frame: Frame) -> Label:
    try:
        return reference.label(frame)
    except (ReferenceFailure, MissingDependencyError):
        raise
    except Exception as err:
        raise ReferenceFailure("engine_failed", f"{type(err).__name__}: {err}") from err


def _check_finite(values: dict[str, Any]) -> None:
    for name, value in values.items():
        if value is not None and not np.all(np.isfinite(value)):
            raise ReferenceFailure("not_finite", f"{name} holds a value that is not finite")


def _check_distances(frame: Frame, gate: Gate) -> None:
    first, second, distance = neighbor_list("ijd", frame.to_atoms(), gate.min_distance_A)
    if len(distance) == 0:
        return
    pair = int(np.argmin(distance))
    raise ReferenceFailure(
        "atoms_too_close",
        f"atoms {first[pair]} and {second[pair]} are {distance[pair]:.3f} Å apart, "
        f"allowed is {gate.min_distance_A:g} Å or more (min_distance_A)",
    )


def _check_forces(label: Label, gate: Gate) -> None:
    norms = np.linalg.norm(label.forces, axis=1)
    atom = int(np.argmax(norms))
    if norms[atom] > gate.max_force_eV_per_A:
        raise ReferenceFailure(
            "force_too_large",
            f"{norms[atom]:.3g} eV/Å on atom {atom}, "
            f"allowed is up to {gate.max_force_eV_per_A:g} eV/Å (max_force_eV_per_A)",
        )


def _check_moments(frame: Frame, magmoms: FloatArray, gate: Gate) -> None:
    atom = int(np.argmax(np.abs(magmoms)))
    if abs(magmoms[atom]) > gate.max_moment_muB:
        raise ReferenceFailure(
            "moments_insane",
            f"{magmoms[atom]:.3g} μB on atom {atom}, "
            f"allowed is up to {gate.max_moment_muB:g} μB (max_moment_muB)",
        )
    metals = int(np.isin(frame.numbers, _TRANSITION_METALS).sum()) or len(frame)
    per_metal = abs(float(magmoms.sum())) / metals
    if per_metal > gate.max_total_moment_per_metal_muB:
        raise ReferenceFailure(
            "moments_insane",
            f"total moment of {per_metal:.3g} μB per metal atom, allowed is up to "
            f"{gate.max_total_moment_per_metal_muB:g} μB (max_total_moment_per_metal_muB)",
        )

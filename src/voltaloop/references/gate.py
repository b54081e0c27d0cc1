"""The gate: no poisoned label enters the training set."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from ase.neighborlist import neighbor_list

from voltaloop.core import Frame, Label, MissingDependencyError, ReferenceFailure, StorageError
from voltaloop.core.contracts import Reference
from voltaloop.references.failures import failure_of
from voltaloop.references.limits import Gate
from voltaloop.references.moments import TOTAL_MOMENT, check_moments


@runtime_checkable
class KeepsFiles(Protocol):
    """An engine that writes files, which are kept when the gate refuses its label."""

    def label_and_files(self, frame: Frame) -> tuple[Label, Mapping[str, str]]:
        """The label, and what the engine wrote on the way: name to text."""


def label_frame(reference: Reference, frame: Frame, gate: Gate) -> Label:
    """Label a frame, or raise :class:`ReferenceFailure` with the reason there is no good label.

    Whatever the engine raises becomes the reason "engine_failed" or "out_of_memory", a disk that
    is full or gone StorageError; a failure the engine names itself passes through. What the user
    must mend (a missing package) is no failure of a frame and passes too.
    """
    check_frame(frame, gate)
    label, files = _engine_label(reference, frame)
    try:
        check_label(frame, label, gate)
    except ReferenceFailure as failure:
        failure.files.update(files)
        raise
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
    reasons of :func:`check_frame`.

    The failure carries the label for the person who looks into it, unless the label is not whole:
    not finite, or of another frame.
    """
    check_frame(frame, gate)
    if len(label.forces) != len(frame):
        raise ReferenceFailure(
            "engine_failed",
            f"expected forces on {len(frame)} atoms, got forces on {len(label.forces)}",
        )
    _check_finite(
        {
            "energy": label.energy,
            "forces": label.forces,
            "stress": label.stress,
            "magmoms": label.magmoms,
            "total moment": _number_or_none(label.details.get(TOTAL_MOMENT)),
        }
    )
    try:
        _check_converged(label)
        _check_forces(label, gate)
        check_moments(frame, label, gate)
    except ReferenceFailure as failure:
        failure.label = label
        raise


def _engine_label(reference: Reference, frame: Frame) -> tuple[Label, Mapping[str, str]]:
    try:
        if isinstance(reference, KeepsFiles):
            return reference.label_and_files(frame)
        return reference.label(frame), {}
    except (ReferenceFailure, MissingDependencyError, StorageError):
        raise
    except (Exception, SystemExit) as err:
        raise failure_of(err) from err


def _check_converged(label: Label) -> None:
    if not label.converged:
        raise ReferenceFailure("not_converged", "the engine reports an unconverged calculation")


def _check_finite(values: dict[str, Any]) -> None:
    for name, value in values.items():
        if value is not None and not np.all(np.isfinite(value)):
            raise ReferenceFailure("not_finite", f"{name} holds a value that is not finite")


def _number_or_none(value: str | float | None) -> float | None:
    return None if isinstance(value, str) else value


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

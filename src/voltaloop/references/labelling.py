"""From an ASE calculator to a label, and the sum of two labels."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from voltaloop.core import FloatArray, Frame, Label, require


def check_packages(packages: Iterable[str], *, extra: str) -> None:
    """Raise MissingDependencyError for the first package that is not there.

    Found packages are not imported: torch takes seconds, and the process that asks may never label.
    """
    for package in packages:
        if find_spec(package) is None:
            require(package, extra=extra)


def label_from_calculator(calculator: Any, frame: Frame) -> Label:
    """Label a frame with an ASE calculator; what the calculator does not offer is None.

    Stress is asked first and energy last: engines that compute on demand then run only once.
    """
    atoms = frame.to_atoms()
    atoms.calc = calculator
    stress = _optional(atoms, "stress")
    forces = atoms.get_forces()
    return Label(
        energy=atoms.get_potential_energy(),
        forces=forces,
        stress=stress,
        magmoms=_optional(atoms, "magmoms"),
    )


def add_labels(label: Label, correction: Label) -> Label:
    """Energies, forces and stresses add up; the moments are those of ``label``."""
    return Label(
        energy=label.energy + correction.energy,
        forces=label.forces + correction.forces,
        stress=_sum(label.stress, correction.stress),
        magmoms=label.magmoms,
        converged=label.converged and correction.converged,
        details={**label.details, **correction.details},
    )


def _optional(atoms: Atoms, name: str) -> FloatArray | None:
    if name not in atoms.calc.implemented_properties:
        return None
    getters = {"stress": atoms.get_stress, "magmoms": atoms.get_magnetic_moments}
    try:
        return np.asarray(getters[name](), dtype=np.float64)
    except PropertyNotImplementedError:
        return None


def _sum(first: FloatArray | None, second: FloatArray | None) -> FloatArray | None:
    return None if first is None or second is None else first + second

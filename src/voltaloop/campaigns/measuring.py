"""What a worker does for ``voltaloop compare`` and ``voltaloop tune``: train, examine, time.

Results are kept by the hash of what was asked, so nothing is measured twice.
"""

from __future__ import annotations

import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pydantic import ValidationError

from voltaloop.campaigns.doers import cpu_seconds
from voltaloop.campaigns.scores import Scored
from voltaloop.core import EV_PER_A3_IN_GPA, MEV, FloatArray, Frame, Label, digest_of
from voltaloop.core.contracts import Committee, CommitteePrediction
from voltaloop.core.training import Example, Previous
from voltaloop.executors.family import resident_bytes
from voltaloop.exploration import MdLimits, MdPlan, run_md
from voltaloop.potentials import POTENTIALS, Potential
from voltaloop.store import ArtifactStore
from voltaloop.uncertainty import MIN_SCORES, fit_calibration, prior_calibration, raw_covered

Json = dict[str, Any]

VERSION = 1
"""Raised when the same inputs give another result."""

SAMPLE_EVERY = 10
MD_TEMPERATURE_K = 300.0
MD_LIMITS = MdLimits(
    min_distance=0.5,
    volume_low=0.0,
    volume_high=math.inf,
    edge_low=0.0,
    edge_high=math.inf,
    temperature_factor=math.inf,
)
MD_LONGEST_S = 60.0
"""A slow potential's speed is known after so long."""

WATCH_EVERY_S = 0.5


def key_of(function: str, inputs: Mapping[str, Any]) -> str:
    """What the result of a measurement is kept under."""
    return digest_of([function, VERSION, dict(inputs)])


def measure(root: str, function: str, inputs: Mapping[str, Any]) -> Json:
    """Run one of :data:`MEASUREMENTS` in this process; ``root``: of the artifact store.

    Temporary files go into a folder beside the artifacts, which the caller removes.
    """
    store = ArtifactStore(root)
    scratch = scratch_of(root)
    scratch.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(scratch)
    result = MEASUREMENTS[function](inputs, store)
    store.results_put(key_of(function, inputs), result)
    return result


def scratch_of(root: str) -> Path:
    """Where measurements keep temporary files."""
    return Path(root).resolve().parent / "scratch"


def put_examples(examples: Sequence[Example], store: ArtifactStore) -> str:
    """The examples as one artifact."""
    return store.put_json([[one.key, one.frame.to_json(), one.label.to_json()] for one in examples])


def _examples(inputs: Mapping[str, Any], store: ArtifactStore) -> list[Example]:
    return [
        Example(key=key, frame=Frame.from_json(frame), label=Label.from_json(label))
        for key, frame, label in store.get_json(inputs["examples"])
    ]


def is_installed(inputs: Mapping[str, Any], store: ArtifactStore) -> Json:  # noqa: ARG001 - as all
    """Whether the engine can be used; what of its settings is run as code."""
    potential = _potential(inputs)
    potential.check_installed()
    return {"executes": potential.executes()}


def compare(inputs: Mapping[str, Any], store: ArtifactStore) -> Json:
    """Errors, coverage, times, speed and memory of one potential on one split."""
    examples = _examples(inputs, store)
    train, more, test = (
        [examples[index] for index in inputs[part]] for part in ("train", "more", "test")
    )
    potential, memo, notes = _potential(inputs), _Memo(), _Notes()
    with PeakMemory() as memory:
        with _Clock() as training:
            trained = potential.train(inputs["species"], train, memo)
        examined = examine(trained.committee, test)
        with notes.unless_it_fails("speed"):
            speed = _speed(trained.committee, test, inputs["md_steps"])
            notes.add(speed.pop("note"))
            notes.facts |= speed
        if more:
            previous = Previous(
                hyperparameters=trained.hyperparameters, committee=trained.committee
            )
            with notes.unless_it_fails("retraining"):
                with _Clock() as retraining:
                    potential.train(inputs["species"], [*train, *more], memo, previous)
                notes.facts |= retraining.told("retrain")
    return {
        **examined,
        **training.told("train"),
        **notes.facts,
        "members": trained.committee.size,
        "peak_memory_GB": memory.peak / 1e9,
        "notes": notes.texts,
    }


def score_setting(inputs: Mapping[str, Any], store: ArtifactStore) -> Json:
    """Errors of committees on what they were not trained on, all parts together."""
    examples = _examples(inputs, store)
    potential, memo = _potential(inputs), _Memo()
    errors = []
    with _Clock() as clock:
        for train, test in inputs["parts"]:
            committee = potential.train(
                inputs["species"], [examples[index] for index in train], memo
            ).committee
            errors += [_examined(committee, examples[index]).errors for index in test]
    return {**_root_mean_squares(errors), **clock.told("train")}


MEASUREMENTS: dict[str, Callable[[Mapping[str, Any], ArtifactStore], Json]] = {
    "is_installed": is_installed,
    "compare": compare,
    "score_setting": score_setting,
}


def _potential(inputs: Mapping[str, Any]) -> Potential:
    section = inputs["potential"]
    engine = POTENTIALS.load(section["engine"])
    try:
        settings = engine.Settings.model_validate(section["options"])
    except ValidationError as err:
        mistakes = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in err.errors()]
        raise ValueError(f"{section['engine']} does not take this setting: {mistakes}") from err
    return engine(settings)


def examine(committee: Committee, test: Sequence[Example]) -> Json:
    """Errors of the committee mean, and how often its error bars hold."""
    with _Clock() as clock:
        found = [_examined(committee, example) for example in test]
    scored = [one.scored for one in found if one.scored is not None]
    return {
        **_root_mean_squares([one.errors for one in found]),
        **(coverage(scored) if len(scored) == len(found) else {}),
        "examine_s": clock.wall,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Examined:
    """Errors of the mean, by quantity; scored where there are several members."""

    errors: Mapping[str, FloatArray]
    scored: Scored | None


def _examined(committee: Committee, example: Example) -> _Examined:
    frame, truth = example.frame, example.label
    said = committee.predict(frame, stress=truth.stress is not None)
    errors = {
        "energy": np.atleast_1d(said.energy.mean() - truth.energy) / len(frame),
        "force": (said.forces.mean(axis=0) - truth.forces).ravel(),
        "stress": _stress_errors(said, truth),
    }
    if not all(np.isfinite(values).all() for values in errors.values()):
        raise ValueError(f"What it predicts of the test frame {example.key} is not finite.")
    several = len(said.energy) > 1
    return _Examined(errors=errors, scored=Scored.of(frame, truth, said) if several else None)


def _stress_errors(said: CommitteePrediction, truth: Label) -> FloatArray:
    if said.stress is None or truth.stress is None:
        return np.zeros(0)
    errors: FloatArray = said.stress.mean(axis=0) - truth.stress
    return errors


def _root_mean_squares(errors: Sequence[Mapping[str, FloatArray]]) -> Json:
    """In the units people read; stress None where no frame has one."""
    pooled = {
        quantity: np.concatenate([one[quantity] for one in errors])
        for quantity in ("energy", "force", "stress")
    }
    return {
        "energy_rmse_meV_per_atom": MEV * _rms(pooled["energy"]),
        "force_rmse_eV_per_A": _rms(pooled["force"]),
        "stress_rmse_GPa": EV_PER_A3_IN_GPA * _rms(pooled["stress"])
        if len(pooled["stress"])
        else None,
    }


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def coverage(scored: Sequence[Scored]) -> Json:
    """Shares of true errors inside the 95 % intervals.

    raw: the Student-t interval of the committee mean; calibrated: fitted on one half of the frames
    and counted on the other, both ways; None where a half is too small to fit anything.
    """
    halves = scored[::2], scored[1::2]
    shares: Json = {}
    for quantity in ("energy", "force"):
        n = scored[0].spread.force_n if quantity == "force" else scored[0].n_members
        errors, spreads = _errors_and_spreads(scored, quantity)
        shares[f"coverage_{quantity}_raw"] = float(raw_covered(errors, spreads, n).mean())
        inside = [
            _covered_after(fitted, counted, quantity) for fitted, counted in (halves, halves[::-1])
        ]
        known = [one for one in inside if one is not None]
        shares[f"coverage_{quantity}"] = (
            float(np.concatenate(known).mean()) if len(known) == 2 else None
        )
    return shares


def _covered_after(
    fitted: Sequence[Scored], counted: Sequence[Scored], quantity: str
) -> FloatArray | None:
    """Which errors of the one half the other half's calibration covers."""
    if not counted or not fitted:
        return None
    errors, spreads = _errors_and_spreads(fitted, quantity)
    if len(errors) < MIN_SCORES:
        return None
    calibration = fit_calibration(errors, spreads, prior_calibration(_rms(errors)))
    return calibration.covered(*_errors_and_spreads(counted, quantity)).astype(float)


def _errors_and_spreads(scored: Sequence[Scored], quantity: str) -> tuple[FloatArray, FloatArray]:
    errors, spreads = (
        np.concatenate([np.atleast_1d(getattr(one, f"{quantity}_{what}")) for one in scored])
        for what in ("error", "s")
    )
    return errors, spreads


def _speed(committee: Committee, test: Sequence[Example], steps: int) -> Json:
    """Atom-steps a second, of wall and of CPU time, of molecular dynamics with the committee mean.

    From the first look at the run to the last, so that what is loaded at first does not count; the
    frame is the calmest of the largest ones of the test set. Only a run that breaks ends early.
    """
    start = max(test, key=lambda one: (len(one.frame), -np.abs(one.label.forces).max())).frame
    stamps: list[tuple[float, float]] = []
    family = _Family()

    def stamp(_: Frame) -> _Sure:
        stamps.append((time.perf_counter(), family.cpu_seconds()))
        if stamps[-1][0] - stamps[0][0] > MD_LONGEST_S:
            raise _LongEnoughError
        return _Sure()

    plan = MdPlan(
        ensemble="nvt",
        temperature_from=MD_TEMPERATURE_K,
        temperature_to=MD_TEMPERATURE_K,
        steps=steps,
        sample_every=SAMPLE_EVERY,
        seed=1,
    )
    note = ""
    try:
        run = run_md(start, committee, plan, MD_LIMITS, stamp)
        if run.outcome != "completed":
            note = f"MD ended at step {run.steps}: {run.outcome} {run.detail}".rstrip()
    except _LongEnoughError:
        pass
    if len(stamps) < 2:
        return {"atom_steps_per_s": None, "md_atoms": len(start), "note": note}
    done = SAMPLE_EVERY * (len(stamps) - 1) * len(start)
    wall, cpu = (last - first for first, last in zip(stamps[0], stamps[-1], strict=True))
    return {
        "atom_steps_per_s": done / wall,
        "atom_steps_per_cpu_s": done / cpu if cpu > 0 else None,
        "md_atoms": len(start),
        "note": note,
    }


class _Family:
    """CPU time of this process and of the programs that it runs when it is first asked."""

    def __init__(self) -> None:
        self._programs: list[psutil.Process] | None = None

    def cpu_seconds(self) -> float:
        if self._programs is None:
            self._programs = psutil.Process().children(recursive=True)
        total = time.process_time()
        for program in self._programs:
            with suppress(psutil.Error):
                total += sum(program.cpu_times()[:2])
        return total


class _LongEnoughError(Exception):
    """The speed is known."""


@dataclass(frozen=True, slots=True)
class _Sure:
    """An assessment that never stops a run."""

    force_sigma_max: float = 0.0


@dataclass(slots=True)
class _Notes:
    """What was found besides, and what could not be."""

    texts: list[str] = field(default_factory=list)
    facts: Json = field(default_factory=dict)

    def add(self, text: str) -> None:
        if text:
            self.texts.append(text)

    @contextmanager
    def unless_it_fails(self, what: str) -> Iterator[None]:
        """A failure here does not cost the rest of the row."""
        try:
            yield
        except Exception as err:  # noqa: BLE001 - whatever it is, the row tells it
            self.add(f"{what}: {type(err).__name__}: {err}")


class _Memo:
    """Keeps arrays in this process, as a campaign's training finds them on disk."""

    def __init__(self) -> None:
        self._kept: dict[str, Mapping[str, Any]] = {}

    def memo_get(self, key: str) -> Mapping[str, Any] | None:
        return self._kept.get(key)

    def memo_put(self, key: str, **arrays: Any) -> None:
        self._kept[key] = arrays


class _Clock:
    """Wall and CPU seconds of a block, with the programs that it waited for."""

    def __enter__(self) -> _Clock:
        self._wall, self._cpu = time.perf_counter(), cpu_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall = time.perf_counter() - self._wall
        self.cpu = cpu_seconds() - self._cpu

    def told(self, what: str) -> Json:
        return {f"{what}_s": self.wall, f"{what}_cpu_s": self.cpu}


class PeakMemory:
    """Largest resident memory in bytes of this process with its children, looked at twice a
    second; of this process alone the kernel knows it exactly."""

    def __enter__(self) -> PeakMemory:
        self.peak = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.peak = max(self.peak, _own_peak())

    def _watch(self) -> None:
        while not self._end.wait(WATCH_EVERY_S):
            self.peak = max(self.peak, *resident_bytes([os.getpid()]).values())


def _own_peak() -> int:
    """Bytes; since this program began, unlike ru_maxrss, which a child inherits."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)

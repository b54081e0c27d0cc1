"""The Doers of a potential campaign: functions of JSON inputs and the artifact store.

Each runs in a worker process, writes what is large as artifacts and returns JSON. What goes wrong
with a structure is part of the result; an exception means that the Doer itself failed.
"""

from __future__ import annotations

import errno
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from voltaloop.campaigns.scores import (
    Coverage,
    Scored,
    appended,
    as_arrays,
    noise_floor,
    recalibrated,
)
from voltaloop.core import (
    EV_PER_A3_IN_GPA,
    FloatArray,
    Frame,
    Label,
    ReferenceFailure,
    StorageError,
    StructureError,
    Task,
    canonical_json,
    digest_of,
)
from voltaloop.core.contracts import Committee
from voltaloop.core.training import Example, Previous
from voltaloop.crystals import hexagonal_parameters
from voltaloop.exploration import MdLimits, MdPlan, run_md, static_evaluator
from voltaloop.potentials import POTENTIALS, Potential
from voltaloop.references import (
    REFERENCES,
    Gate,
    check_step,
    label_frame,
    moment_per_metal,
    spin_alignment,
)
from voltaloop.store import ArtifactStore
from voltaloop.thermo import Relaxed, relax
from voltaloop.thinker import Outcome
from voltaloop.uncertainty import Assessment, Calibrations, Spread, prior_calibration

Json = dict[str, Any]

PRESSURE_STEP_GPA = 0.5
"""For the compressibility: soft layers need a finite step, stiff ones still answer linearly."""


RATTLE_A = 0.03

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What says nothing of the task in which it was met."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doer:
    """A function of (inputs, store) and its version; see :class:`voltaloop.core.Task`."""

    run: Callable[[Mapping[str, Any], ArtifactStore], Json]
    version: int


def perform(root: str, task: Task) -> Outcome:
    """Run a task's Doer in this process; the executors call this.

    The result is on disk before it is told to anybody: if nobody is left to take it, the next
    session finds it there instead of computing it again.
    """
    store = ArtifactStore(root)
    if (known := store.results_get(task.id)) is not None:
        return Outcome.from_json(known)
    started, cpu = time.time(), cpu_seconds()
    with _scratch(scratch_of(root)):
        result = DOERS[task.function].run(task.inputs, store)
    outcome = Outcome(result=result, started=started, ended=time.time(), cpu_s=cpu_seconds() - cpu)
    store.results_put(task.id, outcome.to_json())
    return outcome


def scratch_of(root: str) -> Path:
    """Where on this machine the Doers of a campaign keep temporary files; ``root``: its store's.

    One folder for each campaign, so that what killed workers left can be deleted.
    """
    return Path(tempfile.gettempdir()) / f"voltaloop-{digest_of(root)[:16]}"


@contextmanager
def _scratch(folder: Path) -> Iterator[None]:
    """Temporary files of this process go there; the folder is made if somebody tidied it up."""
    before = tempfile.tempdir
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise StorageError(
            f"The folder for temporary files {folder} cannot be made: {err.strerror}. "
            "Set TMPDIR to another place, then run again."
        ) from err
    tempfile.tempdir = str(folder)
    try:
        yield
    except OSError as err:
        if err.errno not in DISK_ERRORS:
            raise
        raise StorageError(
            f"The disk of temporary files {folder} takes nothing more: {err.strerror}. Make room, "
            "or set TMPDIR to another place, then run again: nothing is lost."
        ) from err
    finally:
        tempfile.tempdir = before


def cpu_seconds() -> float:
    """CPU seconds of this process and of the programs it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def label(inputs: Mapping[str, Any], store: ArtifactStore) -> Json:
    """Label one frame: ``{frame, label, ...}`` or ``{frame, refused: {reason, detail, ...}}``."""
    frame = _frame(inputs, store)
    name = store.put_json(frame.to_json())
    try:
        found = _labelled(frame, inputs)
    except ReferenceFailure as failure:
        return {"frame": name, "refused": _refusal(frame, failure, store)}
    return {
        "frame": name,
        **_label_facts(frame, found, store),
        "force_max": float(np.linalg.norm(found.forces, axis=1).max()),
    }


def _label_facts(frame: Frame, found: Label, store: ArtifactStore) -> Json:
    return {
        "label": store.put_json(found.to_json()),
        "energy_per_atom": found.energy / len(frame),
        "moment_per_metal": moment_per_metal(frame, found),
        "spin_alignment": spin_alignment(frame, found),
    }


def _refusal(frame: Frame, failure: ReferenceFailure, store: ArtifactStore) -> Json:
    """The reason, what the engine wrote, and the refused label where it can be written down."""
    refusal: Json = {
        "reason": failure.reason,
        "detail": failure.detail,
        "files": {
            name: store.put_bytes(text.encode(), "txt") for name, text in failure.files.items()
        },
    }
    if failure.label is not None and failure.label.is_finite():
        refusal |= _label_facts(frame, failure.label, store)
    return refusal


def relax_reference(inputs: Mapping[str, Any], store: ArtifactStore) -> Json:
    """Relax a frame with the reference; where it gives no stress, the frame as it is."""
    frame = _frame(inputs, store)
    try:
        first = _labelled(frame, inputs)
        if first.stress is None:
            done = Relaxed(frame=frame, energy=first.energy, steps=1, converged=False)
        else:
            done = relax(
                frame,
                _checked_steps(inputs),
                pressure_GPa=inputs["pressure_GPa"],
                force_limit=inputs["force_limit"],
            )
    except ReferenceFailure as failure:
        return {"refused": _refusal(frame, failure, store)}
    except StructureError as failure:
        return {"refused": {"reason": "relaxation_failed", "detail": str(failure)}}
    return _relaxed_json(done, store)


def _checked_steps(inputs: Mapping[str, Any]) -> Callable[[Frame], Label]:
    """Labels frames one after the other, each checked against the one before."""
    gate = Gate.model_validate(inputs["gate"])
    earlier: list[tuple[Frame, Label]] = []

    def labelled(frame: Frame) -> Label:
        found = _labelled(frame, inputs)
        if earlier:
            check_step(earlier.pop(), (frame, found), gate)
        earlier.append((frame, found))
        return found

    return labelled


def train(inputs: Mapping[str, Any], store: ArtifactStore) -> Json:
    """Score new labels with the previous committee, then fit a new one to all labels."""
    potential = _potential(canonical_json(inputs["potential"]))
    previous = inputs["previous"]
    known = store.get_json(previous["examples"]) if previous else []
    pairs = [*known, *inputs["new"]]
    examples = [
        Example(
            key=label_name,
            frame=Frame.from_json(store.get_json(frame_name)),
            label=Label.from_json(store.get_json(label_name)),
        )
        for frame_name, label_name in pairs
    ]
    trained = potential.train(inputs["species"], examples, store, _previous(inputs, store))
    held_out = dict(trained.held_out)
    scoring = _score_new(examples[len(known) :], previous, inputs, store)
    calibrations = _calibrations(scoring.arrays, held_out)
    return {
        "committee": _put_committee(trained.committee, store),
        "examples": store.put_json(pairs),
        "descriptors": store.put_arrays(descriptors=trained.descriptors),
        "held_out": held_out,
        "hyperparameters": dict(trained.hyperparameters),
        "curves": store.put_json([asdict(curve) for curve in trained.curves]),
        "calibrations": calibrations.to_json(),
        "noise_floor": calibrations.force.floor
        if scoring.arrays is None
        else noise_floor(scoring.arrays, calibrations.force),
        "scores": scoring.name,
        "scored": scoring.per_label,
    }


def _previous(inputs: Mapping[str, Any], store: ArtifactStore) -> Previous | None:
    previous = inputs["previous"]
    if previous is None:
        return None
    return Previous(
        hyperparameters=previous["hyperparameters"],
        committee=_get_committee(previous["committee"], inputs["potential"], store),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scoring:
    name: str | None
    arrays: Mapping[str, FloatArray] | None
    per_label: list[Json]


def _score_new(
    new: list[Example],
    previous: Mapping[str, Any] | None,
    inputs: Mapping[str, Any],
    store: ArtifactStore,
) -> _Scoring:
    if previous is None:
        return _Scoring(name=None, arrays=None, per_label=[])
    committee = _get_committee(previous["committee"], inputs["potential"], store)
    calibrations = Calibrations.from_json(previous["calibrations"])
    scored = [Scored.of(e.frame, e.label, committee.predict(e.frame, stress=True)) for e in new]
    old = store.get_arrays(previous["scores"]) if previous["scores"] else None
    first = int(old["energy_frame"].max()) + 1 if old is not None else 0
    arrays = appended(old, as_arrays(scored, first))
    return _Scoring(
        name=store.put_arrays(**arrays),
        arrays=arrays,
        per_label=[_score_json(one, calibrations) for one in scored],
    )


def _score_json(one: Scored, calibrations: Calibrations) -> Json:
    coverage = Coverage.of([one], calibrations)
    return {
        "energy_error": one.energy_error,
        "force_rmse": float(np.sqrt(np.mean(one.force_error**2))),
        "assessment": calibrations.assess(one.spread).as_dict(),
        "covered": {
            "energy_raw": coverage.energy_raw,
            "energy": coverage.energy,
            "force_raw": coverage.force_raw,
            "force": coverage.force,
        },
    }


def _calibrations(
    scores: Mapping[str, FloatArray] | None, held_out: Mapping[str, float]
) -> Calibrations:
    prior = Calibrations(
        energy=prior_calibration(held_out["energy"]),
        force=prior_calibration(held_out["force"]),
        stress=prior_calibration(held_out.get("stress", 1.0 / EV_PER_A3_IN_GPA)),
    )
    return prior if scores is None else recalibrated(scores, prior)


@dataclass(frozen=True, slots=True, kw_only=True)
class _AssessedFrame:
    """A frame's assessment and its descriptor, for the selection."""

    assessment: Assessment
    descriptor: FloatArray

    @property
    def force_sigma_max(self) -> float:
        return self.assessment.force_sigma_max


def explore(inputs: Mapping[str, Any], store: ArtifactStore) -> Json:
    """One MD run; its frames and their assessments."""
    committee = _get_committee(inputs["committee"], inputs["potential"], store)
    calibrations = Calibrations.from_json(inputs["calibrations"])
    result = run_md(
        _frame(inputs, store),
        committee,
        MdPlan(**inputs["plan"]),
        MdLimits(**inputs["limits"]),
        lambda frame: _assess(frame, committee, calibrations),
    )
    assessed = [sample.assessment for sample in result.samples if sample.assessment is not None]
    samples = [
        {
            "step": sample.step,
            "temperature": sample.temperature,
            "pressure_GPa": sample.pressure_GPa,
            "frame": sample.frame.to_json(),
            "assessment": one.assessment.as_dict(),
        }
        for sample, one in zip(result.samples, assessed, strict=True)
    ]
    return {
        "outcome": result.outcome,
        "detail": result.detail,
        "steps": result.steps,
        "samples": store.put_json(samples),
        "descriptors": store.put_arrays(descriptors=np.array([a.descriptor for a in assessed])),
        "sample_steps": [sample.step for sample in result.samples],
        "temperatures": [round(sample.temperature, 1) for sample in result.samples],
        "force_sigma": [one.force_sigma_max for one in assessed],
    }


def _assess(frame: Frame, committee: Committee, calibrations: Calibrations) -> _AssessedFrame:
    prediction = committee.predict(frame)
    assessment = calibrations.assess(Spread.of(prediction))
    return _AssessedFrame(assessment=assessment, descriptor=prediction.descriptor)


def relax_committee(inputs: Mapping[str, Any], store: ArtifactStore) -> Json:
    """Relax an ordering with the committee mean, then with every member from there."""
    committee = _get_committee(inputs["committee"], inputs["potential"], store)
    calibrations = Calibrations.from_json(inputs["calibrations"])
    frame, pressure = _rattled(_frame(inputs, store)), inputs["pressure_GPa"]
    limit = inputs["force_limit"]
    try:
        mean = _relaxed_by(committee.averaged(), frame, pressure, limit)
        pressed = _relaxed_by(committee.averaged(), mean.frame, pressure + PRESSURE_STEP_GPA, limit)
        members = [
            _relaxed_by(committee.member(k), mean.frame, pressure, limit)
            for k in range(committee.size)
        ]
    except StructureError as failure:
        return {"refused": {"reason": "relaxation_failed", "detail": str(failure)}}
    step = PRESSURE_STEP_GPA / EV_PER_A3_IN_GPA
    at_rest = _assess(mean.frame, committee, calibrations)
    return {
        **_relaxed_json(mean, store),
        "compressibility": (mean.frame.volume - pressed.frame.volume) / step,
        "members": [_relaxed_json(member, store, keep_frame=False) for member in members],
        "descriptors": store.put_arrays(descriptors=at_rest.descriptor[None, :]),
        "assessment": at_rest.assessment.as_dict(),
        "force_sigma": [at_rest.force_sigma_max],
        "temperatures": [0.0],
        "sample_steps": [0],
    }


def _rattled(frame: Frame) -> Frame:
    """Moved off its symmetric positions, where forces may vanish without being at a minimum."""
    rng = np.random.default_rng(len(frame))
    return Frame(
        numbers=frame.numbers,
        positions=frame.positions + rng.normal(scale=RATTLE_A, size=frame.positions.shape),
        cell=frame.cell,
        magmoms=frame.magmoms,
    )


def score(inputs: Mapping[str, Any], store: ArtifactStore) -> Json:
    """The audit: errors and coverage of frames that never entered training."""
    committee = _get_committee(inputs["committee"], inputs["potential"], store)
    calibrations = Calibrations.from_json(inputs["calibrations"])
    scored, records = [], []
    for entry in inputs["audit"]:
        frame = Frame.from_json(store.get_json(entry["frame"]))
        truth = Label.from_json(store.get_json(entry["label"]))
        prediction = committee.predict(frame, stress=truth.stress is not None)
        one = Scored.of(frame, truth, prediction)
        scored.append(one)
        records.append(
            {
                "x": entry["x"],
                "temperature": entry["temperature"],
                "frame": entry["frame"],
                "n_atoms": len(frame),
                "numbers": frame.numbers.tolist(),
                "reference_energy": truth.energy / len(frame),
                "predicted_energy": float(prediction.energy.mean()) / len(frame),
                "reference_forces": truth.forces.ravel().tolist(),
                "predicted_forces": prediction.forces.mean(axis=0).ravel().tolist(),
                "force_s": one.force_s.tolist(),
                "own_force": one.own_force,
                "reference_stress": None if truth.stress is None else truth.stress.tolist(),
                "predicted_stress": None
                if prediction.stress is None
                else prediction.stress.mean(axis=0).tolist(),
                **_score_json(one, calibrations),
            }
        )
    coverage = Coverage.of(scored, calibrations)
    forces = np.concatenate([one.force_error for one in scored])
    stresses = np.concatenate([one.stress_error for one in scored])
    return {
        "records": store.put_json(records),
        "energy_rmse": float(np.sqrt(np.mean([one.energy_error**2 for one in scored]))),
        "force_rmse": float(np.sqrt(np.mean(forces**2))),
        "stress_rmse": float(np.sqrt(np.mean(stresses**2))) if len(stresses) else None,
        "coverage": {
            "energy_raw": coverage.energy_raw,
            "energy": coverage.energy,
            "force_raw": coverage.force_raw,
            "force": coverage.force,
        },
    }


def _frame(inputs: Mapping[str, Any], store: ArtifactStore) -> Frame:
    """The frame of the inputs: an artifact of its own, or one of a run's samples."""
    if "frame" in inputs:
        return Frame.from_json(store.get_json(inputs["frame"]))
    samples = store.get_json(inputs["samples"])
    return Frame.from_json(samples[inputs["index"]]["frame"])


def _labelled(frame: Frame, inputs: Mapping[str, Any]) -> Label:
    reference = _reference(canonical_json(inputs["reference"]))
    return label_frame(reference, frame, Gate.model_validate(inputs["gate"]))


@lru_cache(maxsize=4)
def _reference(section: str) -> Any:
    return _built(REFERENCES, section)


@lru_cache(maxsize=4)
def _potential(section: str) -> Potential:
    built: Potential = _built(POTENTIALS, section)
    return built


def _built(registry: Any, section: str) -> Any:
    data = json.loads(section)
    engine = registry.load(data["engine"])
    return engine(engine.Settings.model_validate(data["options"]))


def _put_committee(committee: Committee, store: ArtifactStore) -> str:
    arrays = store.put_arrays(**committee.to_arrays())
    return store.put_json({"arrays": arrays, "meta": dict(committee.to_json())})


def _get_committee(name: str, potential: Mapping[str, Any], store: ArtifactStore) -> Committee:
    stored = store.get_json(name)
    engine = _potential(canonical_json(potential))
    return engine.load(stored["meta"], store.get_arrays(stored["arrays"]))


def _relaxed_by(committee: Committee, frame: Frame, pressure: float, limit: float) -> Relaxed:
    with ExitStack() as stack:
        evaluate = stack.enter_context(static_evaluator(frame, committee))
        return relax(frame, evaluate, pressure_GPa=pressure, force_limit=limit)


def _relaxed_json(done: Relaxed, store: ArtifactStore, *, keep_frame: bool = True) -> Json:
    """Per cell: energy in eV, volume in Å3, a and c in Å."""
    lengths = hexagonal_parameters(done.frame)
    facts: Json = {
        "energy": done.energy,
        "volume": done.frame.volume,
        "a": None if lengths is None else lengths[0],
        "c": None if lengths is None else lengths[1],
        "steps": done.steps,
        "converged": done.converged,
    }
    return facts | ({"frame": store.put_json(done.frame.to_json())} if keep_frame else {})


DOERS: dict[str, Doer] = {
    "label": Doer(run=label, version=1),
    "relax_reference": Doer(run=relax_reference, version=1),
    "train": Doer(run=train, version=2),
    "explore": Doer(run=explore, version=1),
    "relax_committee": Doer(run=relax_committee, version=1),
    "score": Doer(run=score, version=2),
}

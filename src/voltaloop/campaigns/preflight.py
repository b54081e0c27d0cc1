"""The pre-flight: one tiny task of every Doer through its pool, before a campaign spends hours."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.morse import MorsePotential
from ase.data import chemical_symbols

from voltaloop.campaigns.doers import perform, scratch_of
from voltaloop.campaigns.file import CampaignFile, build_engine, pools_of
from voltaloop.campaigns.pools import started_pool
from voltaloop.campaigns.state import Labelled
from voltaloop.campaigns.tasks import CampaignTasks
from voltaloop.core import CampaignFolderError, Frame, Label, Task
from voltaloop.crystals import lithium_metal, load_structure, starting_frames
from voltaloop.executors import failure_text
from voltaloop.potentials import POTENTIALS
from voltaloop.references import REFERENCES
from voltaloop.store import ArtifactStore
from voltaloop.thinker import Outcome

Json = Mapping[str, Any]

STEPS = 20
SPARE_FRAMES = 4
"""Frames beyond one for every member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How one tiny task went, or the start of a pool (doer "start").

    seconds: wall time with the wait for a worker; run_s: of those in the worker, None where it
    ended otherwise than with a result; detail: what came out, or the error; trace: its traceback
    as the worker saw it.
    """

    pool: str
    doer: str
    ok: bool
    seconds: float
    detail: str
    run_s: float | None = None
    trace: str = ""


def runs_code(campaign: CampaignFile) -> list[str]:
    """What of the campaign file is run as a program, a shell command or imported code."""
    reference = build_engine(REFERENCES, campaign.reference)
    potential = build_engine(POTENTIALS, campaign.potential)
    found = [f"reference: {what}" for what in reference.executes()]
    found += [f"potential: {what}" for what in potential.executes()]
    for name, pool in pools_of(campaign.resources).items():
        found += [f"resources.{name}: {what}" for what in pool.executes()]
    return found


def where_tasks_run(campaign: CampaignFile) -> dict[str, str]:
    """One line for every pool."""
    return {name: pool.describe() for name, pool in pools_of(campaign.resources).items()}


def preflight(
    campaign: CampaignFile, base: Path, scratch_in: Path, *, patience_s: float
) -> Iterator[Finding]:
    """Run one tiny task of each Doer where the campaign would run it.

    The label is a real one of the unit cell; the other Doers work on labels of a Morse potential,
    which say nothing of the material. ``scratch_in``: folder, created when missing, that all
    workers must be able to read and write, as they must the campaign folder; what is written there
    is removed. ``patience_s``: longest wait for one task.
    """
    with _scratch(scratch_in) as folder, ExitStack() as stack:
        trial = _Trial(campaign, base, ArtifactStore(folder / "artifacts"), patience_s)
        pools: dict[str, Executor] = {}
        for name, pool in pools_of(campaign.resources).items():
            began = time.monotonic()
            try:
                pools[name] = stack.enter_context(started_pool(name, pool, folder / "pools"))
            except BrokenExecutor as err:
                seconds = time.monotonic() - began
                yield Finding(pool=name, doer="start", ok=False, seconds=seconds, detail=str(err))
        yield from trial.run(pools)


class _Trial:
    def __init__(
        self, campaign: CampaignFile, base: Path, store: ArtifactStore, patience_s: float
    ) -> None:
        self._campaign = campaign
        self._store = store
        self._tasks = CampaignTasks(campaign)
        self._cell = load_structure(campaign.material.structure, base=base)
        self._patience_s = patience_s
        self._results: dict[str, Json] = {}
        self._waited_in_vain: set[str] = set()

    def run(self, pools: Mapping[str, Executor]) -> Iterator[Finding]:
        """In the pools that could be started; what needs a committee only where there is one."""
        makers = (self._label, self._relax_reference, self._train)
        later = (self._explore, self._relax_committee, self._score)
        for make in (*makers, *later):
            if make in later and "train" not in self._results:
                return
            task = make()
            if task.pool in pools:
                yield self._try(task, pools[task.pool])

    def _try(self, task: Task, pool: Executor) -> Finding:
        began = time.monotonic()
        report = partial(Finding, pool=task.pool, doer=task.function)
        if task.pool in self._waited_in_vain:
            return report(ok=False, seconds=0.0, detail="not tried: the pool is not free")
        try:
            future: Future[Outcome] = pool.submit(perform, str(self._store.root.resolve()), task)
            wait([future], timeout=self._patience_s)
            if not future.done():
                self._waited_in_vain.add(task.pool)
                detail = (
                    f"no result within {self._patience_s:g} s: no worker came (is the queue "
                    "full?), or the task takes longer. Wait longer with --patience."
                )
                return report(ok=False, seconds=time.monotonic() - began, detail=detail)
            outcome = future.result()
        except Exception as err:  # noqa: BLE001 - whatever is wrong is the finding
            return report(
                ok=False,
                seconds=time.monotonic() - began,
                detail=f"{type(err).__name__}: {err}",
                trace=failure_text(err),
            )
        report = partial(
            report, seconds=time.monotonic() - began, run_s=outcome.ended - outcome.started
        )
        result = outcome.result
        if "refused" in result:
            refusal = result["refused"]
            if task.function == "relax_committee" and refusal["reason"] == "relaxation_failed":
                return report(ok=True, detail="relaxed until the Morse crystal collapsed")
            return report(ok=False, detail=f"{refusal['reason']}: {refusal['detail']}")
        self._results[task.function] = result
        return report(ok=True, detail=_said(task.function, result))

    def _label(self) -> Task:
        return self._tasks.label({"frame": self._put(self._cell)}, "unit cell")

    def _relax_reference(self) -> Task:
        return self._tasks.relax_reference(self._put(lithium_metal()), "bcc Li")

    def _train(self) -> Task:
        count = int(self._campaign.potential.options.get("members", 8)) + SPARE_FRAMES
        frames = starting_frames(self._cell, count=count, rattle=0.08, strain=0.02, seed=1)
        species = [chemical_symbols[z] for z in sorted({int(z) for z in self._cell.numbers})]
        new = [self._morse_labelled(frame) for frame in frames]
        brief = POTENTIALS.load(self._campaign.potential.engine).BRIEF
        return self._tasks.train(0, species, new, None, brief)

    def _explore(self) -> Task:
        return self._tasks.brief_run(self._ordering(), self._results["train"], steps=STEPS)

    def _relax_committee(self) -> Task:
        return self._tasks.relax_committee(self._ordering(), self._results["train"])

    def _score(self) -> Task:
        frames = starting_frames(self._cell, count=2, rattle=0.05, strain=0.01, seed=2)
        audit = [self._morse_labelled(frame) for frame in frames]
        return self._tasks.score(self._results["train"], audit)

    def _ordering(self) -> Json:
        return {"x": 1.0, "frame": self._put(self._cell)}

    def _put(self, frame: Frame) -> str:
        return self._store.put_json(frame.to_json())

    def _morse_labelled(self, frame: Frame) -> Labelled:
        atoms = frame.to_atoms()
        atoms.calc = MorsePotential(epsilon=0.5, rho0=4.0, r0=2.2)
        label = Label(
            energy=atoms.get_potential_energy(),
            forces=atoms.get_forces(),
            stress=np.asarray(atoms.get_stress()),
        )
        name = self._put(frame)
        return Labelled(
            task=self._tasks.label({"frame": name}, "Morse"),
            case="",
            frame=name,
            label=self._store.put_json(label.to_json()),
            origin="start",
            x=1.0,
            temperature=None,
            energy_per_atom=label.energy / len(frame),
            moment_per_metal=None,
            spin_alignment=None,
        )


def _said(function: str, result: Json) -> str:
    """What of a result tells a person most."""
    match function:
        case "label":
            energy, force = result["energy_per_atom"], result["force_max"]
            return f"{energy:.4f} eV/atom, largest force {force:.3f} eV/Å"
        case "relax_reference":
            return f"bcc Li {result['energy']:.4f} eV in {result['steps']} steps"
        case "train":
            return "a committee for a Morse potential"
        case "explore":
            return f"MD {result['outcome']} after {result['steps']} steps"
        case "relax_committee":
            return f"relaxed in {result['steps']} steps"
        case _:
            return "errors and coverage of two frames"


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """A folder of its own in ``parent``, gone afterwards, as is what had to be made for it."""
    made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".check-", dir=parent))
    except OSError as err:
        raise CampaignFolderError(
            f"The check needs a folder in {parent}, which cannot be made: {err.strerror}. "
            "Name another campaign folder with --out."
        ) from err
    try:
        yield folder
    finally:
        shutil.rmtree(scratch_of(str((folder / "artifacts").resolve())), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # somebody has put something there meanwhile
            for empty in made:
                empty.rmdir()

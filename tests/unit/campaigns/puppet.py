"""A campaign whose Doers are played by hand: every decision is real, every result invented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from voltaloop.campaigns import CampaignFile, CampaignFolder, new_mind, parse_campaign
from voltaloop.campaigns.opening import opening_facts
from voltaloop.campaigns.policy import PotentialPolicy
from voltaloop.campaigns.state import CampaignState
from voltaloop.core import Event, Frame, Label, Task
from voltaloop.store import EventLog
from voltaloop.thinker import Flight, Mind, attempts_allowed

Json = dict[str, Any]

SESSION = {"pid": 1, "host": "here", "python": "3.11", "versions": {"voltaloop": "0.1.0"}}
FLOOR = 0.05
LITHIUM_EV = -2.0
SIZE_OF_DESCRIPTOR = 6


def settings(**sections: Mapping[str, Any]) -> Json:
    """A small campaign file as data; ``sections`` are merged into it."""
    data: Json = {
        "name": "puppet",
        "material": {
            "structure": "LiNiO2",
            "supercell": [2, 1, 1],
            "lithium": [1.0, 0.5, 0.0],
            "orderings": 2,
            "starting": {"frames": 6},
        },
        "reference": {"engine": "ase", "calculator": "ase.calculators.emt:EMT"},
        "potential": {"engine": "pod", "members": 4},
        "explore": {"steps": 100, "sample_every": 20},
        "select": {"batch": 4, "random_share": 0.25},
        "audit": {"labels": 6},
        "stop": {"labels": 16, "volume_change_percent": None, "voltage_V": None},
    }
    for name, section in sections.items():
        data[name] = {**data.get(name, {}), **section}
    return data


def campaign_text(**sections: Mapping[str, Any]) -> str:
    return yaml.safe_dump(settings(**sections))


class Puppet:
    """Drives the policy of a campaign; ``seed`` decides what the invented results are."""

    def __init__(self, root: Path, *, seed: int = 0, **sections: Mapping[str, Any]) -> None:
        self.text = campaign_text(**sections)
        self.campaign: CampaignFile = parse_campaign(self.text, "puppet.yaml")
        self.folder = CampaignFolder(root)
        root.mkdir(parents=True, exist_ok=True)
        self.store = self.folder.artifacts
        self.mind: Mind = new_mind(self.campaign, self.folder)
        self.events: list[Event] = []
        self.rng = np.random.default_rng(seed)
        self.pause_s = 0.0
        self.sigma: Sequence[float] = (0.02, 0.2, 0.3, 0.4, 5.0)

    # -- the course of the campaign -----------------------------------------------------------

    def open(self) -> Puppet:
        facts = opening_facts(self.campaign, self.folder.root, self.store)
        self.react("opened", facts)
        self.react("session", SESSION)
        return self

    def react(self, kind: str, data: Mapping[str, Any]) -> list[Event]:
        now = self.now
        events = self.mind.react((kind, data), now)
        self.events += events
        return events

    def finish(self, task: Task, result: Json | None = None) -> list[Event]:
        now = self.now
        data = {
            "id": task.id,
            "result": self.invented(task) if result is None else result,
            "started": now - 1,
            "ended": now,
            "cpu_s": 0.5,
        }
        return self.react("finished", data)

    def refuse(self, task: Task, reason: str = "force_too_large", **more: Any) -> list[Event]:
        frame = self.store.put_json(self.frame_of(task).to_json())
        refused = {"reason": reason, "detail": "99 eV/Å on atom 3", **more}
        return self.finish(task, {"frame": frame, "refused": refused})

    def refuse_for_good(self, task: Task, reason: str = "force_too_large") -> list[Event]:
        """On every rung of the ladder; the events of the last try."""
        case = task.id
        while True:
            events = self.refuse(task, reason)
            tries = [t for t in self.under_way() if self.case(t) == case]
            if not tries:
                return events
            (task,) = tries

    def case(self, task: Task) -> str | None:
        """The first try of what this task tries once more."""
        return self.state.purposes[task.id].get("case")

    def fail_for_good(self, task: Task, reason: str = "WorkerDied") -> None:
        """Every attempt fails."""
        for attempt in range(1, attempts_allowed(reason) + 1):
            failure = {
                "id": task.id,
                "task": task.to_json(),
                "attempt": attempt,
                "reason": reason,
                "detail": "exit code 7",
                "traceback": "Traceback ...",
            }
            self.react("failed", failure)

    def finish_all(self, function: str) -> None:
        """Finish the tasks of one function that are under way now, not those they lead to."""
        for task in self.under_way(function):
            self.finish(task)

    def learn_until(self, stopped: bool = True) -> None:
        """Finish the oldest task again and again until learning has stopped."""
        while (self.state.stopped is not None) != stopped:
            self.finish(self.oldest().task)

    def run(self) -> CampaignState:
        """Finish the oldest task again and again until the campaign is over."""
        while not self.policy.over():
            self.finish(self.oldest().task)
        return self.state

    def write(self) -> CampaignFolder:
        """Lay the folder down as a run would have left it."""
        with self.folder.held(self.campaign, self.text) as log:
            _append(log, self.events)
        return self.folder

    # -- looking at it ------------------------------------------------------------------------

    @property
    def policy(self) -> PotentialPolicy:
        assert isinstance(self.mind.policy, PotentialPolicy)
        return self.mind.policy

    @property
    def state(self) -> CampaignState:
        return self.policy.state

    @property
    def now(self) -> float:
        """A second for every event, and the pauses between sessions."""
        return 1000.0 + len(self.events) + self.pause_s

    def oldest(self) -> Flight:
        return next(iter(self.mind.ledger.flights.values()))

    def under_way(self, function: str | None = None, role: str | None = None) -> list[Task]:
        tasks = [flight.task for flight in self.mind.ledger.flights.values()]
        return [
            task
            for task in tasks
            if (function is None or task.function == function)
            and (role is None or self.role(task) == role)
        ]

    def role(self, task: Task) -> str:
        return str(self.state.purposes[task.id]["role"])

    def submitted(self, function: str) -> list[Task]:
        tasks = [Task.from_json(e.data["task"]) for e in self.events if e.kind == "submitted"]
        return [task for task in tasks if task.function == function]

    def frame_of(self, task: Task) -> Frame:
        inputs = task.inputs
        if "frame" in inputs:
            return Frame.from_json(self.store.get_json(inputs["frame"]))
        return Frame.from_json(self.store.get_json(inputs["samples"])[inputs["index"]]["frame"])

    # -- results ------------------------------------------------------------------------------

    def invented(self, task: Task) -> Json:
        results = {
            "label": self.label,
            "train": self.training,
            "explore": self.run_of_md,
            "relax_committee": self.relaxation,
            "relax_reference": self.reference_relaxation,
            "score": self.score,
        }
        return results[task.function](task)

    def label(self, task: Task) -> Json:
        frame = self.frame_of(task)
        label = Label(
            energy=self.energy(frame),
            forces=self.rng.normal(size=(len(frame), 3)),
            stress=self.rng.normal(scale=0.01, size=6),
            magmoms=frame.magmoms,
        )
        return {
            "frame": self.store.put_json(frame.to_json()),
            "label": self.store.put_json(label.to_json()),
            "energy_per_atom": label.energy / len(frame),
            "moment_per_metal": None,
            "force_max": float(np.abs(label.forces).max()),
        }

    def energy(self, frame: Frame) -> float:
        """eV; about 3 V between any two lithium contents."""
        return -5.0 * len(frame) + float(self.rng.normal(scale=0.1))

    def training(self, task: Task) -> Json:
        known = len(self.state.labels)
        new = task.inputs["new"]
        scored = [self.scored() for _ in new] if task.inputs["previous"] else []
        return {
            "committee": self.store.put_json({"generation": self.state.generation + 1}),
            "examples": self.store.put_json([known]),
            "descriptors": self.descriptors(known),
            "held_out": {"energy": 0.004, "force": 0.1, "stress": 0.002},
            "hyperparameters": {"energy": 31.6, "stress": 3.16, "ridge": 1e-8},
            "calibrations": {
                "energy": {"slope": 2.0, "floor": 0.003},
                "force": {"slope": 2.0, "floor": FLOOR},
                "stress": {"slope": 2.0, "floor": 0.001},
            },
            "noise_floor": FLOOR,
            "scores": None,
            "scored": scored,
        }

    def scored(self) -> Json:
        return {
            "energy_error": 0.004,
            "force_rmse": 0.1,
            "assessment": {"energy_sigma": 0.005, "energy_width": 0.002, "n": 4},
            "covered": {"energy_raw": 0.0, "energy": 1.0, "force_raw": 0.2, "force": 0.96},
        }

    def run_of_md(self, task: Task) -> Json:
        start = self.frame_of(task)
        steps = [20 * (k + 1) for k in range(len(self.sigma))]
        samples = [
            {"step": step, "temperature": 300.0, "frame": self.rattled(start).to_json()}
            for step in steps
        ]
        return {
            "outcome": "completed",
            "detail": "",
            "steps": task.inputs["plan"]["steps"],
            "samples": self.store.put_json(samples),
            "descriptors": self.descriptors(len(samples)),
            "sample_steps": steps,
            "temperatures": [300.0] * len(samples),
            "force_sigma": list(self.sigma),
        }

    def rattled(self, frame: Frame) -> Frame:
        positions = frame.positions + self.rng.normal(scale=0.05, size=frame.positions.shape)
        return Frame(
            numbers=frame.numbers, positions=positions, cell=frame.cell, magmoms=frame.magmoms
        )

    def descriptors(self, count: int) -> str:
        values = self.rng.normal(size=(count, SIZE_OF_DESCRIPTOR))
        return self.store.put_arrays(descriptors=values)

    def relaxed(self, frame: Frame) -> Json:
        return {
            "energy": self.energy(frame),
            "volume": frame.volume * (1 + self.rng.normal(scale=0.001)),
            "a": 2.9,
            "c": 14.2,
            "steps": 20,
            "converged": True,
        }

    def relaxation(self, task: Task) -> Json:
        frame = self.frame_of(task)
        return {
            **self.relaxed(frame),
            "frame": self.store.put_json(self.rattled(frame).to_json()),
            "compressibility": 30.0,
            "members": [self.relaxed(frame) for _ in range(4)],
            "descriptors": self.descriptors(1),
            "assessment": {"n": 4},
            "force_sigma": [0.06],
            "temperatures": [0.0],
            "sample_steps": [0],
        }

    def reference_relaxation(self, task: Task) -> Json:
        frame = self.frame_of(task)
        if len(frame) == 1:
            return {**self.relaxed(frame), "energy": LITHIUM_EV, "a": None, "c": None}
        return {**self.relaxed(frame), "frame": task.inputs["frame"]}

    def score(self, _: Task) -> Json:
        return {
            "records": self.store.put_json([]),
            "energy_rmse": 0.0041,
            "force_rmse": 0.109,
            "stress_rmse": 0.003,
            "coverage": {"energy_raw": 0.2, "energy": 0.95, "force_raw": 0.15, "force": 0.96},
        }


def _append(log: EventLog, events: Sequence[Event]) -> None:
    for event in events:
        log.append([(event.kind, event.data)], event.time)

"""What a potential campaign knows: a fold of its event log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from voltaloop.core import Event, Task
from voltaloop.thinker import MAX_ATTEMPTS

Json = Mapping[str, Any]
ENGINE_FAILURES = frozenset({"engine_failed", "not_converged"})
"""Refusals that speak against the engine; the others speak against the frame."""

Origin = Literal["start", "relaxed", "uncertain", "random", "audit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """An accepted label: artifacts of frame and label, where the frame came from."""

    task: str
    frame: str
    label: str
    origin: Origin
    x: float
    temperature: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """A finished run whose frames may be selected; ``at_rest``: a relaxation, with one frame."""

    task: str
    generation: int
    ordering: int
    at_rest: bool
    result: Json


@dataclass(slots=True)
class CampaignState:
    """Folded events. Generations count trainings from 0.

    purposes: what a task is for (origin, x, temperature ...), by task id; untrained_descriptors:
    where the descriptors (artifact, index) of selected frames lie until they are in training.
    """

    facts: Json = field(default_factory=dict)
    purposes: dict[str, Json] = field(default_factory=dict)
    labels: list[Labelled] = field(default_factory=list)
    audit: list[Labelled] = field(default_factory=list)
    refused: list[Json] = field(default_factory=list)
    label_failures_in_a_row: list[str] = field(default_factory=list)
    trainings: list[Json] = field(default_factory=list)
    trained_count: int = 0
    fresh_runs: list[Explored] = field(default_factory=list)
    audit_runs: list[Explored] = field(default_factory=list)
    explorations_started: int = 0
    selected: int = 0
    selected_random: int = 0
    untrained_descriptors: dict[str, tuple[str, int]] = field(default_factory=dict)
    relaxed: dict[tuple[int, int], Json] = field(default_factory=dict)
    reference_relaxed: dict[int, Json] = field(default_factory=dict)
    lithium: Json | None = None
    estimates: list[Json] = field(default_factory=list)
    score: Json | None = None
    stopped: str | None = None
    failed: str | None = None
    answer: Json | None = None

    def fold(self, event: Event, task: Task | None) -> None:
        """Take one event; ``task`` is the one that it ended."""
        data = event.data
        match event.kind:
            case "opened":
                self.facts = data
            case "purpose":
                self.purposes[data["task"]] = data
                self._count(data)
            case "finished" if task is not None:
                self._finished(task, data["result"])
            case "failed" if task is not None and data["attempt"] >= MAX_ATTEMPTS:
                self._gave_up(task, f"{data['reason']}: {data['detail']}")
            case "selected":
                self.fresh_runs = [r for r in self.fresh_runs if r.task not in data["runs"]]
            case "estimated":
                self.estimates.append(data)
            case "stopped":
                self.stopped = data["reason"]
            case "answered":
                self.answer = data["answer"]
            case "halted":
                self.failed = data["reason"]
            case _:
                pass

    @property
    def generation(self) -> int:
        """Of the latest committee; −1 before the first."""
        return len(self.trainings) - 1

    def _count(self, purpose: Json) -> None:
        match purpose["role"]:
            case "explore":
                self.explorations_started += 1
            case "relaxed" | "uncertain" | "random":
                self.selected += 1
                self.selected_random += purpose["role"] == "random"
                place = (purpose["descriptors"], purpose["index"])
                self.untrained_descriptors[purpose["task"]] = place
            case _:
                pass

    def _finished(self, task: Task, result: Json) -> None:
        purpose = self.purposes[task.id]
        match task.function:
            case "label":
                self._labelled(task, purpose, result)
            case "train":
                self.trainings.append(result)
                self.trained_count = purpose["count"]
                for one in self.labels[: self.trained_count]:
                    self.untrained_descriptors.pop(one.task, None)
            case "explore":
                self._explored(task, purpose, result)
            case "relax_committee":
                self.relaxed[purpose["generation"], purpose["ordering"]] = result
                if "refused" not in result:
                    self._explored(task, purpose, result)
            case "relax_reference" if purpose["role"] == "lithium":
                self.lithium = result
            case "relax_reference":
                self.reference_relaxed[purpose["ordering"]] = result
            case "score":
                self.score = result
            case _:
                raise ValueError(f"No campaign knows a task of function '{task.function}'")

    def _labelled(self, task: Task, purpose: Json, result: Json) -> None:
        if "refused" in result:
            self._refuse(task, purpose, result["refused"])
            return
        self.label_failures_in_a_row.clear()
        labelled = Labelled(
            task=task.id,
            frame=result["frame"],
            label=result["label"],
            origin=purpose["role"],
            x=purpose["x"],
            temperature=purpose["temperature"],
        )
        (self.audit if labelled.origin == "audit" else self.labels).append(labelled)

    def _refuse(self, task: Task, purpose: Json, refusal: Json) -> None:
        self.refused.append({"task": task.id, "role": purpose["role"], **refusal})
        if refusal["reason"] in ENGINE_FAILURES:
            self.label_failures_in_a_row.append(f"{refusal['reason']}: {refusal['detail']}")

    def _explored(self, task: Task, purpose: Json, result: Json) -> None:
        run = Explored(
            task=task.id,
            generation=purpose["generation"],
            ordering=purpose["ordering"],
            at_rest=task.function == "relax_committee",
            result=result,
        )
        (self.audit_runs if purpose["role"] == "audit" else self.fresh_runs).append(run)

    def _gave_up(self, task: Task, why: str) -> None:
        """A task whose worker failed for good: a missing result that the campaign can bear, or
        its end."""
        purpose = self.purposes[task.id]
        refusal = {"reason": "engine_failed", "detail": why}
        match task.function:
            case "label":
                self._refuse(task, purpose, refusal)
            case "relax_committee":
                self.relaxed[purpose["generation"], purpose["ordering"]] = {"refused": refusal}
            case "relax_reference" if purpose["role"] == "lithium":
                self.lithium = {"refused": refusal}
            case "relax_reference":
                self.reference_relaxed[purpose["ordering"]] = {"refused": refusal}
            case "explore":
                empty = {"outcome": "crashed", "detail": why, "steps": 0, "samples": None}
                self._explored(task, purpose, {**empty, "force_sigma": [], "sample_steps": []})
            case _:
                self.failed = f"{task.title} failed for good: {why}"

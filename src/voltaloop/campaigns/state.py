"""What a potential campaign knows: a fold of its event log."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from voltaloop.campaigns.cases import ENDINGS, Case, Cases
from voltaloop.core import Event, Task, canonical_json

Json = Mapping[str, Any]

Origin = Literal["start", "relaxed", "uncertain", "random", "audit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """An accepted label: artifacts of frame and label, where the frame came from.

    task: that gave it; case: id of the first try for this frame; moment_per_metal: μB;
    spin_alignment: 1 where all spins are parallel;
    by_person: somebody accepted what the gate had refused.
    """

    task: Task
    case: str
    frame: str
    label: str
    origin: Origin
    x: float
    temperature: float | None
    energy_per_atom: float
    moment_per_metal: float | None
    spin_alignment: float | None
    by_person: bool = False


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
    where the descriptors (artifact, index) of selected frames lie until they are in training;
    cases: refused calculations of the reference; stuck: what cannot go on; paused: why the
    session ended.
    """

    facts: Json = field(default_factory=dict)
    purposes: dict[str, Json] = field(default_factory=dict)
    labels: list[Labelled] = field(default_factory=list)
    audit: list[Labelled] = field(default_factory=list)
    cases: Cases = field(default_factory=Cases)
    trainings: list[Json] = field(default_factory=list)
    trained_count: int = 0
    fresh_runs: list[Explored] = field(default_factory=list)
    audit_runs: list[Explored] = field(default_factory=list)
    audit_begun: bool = False
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
    stuck: str | None = None
    paused: str | None = None
    failed: str | None = None
    answer: Json | None = None
    _sections: dict[str, Any] = field(default_factory=dict)

    def fold(self, event: Event, task: Task | None, *, given_up: bool) -> None:
        """Take one event; ``task`` is the one that it ended, ``given_up`` if for good."""
        data = event.data
        match event.kind:
            case "opened":
                self.facts = data
            case "purpose":
                self.purposes[data["task"]] = {sys.intern(key): data[key] for key in data}
                self._count(data)
            case "finished" if task is not None:
                self._finished(task, data["result"])
            case "failed" if task is not None and given_up:
                self._gave_up(task, data["reason"], data["detail"])
            case "selected":
                self.fresh_runs = [r for r in self.fresh_runs if r.task not in data["runs"]]
            case "estimated":
                self.estimates.append(data)
            case "withdrawn" | "quarantined" | "asked":
                self._fold_case(event.kind, data)
            case _:
                self._fold_course(event.kind, data)

    def _fold_course(self, kind: str, data: Json) -> None:
        """How the campaign as a whole goes on."""
        match kind:
            case "session":
                self._begin_session()
            case "paused":
                self.paused = data["reason"]
                self.cases.pause(data["cases"])
            case "stopped":
                self.stopped = data["reason"]
            case "answered":
                self.answer = data["answer"]
            case "halted":
                self.failed = data["reason"]
            case _:
                pass

    def _begin_session(self) -> None:
        self.cases.begin_session(after_pause=self.paused is not None)
        self.stuck = self.paused = None
        if self.audit_without_frames:
            self.audit_runs.clear()
            self.audit_begun = False

    def _fold_case(self, kind: str, data: Json) -> None:
        match kind:
            case "withdrawn":
                self._withdraw(data)
            case "quarantined":
                self._quarantine(self.cases.by_id[data["case"]])
            case _:
                self._do_as_asked(self.cases.taken_up(data), data["what"])

    @property
    def audit_without_frames(self) -> bool:
        """Whether there were audit runs, and none of them gave a frame."""
        return bool(self.audit_runs) and not any(r.result["force_sigma"] for r in self.audit_runs)

    @property
    def generation(self) -> int:
        """Of the latest committee; −1 before the first."""
        return len(self.trainings) - 1

    def _count(self, purpose: Json) -> None:
        if "case" in purpose:
            self.cases.try_again(purpose)
            return
        match purpose["role"]:
            case "explore":
                self.explorations_started += 1
            case "audit":
                self.audit_begun = True
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
                # What it says of single labels is for the report.
                self.trainings.append({key: result[key] for key in result if key != "scored"})
                self.trained_count = purpose["count"]
                for one in self.labels[: self.trained_count]:
                    self.untrained_descriptors.pop(one.case, None)
            case "explore":
                self._explored(task, purpose, result)
            case "relax_committee":
                self.relaxed[purpose["generation"], purpose["ordering"]] = result
                if "refused" not in result:
                    self._explored(task, purpose, result)
            case "relax_reference":
                self._reference_relaxed(task, purpose, result)
            case "score":
                self.score = result
            case _:
                raise ValueError(f"No campaign knows a task of function '{task.function}'")

    def _labelled(self, task: Task, purpose: Json, result: Json) -> None:
        if "refused" in result:
            self.cases.refuse(task, purpose, result)
            return
        self._accept(
            Labelled(
                task=self._with_shared_sections(task),
                case=purpose.get("case", task.id),
                frame=result["frame"],
                label=result["label"],
                origin=purpose["role"],
                x=purpose["x"],
                temperature=purpose["temperature"],
                energy_per_atom=result["energy_per_atom"],
                moment_per_metal=result.get("moment_per_metal"),
                spin_alignment=result.get("spin_alignment"),
            )
        )

    def _with_shared_sections(self, task: Task) -> Task:
        """The reference's options once in memory, not once for each of thousands of labels."""
        inputs = {
            key: self._sections.setdefault(canonical_json(value), value)
            if isinstance(value, Mapping)
            else value
            for key, value in task.inputs.items()
        }
        return replace(task, inputs=inputs)

    def _accept(self, labelled: Labelled) -> None:
        (self.audit if labelled.origin == "audit" else self.labels).append(labelled)
        self.cases.accept(labelled.case)

    def _reference_relaxed(self, task: Task, purpose: Json, result: Json) -> None:
        if "refused" in result:
            self.cases.refuse(task, purpose, result)
            return
        self._keep_relaxed(purpose, result)
        self.cases.accept(purpose.get("case", task.id))

    def _keep_relaxed(self, purpose: Json, result: Json) -> None:
        if purpose["role"] == "lithium":
            self.lithium = result
        else:
            self.reference_relaxed[purpose["ordering"]] = result

    def _withdraw(self, data: Json) -> None:
        """A label turned out to be wrong when others came in."""
        labels = self.audit if data["role"] == "audit" else self.labels
        one = next(one for one in labels if one.task.id == data["task"])
        labels.remove(one)
        refusal = {
            "reason": data["reason"],
            "detail": data["detail"],
            "label": one.label,
            "energy_per_atom": one.energy_per_atom,
            "moment_per_metal": one.moment_per_metal,
            "spin_alignment": one.spin_alignment,
        }
        result = {"frame": one.frame, "refused": refusal}
        self.cases.refuse(one.task, self.purposes[one.task.id], result)

    def _quarantine(self, case: Case) -> None:
        case.status = "quarantined"
        if case.task.function == "relax_reference":
            refused = {"reason": case.last.reason, "detail": case.last.detail}
            self._keep_relaxed(case.purpose, {"refused": refused})

    def _do_as_asked(self, case: Case | None, what: str) -> None:
        """What a person decided about a quarantined case; anything else comes too late."""
        if case is None:
            return
        if what != "accept":
            case.status = "begin_anew"
        elif (accepted := accepted_label(case)) is not None:
            self._accept(accepted)

    def _explored(self, task: Task, purpose: Json, result: Json) -> None:
        run = Explored(
            task=task.id,
            generation=purpose["generation"],
            ordering=purpose["ordering"],
            at_rest=task.function == "relax_committee",
            result=result,
        )
        (self.audit_runs if purpose["role"] == "audit" else self.fresh_runs).append(run)

    def _gave_up(self, task: Task, error: str, detail: str) -> None:
        """A task whose worker failed for good: a missing result that the campaign can bear, or
        its pause."""
        purpose, why = self.purposes[task.id], f"{error}: {detail}"
        refusal = {"reason": ENDINGS.get(error, "engine_failed"), "detail": why}
        match task.function:
            case "label" | "relax_reference":
                self.cases.refuse(task, purpose, {"refused": refusal})
            case "relax_committee":
                self.relaxed[purpose["generation"], purpose["ordering"]] = {"refused": refusal}
            case "explore":
                empty = {"outcome": "crashed", "detail": why, "steps": 0, "samples": None}
                self._explored(task, purpose, {**empty, "force_sigma": [], "sample_steps": []})
            case _:
                self.stuck = f"{task.title} failed for good: {why}"


def accepted_label(case: Case) -> Labelled | None:
    """The refused label of a case as if it had been accepted; None where there is none."""
    last = case.last
    if last.frame is None or last.label is None or last.energy_per_atom is None:
        return None
    if case.task.function != "label":
        return None
    return Labelled(
        task=case.task,
        case=case.id,
        frame=last.frame,
        label=last.label,
        origin=case.purpose["role"],
        x=case.purpose["x"],
        temperature=case.purpose["temperature"],
        energy_per_atom=last.energy_per_atom,
        moment_per_metal=last.moment_per_metal,
        spin_alignment=last.spin_alignment,
        by_person=True,
    )

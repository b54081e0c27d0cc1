"""From the event log to the records of the report."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from ase.data import chemical_symbols

from voltaloop.campaigns.file import capacity
from voltaloop.campaigns.folder import CampaignFolder
from voltaloop.campaigns.policy import PotentialPolicy, most_common
from voltaloop.core import EV_PER_A3_IN_GPA, MEV, ArtifactError, Event, Task
from voltaloop.report import (
    AuditRecord,
    CampaignHistory,
    CurveRecord,
    ExplorationRecord,
    LabelRecord,
    RefusalRecord,
    TaskRecord,
    TrainingRound,
)
from voltaloop.report.history import CampaignState as ShownState
from voltaloop.store import ArtifactStore, CampaignLock
from voltaloop.thinker import Mind
from voltaloop.uncertainty import Calibration, auto_trust, t_width

Json = Mapping[str, Any]
ROLES_IN_TRAINING = {"start", "relaxed", "uncertain", "random"}
FATES = {
    "open": "to be tried again",
    "begin_anew": "to be tried again",
    "under_way": "being tried again",
    "quarantined": "in quarantine",
    "accepted": "accepted later",
}
"""What became of a refused calculation, by the status of its case."""


def campaign_history(folder: CampaignFolder) -> CampaignHistory:
    """Everything that the report and the status show, from the log as it is now."""
    campaign, text = folder.campaign()
    reader = _Reader(PotentialPolicy(campaign, folder.artifacts), folder.artifacts)
    with folder.read_log() as log:
        for event in log.read():
            reader.take(event)
    state = reader.policy.state
    held = _is_held(folder)
    return CampaignHistory(
        name=campaign.name,
        campaign_text=text,
        answer=None if state.answer is None else reader.timed_answer(state.answer),
        versions=reader.versions,
        seed=campaign.seed,
        n_atoms=state.facts.get("n_atoms", 0),
        formula=state.facts.get("formula", campaign.material.structure),
        state=reader.shown_state(held=held),
        labels=reader.all_labels(),
        rounds=reader.finished_rounds(),
        curves=reader.curves(),
        tasks=reader.tasks(held=held),
        explorations=reader.explorations,
        audit=reader.audit(),
        refusals=reader.refusals(),
        notes=reader.notes(),
    )


def _is_held(folder: CampaignFolder) -> bool:
    """By another process: the one that asks holds it only while it ends its own session."""
    holder = CampaignLock.holder(folder.root)
    return holder is not None and (holder.pid, holder.host) != (os.getpid(), socket.gethostname())


class _Reader:
    """Folds the log once more, this time for people."""

    def __init__(self, policy: PotentialPolicy, store: ArtifactStore) -> None:
        self.policy = policy
        self.versions: Mapping[str, str] = {}
        self.labels: list[LabelRecord] = []
        self.explorations: list[ExplorationRecord] = []
        self._ended_at: dict[str, float] = {}
        self._store = store
        self._mind = Mind(policy, capacity(policy.campaign.resources))
        self._ledger = self._mind.ledger
        self._submitted: dict[str, tuple[Task, float]] = {}
        self._ended: list[TaskRecord] = []
        self._pending: dict[str, dict[str, Any]] = {}
        self._rounds: list[dict[str, Any]] = []
        self._covered: list[Json] = []
        self._repairs: list[str] = []
        self._unreadable: list[str] = []

    def take(self, event: Event) -> None:
        task = self._task_of(event)
        self._mind.fold(event)
        now = self._ledger.active_s
        match event.kind:
            case "session":
                self.versions = {"python": event.data["python"], **event.data["versions"]}
            case "submitted":
                submitted = Task.from_json(event.data["task"])
                self._submitted[submitted.id] = (submitted, now)
            case "finished" if task is not None:
                self._take_finished(event, task, now)
            case "failed" if task is not None:
                self._ended_at[task.id] = now
                self._end(task, now, "failed", None)
            case "restored":
                self._note_repair(event.data)
            case "withdrawn":
                self._take_back(event.data)
            case "asked" if event.data["what"] == "accept":
                self._take_accepted(event.data["case"], now)
            case "estimated":
                self._note_estimate(event.data)
            case _:
                pass

    def _task_of(self, event: Event) -> Task | None:
        if event.kind not in {"finished", "failed"}:
            return None
        return self._submitted[event.data["id"]][0]

    def _take_finished(self, event: Event, task: Task, now: float) -> None:
        result, cost = event.data["result"], event.data["ended"] - event.data["started"]
        self._ended_at[task.id] = now
        outcome = "refused" if "refused" in result else "done"
        self._end(task, now, outcome, event)
        purpose = self.policy.state.purposes[task.id]
        match task.function:
            case "label" if "refused" in result:
                pass
            case "label" if purpose["role"] in ROLES_IN_TRAINING:
                self._pending[result["label"]] = self._label_facts(result, purpose, now, cost)
            case "train":
                self._take_training(task, result, now, cost)
            case "explore":
                self.explorations.append(self._exploration(task, purpose, result, now))
            case _:
                pass

    def refusals(self) -> list[RefusalRecord]:
        """Every refused try, by cases."""
        return [
            RefusalRecord(
                time_s=self._ended_at[one.task],
                frame=(one.frame or "")[:64],
                reason=one.reason,
                detail=one.detail,
                title=case.task.title,
                tried=one.rung,
                fate=FATES[case.status],
            )
            for case in self.policy.state.cases.by_id.values()
            for one in case.tries
        ]

    def _take_back(self, data: Json) -> None:
        purpose = self.policy.state.purposes[data["task"]]
        last = self.policy.state.cases.by_id[purpose.get("case", data["task"])].last
        self._pending.pop(str(last.label), None)

    def _take_accepted(self, name: str, now: float) -> None:
        """A refused label that a person accepted."""
        case = self.policy.state.cases.by_id.get(name)
        if case is None or case.status != "accepted" or case.role not in ROLES_IN_TRAINING:
            return
        last = case.last
        result = {"frame": last.frame, "energy_per_atom": last.energy_per_atom}
        facts = self._label_facts(result, case.purpose, now, 0.0)
        self._pending[str(last.label)] = {**facts, "reason": "accepted by a person"}

    def _end(self, task: Task, now: float, outcome: str, event: Event | None) -> None:
        """``event``: the one with the Doer's own times, where it came to an end."""
        _, submitted = self._submitted[task.id]
        ended, length, cpu_s = now, 0.0, None
        if event is not None:
            ended = now - max(event.time - event.data["ended"], 0.0)
            length = event.data["ended"] - event.data["started"]
            cpu_s = event.data["cpu_s"]
        self._ended.append(
            TaskRecord(
                id=task.id,
                pool=task.pool,
                function=task.function,
                submitted_s=submitted,
                started_s=max(ended - length, submitted),
                ended_s=max(ended, submitted),
                outcome=outcome,
                cpu_s=cpu_s,
                title=task.title,
            )
        )

    def _label_facts(self, result: Json, purpose: Json, now: float, cost: float) -> dict[str, Any]:
        return {
            "frame": result["frame"][:64],
            "origin": purpose["role"],
            "x": purpose["x"],
            "temperature_K": purpose["temperature"],
            "time_s": now,
            "cost_s": cost,
            "energy_eV_per_atom": result["energy_per_atom"],
            "force_sigma_max": purpose.get("sigma"),
            "reason": purpose.get("reason", "strained and rattled ordering"),
        }

    def _take_training(self, task: Task, result: Json, now: float, cost: float) -> None:
        generation = self.policy.state.generation
        scored = result["scored"] or [None] * len(task.inputs["new"])
        for (_, label), score in zip(task.inputs["new"], scored, strict=True):
            facts = self._pending.pop(label)
            if score is not None:
                assessment = score["assessment"]
                facts |= {
                    "generation": generation - 1,
                    "energy_error_eV_per_atom": score["energy_error"],
                    "energy_sigma": assessment["energy_sigma"],
                    "energy_t_width": assessment["energy_width"],
                    "force_rmse": score["force_rmse"],
                }
                if facts["origin"] == "random":
                    self._covered.append(score["covered"])
            self.labels.append(LabelRecord(index=len(self.labels) + 1, **facts))
        self._rounds.append(self._round(generation, result, now, cost))

    def _round(self, generation: int, result: Json, now: float, cost: float) -> dict[str, Any]:
        held_out, chosen = result["held_out"], result["hyperparameters"]
        wanted = self.policy.campaign.select
        trust = auto_trust(
            result["noise_floor"],
            lower=wanted.lower_trust_eV_per_A,
            upper=wanted.upper_trust_eV_per_A,
        )
        stress = held_out.get("stress")
        return {
            "generation": generation,
            "time_s": now,
            "n_labels": len(self.labels),
            "heldout_energy_rmse_meV_per_atom": held_out["energy"] * MEV,
            "heldout_force_rmse_eV_per_A": held_out["force"],
            "heldout_stress_rmse_GPa": None if stress is None else stress * EV_PER_A3_IN_GPA,
            "weights": {key: value for key, value in chosen.items() if key != "ridge"},
            "ridge": chosen.get("ridge"),
            "cost_s": cost,
            "lower_trust": trust.lower,
            "upper_trust": trust.upper,
            **self._running_coverage(),
        }

    def _running_coverage(self) -> dict[str, Any]:
        """Of the random share so far, each scored before it entered training."""
        if not self._covered:
            return {}
        n = len(self._covered)
        means = {key: sum(one[key] for one in self._covered) / n for key in self._covered[0]}
        return {
            "n_scored": n,
            "coverage_energy_raw": means["energy_raw"],
            "coverage_energy": means["energy"],
            "coverage_force_raw": means["force_raw"],
            "coverage_force": means["force"],
        }

    def _note_repair(self, data: Json) -> None:
        title = self._submitted[data["id"]][0].title
        kind = "with another result" if data["replaced"] else "with the same result"
        self._repairs.append(f"Damaged or missing files of '{title}' were made again, {kind}.")

    def _note_estimate(self, data: Json) -> None:
        keys = (
            "volume_change_percent",
            "volume_change_err",
            "average_voltage_V",
            "average_voltage_err",
        )
        self._rounds[data["generation"]] |= {key: data[key] for key in keys}

    def _exploration(
        self, task: Task, purpose: Json, result: Json, now: float
    ) -> ExplorationRecord:
        plan = task.inputs["plan"]
        return ExplorationRecord(
            time_s=now,
            x=self.policy.state.facts["orderings"][purpose["ordering"]]["x"],
            ensemble=plan["ensemble"],
            temperature_from_K=plan["temperature_from"],
            temperature_to_K=plan["temperature_to"],
            steps=result["steps"],
            steps_planned=plan["steps"],
            outcome=result["outcome"],
            generation=purpose["generation"],
            max_force_sigma=result["force_sigma"],
            sigma_steps=result["sample_steps"],
        )

    def all_labels(self) -> list[LabelRecord]:
        """Labels in training, then those that wait for it."""
        first = len(self.labels) + 1
        waiting = [
            LabelRecord(index=first + i, **facts) for i, facts in enumerate(self._pending.values())
        ]
        return [*self.labels, *waiting]

    def finished_rounds(self) -> list[TrainingRound]:
        return [TrainingRound(**fields) for fields in self._rounds]

    def tasks(self, *, held: bool) -> list[TaskRecord]:
        """Ended tasks, then those under way: a pool runs them in the order they were submitted."""
        idle = dict(self._ledger.capacity) if held else dict.fromkeys(self._ledger.capacity, 0)
        under_way = []
        for flight in self._ledger.flights.values():
            task = flight.task
            submitted = self._submitted[task.id][1]
            idle[task.pool] -= 1
            runs = idle[task.pool] >= 0
            under_way.append(
                TaskRecord(
                    id=task.id,
                    pool=task.pool,
                    function=task.function,
                    submitted_s=submitted,
                    started_s=submitted if runs else None,
                    outcome="running" if runs else "waiting",
                    title=task.title,
                )
            )
        return [*self._ended, *under_way]

    def audit(self) -> list[AuditRecord]:
        state = self.policy.state
        if state.score is None:
            return []
        force = Calibration(**state.trainings[-1]["calibrations"]["force"])
        try:
            records = self._store.get_json(state.score["records"])
        except ArtifactError as err:
            self._unreadable.append(f"The frames of the audit cannot be shown. {err}")
            return []
        return [_audit_record(record, force) for record in records]

    def curves(self) -> list[CurveRecord]:
        """How the latest committee learned; empty for logs that do not tell."""
        trainings = self.policy.state.trainings
        name = trainings[-1].get("curves") if trainings else None
        if name is None:
            return []
        try:
            return [CurveRecord(**curve) for curve in self._store.get_json(name)]
        except ArtifactError as err:
            self._unreadable.append(f"How the latest committee learned cannot be shown. {err}")
            return []

    def timed_answer(self, answer: Json) -> dict[str, Any]:
        """The answer with the wall time of the whole campaign."""
        return {**answer, "wall_s": round(self._ledger.active_s, 1)}

    def shown_state(self, *, held: bool) -> ShownState:
        """``held``: whether another process runs the campaign at this moment."""
        state = self.policy.state
        if state.failed is not None:
            return "failed"
        if state.answer is not None:
            return "finished"
        return "running" if held else "paused"

    def notes(self) -> list[str]:
        state = self.policy.state
        notes = []
        if state.failed is not None:
            notes.append(f"The campaign ended without an answer: {state.failed}.")
        if state.paused is not None:
            notes.append(f"The campaign is paused: {state.paused}.")
        if waiting := state.cases.quarantine:
            counts = most_common(case.last.reason for case in waiting)
            notes.append(
                f"{len(waiting)} calculations are in quarantine ({counts}); "
                "`voltaloop quarantine` lists them."
            )
        notes += self._repairs + self._unreadable
        if state.lithium is not None and "energy" in state.lithium:
            reference = self.policy.campaign.reference
            dispersion = reference.options.get("dispersion", "the engine's default")
            notes.append(
                f"Voltages are against bcc Li from the same reference "
                f"({reference.engine}, dispersion: {dispersion}): "
                f"{state.lithium['energy']:.4f} eV per atom."
            )
        for run in state.audit_runs:
            if run.result["outcome"] != "completed":
                x = state.facts["orderings"][run.ordering]["x"]
                notes.append(
                    f"The audit run at x = {x:g} ended as {run.result['outcome']} after "
                    f"{run.result['steps']} steps: {run.result['detail']}"
                )
        return notes


def _audit_record(record: Json, force: Calibration) -> AuditRecord:
    assessment = record["assessment"]

    def gpa(stress: list[float] | None) -> list[float] | None:
        return None if stress is None else [value * EV_PER_A3_IN_GPA for value in stress]

    return AuditRecord(
        x=record["x"],
        temperature_K=record["temperature"],
        n_atoms=record["n_atoms"],
        reference_energy_eV_per_atom=record["reference_energy"],
        predicted_energy_eV_per_atom=record["predicted_energy"],
        energy_sigma=assessment["energy_sigma"],
        energy_t_width=assessment["energy_width"],
        reference_forces=record["reference_forces"],
        predicted_forces=record["predicted_forces"],
        force_sigma=force.sigma(record["force_s"]).tolist(),
        force_t_width=t_width(
            record["force_s"], None if record.get("own_force") else assessment["n"]
        ).tolist(),
        reference_stress=gpa(record["reference_stress"]),
        predicted_stress=gpa(record["predicted_stress"]),
        species=[chemical_symbols[z] for z in record.get("numbers", ())],
    )

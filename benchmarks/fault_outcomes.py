"""Compares what a campaign made of every frame with what the fault injector had planned for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from rich.table import Table

from voltaloop.campaigns import CampaignFolder
from voltaloop.campaigns.cases import Case
from voltaloop.campaigns.doers import relax_reference
from voltaloop.campaigns.minds import state_of
from voltaloop.campaigns.state import CampaignState
from voltaloop.core import Frame, Label, ReferenceFailure, Task
from voltaloop.references import Gate, label_frame
from voltaloop.testing import EXPECTED, KINDS, Faulty, planned_fault, tries
from voltaloop.testing.faults import FATES, MARK

ACCEPTED = "accepted"
SAME = 1e-9
"""Largest difference between two labels of one geometry, eV, eV/Å, eV/Å3 and μB."""

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What became of one frame that the campaign wanted a label for.

    kind, fate: of the fault that struck it, None without one; injections: tries that were spoilt;
    expected: "accepted" or the reasons that are right; came: "accepted", the reason of the
    quarantine, or what it was left as.
    """

    case: str
    kind: str | None
    fate: str | None
    injections: int
    expected: frozenset[str]
    came: str

    @property
    def right(self) -> bool:
        return self.came in self.expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """One campaign, examined. poisoned: artifacts of labels in training or audit that are not the
    wrapped reference's; relaxations: the same as ``endings`` for relaxations of the reference."""

    endings: Sequence[Ending]
    relaxations: Sequence[Ending]
    poisoned: Sequence[str]
    in_training: int
    in_audit: int

    @property
    def faulted(self) -> list[Ending]:
        return [one for one in self.endings if one.injections]

    @property
    def wrong(self) -> list[Ending]:
        return [one for one in [*self.endings, *self.relaxations] if not one.right]


def examine(folder: CampaignFolder, wraps: Json | None = None) -> Examination:
    """Every frame and every label of a campaign whose reference is ``faulty``.

    wraps: gives the same labels as the wrapped reference, in less time.
    """
    return _Examiner(folder, wraps).examination()


class _Examiner:
    def __init__(self, folder: CampaignFolder, wraps: Json | None) -> None:
        campaign, _ = folder.campaign()
        options = campaign.reference.options
        self.store = folder.artifacts
        self.state: CampaignState = state_of(folder)
        self.gate: Gate = campaign.reference.gate
        self.reference = Faulty(
            Faulty.Settings.model_validate({**options, "wraps": wraps or options["wraps"]})
        )
        self.met = tries(self.reference.settings.folder)
        with folder.read_log() as log:
            submitted = [e.data["task"] for e in log.read() if e.kind == "submitted"]
        self.tasks = {task["id"]: Task.from_json(task) for task in submitted}

    def examination(self) -> Examination:
        endings = [self.ending(task) for task in self.first_tries("label")]
        return Examination(
            endings=endings,
            relaxations=[self.relaxation(task) for task in self.first_tries("relax_reference")],
            poisoned=sorted(
                {label for frame, label in self.used if self.is_poisoned(frame, label)}
            ),
            in_training=len(self.trained | self.kept(self.state.labels)),
            in_audit=len(self.state.audit),
        )

    def first_tries(self, function: str) -> list[Task]:
        """The task that stands for its case: not those of the ladder, nor of new beginnings."""
        found = [task for task in self.tasks.values() if task.function == function]
        return [task for task in found if "case" not in self.state.purposes[task.id]]

    def ending(self, task: Task) -> Ending:
        frame = self.frame_of(task)
        met = [one for one in self.met.get(frame.digest, []) if one.injected]
        plan = planned_fault(self.reference.settings, frame)
        by_itself = self.refused_by_itself(frame)
        expected = {ACCEPTED} if by_itself is None else {by_itself}
        if met and plan is not None and plan.fate == "lasting":
            expected = set(EXPECTED[met[0].kind])
        return Ending(
            case=task.id,
            kind=met[0].kind if met else None,
            fate=plan.fate if met and plan is not None else None,
            injections=len(met),
            expected=frozenset(expected),
            came=self.came(task, {one.case for one in [*self.state.labels, *self.state.audit]}),
        )

    def relaxation(self, task: Task) -> Ending:
        """It labels many frames and meets the faults of all: any of them may be its end."""
        labelled = {self.frame_of(one).digest for one in self.first_tries("label")}
        met = [one for frame, found in self.met.items() if frame not in labelled for one in found]
        injected = [one for one in met if one.injected]
        reasons = {reason for one in injected for reason in EXPECTED[one.kind]}
        right = self.is_right_relaxation(task)
        return Ending(
            case=task.id,
            kind=None,
            fate=None,
            injections=len(injected),
            expected=frozenset({*reasons, ACCEPTED}),
            came=self.came(task, {task.id} if right else set()),
        )

    def came(self, task: Task, accepted: set[str]) -> str:
        case: Case | None = self.state.cases.by_id.get(task.id)
        if task.id in accepted:
            return ACCEPTED if case is None or case.status == ACCEPTED else f"also {case.status}"
        if case is None:
            return "unfinished"
        return case.last.reason if case.status == "quarantined" else f"left as {case.status}"

    def is_right_relaxation(self, task: Task) -> bool:
        wraps = dict(self.reference.settings.wraps)
        wrapped = {"engine": wraps.pop("engine"), "options": wraps}
        right = relax_reference({**task.inputs, "reference": wrapped}, self.store)
        role = self.state.purposes[task.id]
        kept = (
            self.state.lithium
            if role["role"] == "lithium"
            else self.state.reference_relaxed.get(role["ordering"])
        )
        return kept is not None and abs(kept.get("energy", np.inf) - right["energy"]) <= SAME

    def refused_by_itself(self, frame: Frame) -> str | None:
        """Why the gate refuses the frame, or the label of the wrapped reference."""
        try:
            label_frame(self.reference.wrapped, frame, self.gate)
        except ReferenceFailure as failure:
            return failure.reason
        return None

    @cached_property
    def trained(self) -> set[tuple[str, str]]:
        """(frame, label) of everything that any committee was ever trained on."""
        examples = [self.store.get_json(one["examples"]) for one in self.state.trainings]
        return {(frame, label) for pairs in examples for frame, label in pairs}

    @property
    def used(self) -> set[tuple[str, str]]:
        return self.trained | self.kept([*self.state.labels, *self.state.audit])

    def kept(self, labels: Iterable[Any]) -> set[tuple[str, str]]:
        return {(one.frame, one.label) for one in labels}

    def is_poisoned(self, frame_name: str, label_name: str) -> bool:
        frame = Frame.from_json(self.store.get_json(frame_name))
        label = Label.from_json(self.store.get_json(label_name))
        return MARK in label.details or not _same(label, self.reference.wrapped.label(frame))

    def frame_of(self, task: Task) -> Frame:
        if "frame" in task.inputs:
            return Frame.from_json(self.store.get_json(task.inputs["frame"]))
        samples = self.store.get_json(task.inputs["samples"])
        return Frame.from_json(samples[task.inputs["index"]]["frame"])


def _same(label: Label, right: Label) -> bool:
    pairs = [(getattr(label, name), getattr(right, name)) for name in _NUMBERS]
    return label.converged == right.converged and all(
        (one is None and other is None)
        or (one is not None and other is not None and np.allclose(one, other, rtol=0, atol=SAME))
        for one, other in pairs
    )


_NUMBERS = ("energy", "forces", "stress", "magmoms")


def outcome_table(endings: Iterable[Ending]) -> Table:
    """Right outcomes of all frames met by a fault, by kind and fate."""
    faulted = [one for one in endings if one.kind is not None]
    met = Counter((one.kind, one.fate) for one in faulted)
    right = Counter((one.kind, one.fate) for one in faulted if one.right)
    injections: Counter[str | None] = Counter()
    for one in faulted:
        injections[one.kind] += one.injections
    table = Table("kind", *FATES, "right", "wrong", "spoilt tries", title="right / met by a fault")
    for kind in KINDS:
        cells = [f"{right[kind, fate]} / {met[kind, fate]}" for fate in FATES]
        good = sum(right[kind, fate] for fate in FATES)
        bad = sum(met[kind, fate] for fate in FATES) - good
        table.add_row(kind, *cells, str(good), str(bad), str(injections[kind]))
    return table


def figures(examined: Sequence[Examination]) -> dict[str, Any]:
    """For the last line of a benchmark."""
    endings = [one for each in examined for one in each.endings]
    faulted = [one for one in endings if one.injections]
    kinds = Counter(str(one.kind) for one in faulted)
    return {
        "faults": len(faulted),
        "spoilt_tries": sum(one.injections for one in faulted),
        "right_percent": round(100 * sum(one.right for one in faulted) / max(len(faulted), 1), 2),
        "frames": len(endings),
        "frames_without_fault_wrong": sum(not one.right for one in endings if not one.injections),
        "relaxations_wrong": sum(not one.right for each in examined for one in each.relaxations),
        "quarantined": sum(one.came not in (ACCEPTED, "unfinished") for one in endings),
        "labels_in_training": sum(each.in_training for each in examined),
        "labels_in_audit": sum(each.in_audit for each in examined),
        "poisoned": sum(len(each.poisoned) for each in examined),
        **{f"faults_{kind}": kinds[kind] for kind in KINDS},
    }

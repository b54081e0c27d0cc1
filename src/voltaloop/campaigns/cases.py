"""Calculations of the reference that were refused: their tries, and what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from voltaloop.core import Task

Json = Mapping[str, Any]

ENDINGS = {
    "TaskTimeout": "timed_out",
    "TaskOutOfMemory": "out_of_memory",
    "MemoryError": "out_of_memory",
    "WorkerDied": "crashed",
    "WorkerLost": "crashed",
}
"""Why there is no label when the worker could not finish: the reason of each class of error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One refused calculation.

    rung: what was tried, empty for the engine's own options; frame, label: artifacts, where there
    are any; energy_per_atom in eV, moment_per_metal in μB, spin_alignment: of that label; files:
    name → artifact of what the engine wrote.
    """

    task: str
    rung: str
    reason: str
    detail: str
    frame: str | None = None
    label: str | None = None
    energy_per_atom: float | None = None
    moment_per_metal: float | None = None
    spin_alignment: float | None = None
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Case:
    """A calculation of the reference that was refused at least once.

    task, purpose: of the first try, whose id is the case's. rung: place in the ladder of the latest
    try, −1 for the engine's own options. again: how often it was begun anew from there. "open":
    the next step is to be decided.
    """

    task: Task
    purpose: Json
    tries: list[Try] = field(default_factory=list)
    rung: int = -1
    again: int = 0
    status: Literal["open", "begin_anew", "under_way", "quarantined", "accepted"] = "open"

    @property
    def id(self) -> str:
        return self.task.id

    @property
    def role(self) -> str:
        """What the calculation was for."""
        return str(self.purpose["role"])

    @property
    def last(self) -> Try:
        return self.tries[-1]


@dataclass(slots=True)
class Cases:
    """All cases of a campaign, by id, oldest first.

    failing: the cases refused since the last good label of this session, the latest last, with its
    reason.
    """

    by_id: dict[str, Case] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)
    _requests: set[str] = field(default_factory=set)
    _to_begin_anew: list[str] = field(default_factory=list)

    @property
    def quarantine(self) -> list[Case]:
        """Cases without a good label after everything that the ladder offers."""
        return [case for case in self.by_id.values() if case.status == "quarantined"]

    @property
    def failing_for_good(self) -> list[str]:
        """Cases of the present streak for which the ladder had nothing left."""
        return [name for name in self.failing if self.by_id[name].status == "quarantined"]

    def refuse(self, task: Task, purpose: Json, result: Json) -> None:
        """Take a refused result; ``purpose`` names the case unless this is the first try."""
        refusal = result["refused"]
        name = purpose.get("case", task.id)
        case = self.by_id.setdefault(name, Case(task=task, purpose=purpose))
        case.status = "open"
        case.tries.append(
            Try(
                task=task.id,
                rung=purpose.get("rung", ""),
                reason=refusal["reason"],
                detail=refusal["detail"],
                frame=result.get("frame"),
                label=refusal.get("label"),
                energy_per_atom=refusal.get("energy_per_atom"),
                moment_per_metal=refusal.get("moment_per_metal"),
                spin_alignment=refusal.get("spin_alignment"),
                files=refusal.get("files", {}),
            )
        )
        self.failing.pop(name, None)  # so that the latest comes last
        self.failing[name] = refusal["reason"]

    def accept(self, name: str) -> None:
        """There is a good label; ``name`` need not be a case."""
        self.failing.clear()
        if name in self.by_id:
            self.by_id[name].status = "accepted"

    def try_again(self, purpose: Json) -> None:
        case = self.by_id[purpose["case"]]
        case.rung, case.again = purpose["rung_index"], purpose["again"]
        case.status = "under_way"

    def pause(self, names: Iterable[str]) -> None:
        """Which cases the next session begins anew, beside those that still fail until then: what
        they failed with should be mended."""
        self._to_begin_anew = list(names)

    def begin_session(self, *, after_pause: bool) -> None:
        ended = [n for n in self.failing if self.by_id[n].status in {"quarantined", "open"}]
        anew = [*self._to_begin_anew, *ended] if after_pause else []
        for name in anew:
            self.by_id[name].status = "begin_anew"
        self._to_begin_anew = []
        self.failing.clear()

    def taken_up(self, request: Json) -> Case | None:
        """The quarantined case that a person's request is about; None where it comes too late."""
        if request["request"] in self._requests:
            return None
        self._requests.add(request["request"])
        case = self.by_id.get(request["case"])
        return case if case is not None and case.status == "quarantined" else None

"""Fold and decide: the part of the Thinker that has no clock, no files and no processes.

The log holds two sorts of events. External ones came from outside (a task ended, a session
started, the clock passed a mark); all others are decisions. The same external events always give
the same decisions, so a log can be replayed and compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from voltaloop.core.events import Event, Task
from voltaloop.core.hashing import canonical_json
from voltaloop.thinker.ledger import Ledger

EXTERNAL = frozenset({"opened", "session", "finished", "failed", "clock", "asked", "restored"})
"""Events from outside; "asked" by a person, "restored": a damaged artifact was made again."""

Draft = tuple[str, Mapping[str, Any]]
"""What is to become an event: (kind, data)."""


class Policy(Protocol):
    """What a campaign knows and wants. Methods must not look at the clock or at random numbers."""

    def fold(self, event: Event, flight_task: Task | None, *, given_up: bool) -> None:
        """Take an event into the state; ``flight_task`` is the task that the event ended.

        ``given_up``: it failed for good, and is not tried again by itself.
        """

    def decide(self, ledger: Ledger) -> Sequence[Draft | Task]:
        """What to do now: events to record, tasks to run. Called again until it returns nothing.

        Random choices are seeded by the ledger's ``position``.
        """

    def over(self) -> bool:
        """Whether nothing is left to decide."""


class Mind:
    """A policy and the engine's ledger, folded together."""

    def __init__(self, policy: Policy, capacity: Mapping[str, int]) -> None:
        self.policy = policy
        self.ledger = Ledger(capacity)
        self.seq = 0

    def fold(self, event: Event) -> None:
        """Take one event, of whichever sort, without deciding anything."""
        if event.seq != self.seq + 1:
            raise ValueError(f"Event {event.seq} cannot follow event {self.seq}")
        ended = event.data.get("id") if event.kind in {"finished", "failed"} else None
        flight = self.ledger.flights.get(str(ended)) if ended is not None else None
        self.ledger.fold(event)
        task = None if flight is None else flight.task
        given_up = task is not None and task.id in self.ledger.given_up
        self.policy.fold(event, task, given_up=given_up)
        self.seq = event.seq

    def react(self, draft: Draft, now: float) -> list[Event]:
        """Fold an external event and all decisions it leads to; returns them in order."""
        events = [self._take(draft, now)]
        events += [self._take(retry, now) for retry in self._retries(events[0])]
        while decisions := self.policy.decide(self.ledger):
            for decision in decisions:
                drafted = self._submission(decision) if isinstance(decision, Task) else decision
                events.append(self._take(drafted, now))
        return events

    def _take(self, draft: Draft, now: float) -> Event:
        kind, data = draft
        text = canonical_json(dict(data))
        event = Event(seq=self.seq + 1, time=now, kind=kind, data=json.loads(text), text=text)
        self.fold(event)
        return event

    def _submission(self, task: Task) -> Draft:
        if task.id in self.ledger.known and task.id not in self.ledger.given_up:
            raise ValueError(f"Task '{task.title}' was submitted before; its result is in the log")
        return "submitted", {"task": task.to_json(), "attempt": 1}

    def _retries(self, event: Event) -> list[Draft]:
        """A failed task is run again until it is given up."""
        if event.kind != "failed" or event.data["id"] in self.ledger.given_up:
            return []
        return [("submitted", {"task": event.data["task"], "attempt": event.data["attempt"] + 1})]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Where a replay decided otherwise than the log says."""

    seq: int
    logged: str
    replayed: str


def replay(events: Iterable[Event], mind: Mind) -> list[Mismatch]:
    """Feed a log's external events to a fresh mind and compare its decisions with the log's."""
    mismatches: list[Mismatch] = []
    expected: list[Event] = []
    for event in events:
        if event.kind in EXTERNAL:
            mismatches += [_mismatch(left, None) for left in expected]
            expected = mind.react((event.kind, event.data), event.time)[1:]
            continue
        decided = expected.pop(0) if expected else None
        if decided is None or (decided.kind, decided.data) != (event.kind, event.data):
            mismatches.append(_mismatch(decided, event))
            return mismatches
    return mismatches + [_mismatch(left, None) for left in expected]


def _mismatch(decided: Event | None, logged: Event | None) -> Mismatch:
    def text(event: Event | None) -> str:
        return "nothing" if event is None else f"{event.kind} {canonical_json(dict(event.data))}"

    seq = next(e.seq for e in (logged, decided) if e is not None)
    return Mismatch(seq=seq, logged=text(logged), replayed=text(decided))

"""The engine's own part of the state: which tasks run, which ended, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from voltaloop.core.events import Event, Task

MAX_ATTEMPTS = 3
"""A task that failed this often in one way is given up; the campaign goes on."""

OTHER_ATTEMPTS: Mapping[str, int] = {
    "TaskTimeout": 2,
    "TaskOutOfMemory": 2,
    "MemoryError": 2,
    "WorkerLost": 20,
    "TaskInterrupted": 20,
}
"""What is likely to come back is tried less often, what is not the task's fault more often."""


def attempts_allowed(reason: str) -> int:
    """How many failures of this kind (the error's class name) one task may have."""
    return OTHER_ATTEMPTS.get(reason, MAX_ATTEMPTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """A task under way: its attempt counts from 1."""

    task: Task
    attempt: int


@dataclass(slots=True)
class Ledger:
    """Folds the engine's events.

    position: how far the campaign has come, the same however often it was interrupted: events that
    only tell of interruptions and failed attempts do not count. Random choices are seeded by it.
    capacity: workers per pool; known: every task ever submitted, with its place in the order of
    first submissions; given_up: tasks that failed for good in this session, with the
    reason; failures_in_a_row, last_failures: failed attempts since the last success in this session
    and the latest one's reason, by function.
    """

    capacity: Mapping[str, int]
    flights: dict[str, Flight] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    given_up: dict[str, str] = field(default_factory=dict)
    failures_in_a_row: Counter[str] = field(default_factory=Counter)
    last_failures: dict[str, str] = field(default_factory=dict)
    position: int = 0
    opened_at: float = 0.0
    active_s: float = 0.0
    marks: set[str] = field(default_factory=set)
    last_time: float = 0.0
    _strikes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def fold(self, event: Event) -> None:
        self.position += not _is_interruption(event)
        self.opened_at = self.opened_at or event.time
        if event.kind != "session" and self.last_time:
            self.active_s += max(event.time - self.last_time, 0.0)
        self.last_time = event.time
        match event.kind:
            case "submitted":
                task = Task.from_json(event.data["task"])
                attempt = int(event.data["attempt"])
                self.flights[task.id] = Flight(task=task, attempt=attempt)
                self.known.setdefault(task.id, len(self.known))
                self.given_up.pop(task.id, None)
            case "finished":
                flight = self.flights.pop(event.data["id"])
                self.failures_in_a_row[flight.task.function] = 0
            case "failed":
                self._failed(self.flights.pop(event.data["id"]), event)
            case "session":
                self.failures_in_a_row.clear()
                self.last_failures.clear()
            case "clock":
                self.marks.add(event.data["mark"])
            case _:
                pass

    def _failed(self, flight: Flight, event: Event) -> None:
        task, reason = flight.task, str(event.data["reason"])
        self.failures_in_a_row[task.function] += 1
        self.last_failures[task.function] = f"{reason}: {event.data['detail']}"
        self._strikes[task.id, reason] += 1
        if self._strikes[task.id, reason] >= attempts_allowed(reason):
            self.given_up[task.id] = reason
            del self._strikes[task.id, reason]

    def in_order(self) -> list[Flight]:
        """The tasks under way, the one that was submitted first comes first."""
        return sorted(self.flights.values(), key=lambda flight: self.known[flight.task.id])

    def running(self, pool: str) -> int:
        return sum(flight.task.pool == pool for flight in self.flights.values())

    def free(self, pool: str) -> int:
        """Workers of the pool that have nothing to do."""
        return max(self.capacity[pool] - self.running(pool), 0)

    def active_now(self, now: float) -> float:
        """Seconds that the campaign has been running, pauses between sessions left out."""
        return self.active_s + max(now - self.last_time, 0.0) if self.last_time else 0.0


def _is_interruption(event: Event) -> bool:
    repeated = event.kind == "submitted" and event.data["attempt"] > 1
    return repeated or event.kind in {"session", "failed", "restored"}

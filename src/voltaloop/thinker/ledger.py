"""The engine's own part of the state: which tasks run, which ended, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from voltaloop.core.events import Event, Task

MAX_ATTEMPTS = 3
"""A task whose worker failed this often is given up (quarantined), the campaign goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """A task under way: its attempt counts from 1."""

    task: Task
    attempt: int


@dataclass(slots=True)
class Ledger:
    """Folds the engine's events.

    capacity: workers per pool; failures_in_a_row, last_failures: failed attempts since the last
    success and the latest one's reason, by function.
    """

    capacity: Mapping[str, int]
    flights: dict[str, Flight] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    given_up: dict[str, str] = field(default_factory=dict)
    failures_in_a_row: Counter[str] = field(default_factory=Counter)
    last_failures: dict[str, str] = field(default_factory=dict)
    opened_at: float = 0.0
    active_s: float = 0.0
    marks: set[str] = field(default_factory=set)
    _last_time: float = 0.0

    def fold(self, event: Event) -> None:
        self.opened_at = self.opened_at or event.time
        if event.kind != "session" and self._last_time:
            self.active_s += max(event.time - self._last_time, 0.0)
        self._last_time = event.time
        match event.kind:
            case "submitted":
                task = Task.from_json(event.data["task"])
                attempt = int(event.data["attempt"])
                self.flights[task.id] = Flight(task=task, attempt=attempt)
                self.known.add(task.id)
            case "finished":
                flight = self.flights.pop(event.data["id"])
                self.failures_in_a_row[flight.task.function] = 0
            case "failed":
                flight = self.flights.pop(event.data["id"])
                self.failures_in_a_row[flight.task.function] += 1
                self.last_failures[flight.task.function] = (
                    f"{event.data['reason']}: {event.data['detail']}"
                )
                if flight.attempt >= MAX_ATTEMPTS:
                    self.given_up[flight.task.id] = str(event.data["reason"])
            case "clock":
                self.marks.add(event.data["mark"])
            case _:
                pass

    def running(self, pool: str) -> int:
        return sum(flight.task.pool == pool for flight in self.flights.values())

    def free(self, pool: str) -> int:
        """Workers of the pool that have nothing to do."""
        return max(self.capacity[pool] - self.running(pool), 0)

    def active_now(self, now: float) -> float:
        """Seconds that the campaign has been running, pauses between sessions left out."""
        return self.active_s + max(now - self._last_time, 0.0) if self._last_time else 0.0

"""The loop around the mind: submit, wait, write down, decide, submit.

An event is on disk before it acts, and a result before it is used: every round writes all its
events in one transaction and submits tasks only afterwards.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any, Protocol

from voltaloop.core.events import Event, Task
from voltaloop.core.hashing import canonical_json
from voltaloop.thinker.ledger import Flight
from voltaloop.thinker.mind import Draft, Mind

WAIT_LIMIT_S = 0.5
"""No wait is longer, so that a stop request or a passed time mark is seen at once."""


class Log(Protocol):
    """Where events are kept."""

    def write(self, events: Sequence[Event]) -> None:
        """Write all in one transaction: on disk when it returns. Raises when another process has
        written since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a Doer's run gave: a JSON result, when it ran (unix seconds) and its CPU seconds."""

    result: Mapping[str, Any]
    started: float
    ended: float
    cpu_s: float

    def to_json(self) -> dict[str, Any]:
        return {
            "result": dict(self.result),
            "started": self.started,
            "ended": self.ended,
            "cpu_s": self.cpu_s,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        return cls(**{name: data[name] for name in ("result", "started", "ended", "cpu_s")})


class Steering:
    """Drives a mind: one thread, one writer of the log.

    submit: starts a task in its pool and returns a future of an :class:`Outcome`; marks: seconds
    of active time → name of the clock event to record when they have passed; inbox: external
    events that a person asked for since the last call; environment: errors of a Doer that say
    nothing of its task (a full disk): steering ends with the first one, and the task counts as
    under way; watch: called with the new events after every round (progress bars).

    Times come from a clock that cannot jump: the wall clock at the start plus what a monotonic one
    has counted since, and never before the log's last event.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that the loop touches
        self,
        mind: Mind,
        log: Log,
        submit: Callable[[Task], Future[Outcome]],
        *,
        marks: Mapping[str, float],
        inbox: Callable[[], Sequence[Draft]] = list,
        environment: tuple[type[Exception], ...] = (),
        describe_failure: Callable[[BaseException], str] = repr,
        watch: Callable[[Sequence[Event]], None] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._mind = mind
        self._log = log
        self._submit = submit
        self._marks = marks
        self._inbox = inbox
        self._environment = environment
        self._describe_failure = describe_failure
        self._watch = watch
        self._clock = clock or steady_clock(mind.ledger.last_time)
        self._running: dict[str, Future[Outcome]] = {}
        self._done: queue.SimpleQueue[tuple[Flight, Future[Outcome]]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._trouble: Exception | None = None

    def stop(self) -> None:
        """Ask for a clean end; safe to call from a signal handler."""
        self._stop.set()

    def run(self, first: Sequence[Draft]) -> bool:
        """Steer until the policy is over (True) or a stop was asked for (False).

        first: the external events that this session begins with. Tasks that were under way when
        the last session ended are run again. Raises the error of a Doer that is one of
        ``environment``, and what the log raises when it cannot be written.
        """
        for flight in self._mind.ledger.in_order():
            self._start(flight)
        self._round(first)
        while not self._mind.policy.over():
            if self._stop.is_set():
                return False
            drafts = self._wait()
            if drafts:
                self._round(drafts)
            if self._trouble is not None:
                raise self._trouble
        return True

    def drain(self, seconds: float) -> None:
        """Wait for running tasks up to ``seconds`` and write down what they give.

        Tasks that no worker has begun are taken back. What is decided meanwhile is written too;
        both are started by the next session.
        """
        for future in list(self._running.values()):
            future.cancel()
        end = time.monotonic() + seconds
        while self._running and (left := end - time.monotonic()) > 0:
            if drafts := self._ended(min(left, WAIT_LIMIT_S)):
                self._round(drafts, act=False)

    def _round(self, drafts: Sequence[Draft], *, act: bool = True) -> None:
        now = self._clock()
        events = [event for draft in drafts for event in self._mind.react(draft, now)]
        self._write(events)
        for event in events:
            if act and event.kind == "submitted":
                self._start(self._mind.ledger.flights[event.data["task"]["id"]])

    def _write(self, events: Sequence[Event]) -> None:
        self._log.write(events)
        if self._watch is not None:
            self._watch(events)

    def _start(self, flight: Flight) -> None:
        try:
            future = self._submit(flight.task)
        except Exception as err:  # noqa: BLE001 - a pool that takes no task fails this task
            future = Future()
            future.set_exception(err)
        self._running[flight.task.id] = future
        future.add_done_callback(lambda done: self._done.put((flight, done)))

    def _wait(self) -> list[Draft]:
        """Ended tasks (all there are, at least after one wait), passed marks, what was asked."""
        return [*self._ended(WAIT_LIMIT_S), *self._passed_marks(), *self._inbox()]

    def _ended(self, seconds: float) -> list[Draft]:
        drafts: list[Draft] = []
        try:
            drafts += self._draft(*self._done.get(timeout=seconds))
            while True:
                drafts += self._draft(*self._done.get_nowait())
        except queue.Empty:
            return drafts

    def _draft(self, flight: Flight, future: Future[Outcome]) -> list[Draft]:
        del self._running[flight.task.id]
        try:
            outcome = _checked(future.result().to_json())
        except CancelledError:
            return []
        except self._environment as err:
            self._trouble = err
            return []
        except Exception as err:  # noqa: BLE001 - any failure of a Doer is data, not an end
            failure = {
                "id": flight.task.id,
                "task": flight.task.to_json(),
                "attempt": flight.attempt,
                "reason": type(err).__name__,
                "detail": str(err),
                "traceback": self._describe_failure(err),
            }
            return [("failed", failure)]
        return [("finished", {"id": flight.task.id, **outcome})]

    def _passed_marks(self) -> list[Draft]:
        ledger = self._mind.ledger
        active = ledger.active_now(self._clock())
        return [
            ("clock", {"mark": mark, "active_s": round(active, 3)})
            for mark, seconds in self._marks.items()
            if mark not in ledger.marks and active >= seconds
        ]


def steady_clock(not_before: float) -> Callable[[], float]:
    """Seconds since 1970 that never jump: setting the machine's clock does not move it."""
    start = max(time.time(), not_before)
    began = time.monotonic()
    return lambda: start + time.monotonic() - began


def _checked(outcome: dict[str, Any]) -> dict[str, Any]:
    """Raise ValueError for what an event cannot hold: that is a failure of its Doer."""
    try:
        canonical_json(outcome)
    except (TypeError, ValueError) as err:
        raise ValueError(
            f"The result cannot be stored as JSON: {err}. Expected text, finite numbers, booleans, "
            "null, lists and mappings."
        ) from err
    return outcome

"""What both sides of the steering benchmark share: the task, the loads, and what is measured."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

WORKERS = 2
PAYLOAD = "payload " * 16
"""Goes in with every task and comes back with its result: 128 bytes."""

LIMIT_S = 120.0
"""No load and no start takes longer, or the benchmark ends with an error."""


def rest(index: int, seconds: float, payload: str) -> dict[str, Any]:
    """The task: sleeps ``seconds`` (none at all for 0) and says how long it really ran."""
    start = time.perf_counter()
    if seconds > 0:
        time.sleep(seconds)
    return {"index": index, "payload": payload, "ran_s": time.perf_counter() - start}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """``count`` tasks of ``seconds`` each, ``window`` of them submitted and not yet ended.

    A window as large as the count is a batch submitted at once; a window of 1 is one at a time.
    salt: makes the tasks of this load other than those of any other.
    """

    count: int
    seconds: float
    window: int
    salt: int

    def inputs(self, index: int) -> dict[str, Any]:
        """The keyword arguments of :func:`rest` for one task."""
        return {
            "index": self.salt * 1_000_000 + index,
            "seconds": self.seconds,
            "payload": PAYLOAD,
        }


@dataclass(slots=True, kw_only=True)
class Progress:
    """Which tasks of a load were asked for and which ended, with their times.

    ran_s: seconds inside the task, summed; beyond_s: of every task, the seconds from asking for it
    to having its result, less those inside it.
    """

    load: Load
    asked: dict[int, float] = field(default_factory=dict)
    sent: int = 0
    ended: int = 0
    ran_s: float = 0.0
    beyond_s: list[float] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return self.ended == self.load.count

    def next_inputs(self) -> list[dict[str, Any]]:
        """Inputs of the tasks to ask for now, so that the window is full."""
        room = min(self.load.window - (self.sent - self.ended), self.load.count - self.sent)
        made = [self.load.inputs(self.sent + i) for i in range(room)]
        self.sent += len(made)
        self.asked |= dict.fromkeys((one["index"] for one in made), time.perf_counter())
        return made

    def take(self, result: dict[str, Any]) -> None:
        """A task ended with this result of :func:`rest`."""
        round_trip = time.perf_counter() - self.asked.pop(result["index"])
        self.beyond_s.append(round_trip - result["ran_s"])
        self.ran_s += result["ran_s"]
        self.ended += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a load gave. events, bytes: of the event log that it left, where there is one."""

    count: int
    wall_s: float
    ran_s: float
    beyond_s: list[float]
    events: int = 0
    bytes: int = 0


def measured(progress: Progress, wall_s: float, *, events: int = 0, size: int = 0) -> Measured:
    """The figures of a load that is over."""
    return Measured(
        count=progress.load.count,
        wall_s=wall_s,
        ran_s=progress.ran_s,
        beyond_s=progress.beyond_s,
        events=events,
        bytes=size,
    )


@contextmanager
def answers() -> Iterator[TextIO]:
    """The channel to the benchmark; whatever else is printed goes to standard error."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        os.dup2(2, 1)
        yield channel


def serve(measure: Callable[[Load], Measured], channel: TextIO) -> None:
    """Measure the loads that come as lines on standard input, until it ends."""
    print(json.dumps({"ready": os.getpid()}), file=channel, flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(measure(Load(**json.loads(line))))), file=channel, flush=True)


def parsl_executor(folder: Path) -> Any:
    """Parsl's HighThroughputExecutor on this machine with the benchmark's two workers."""
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    return HighThroughputExecutor(
        label="steering",
        address="127.0.0.1",
        max_workers_per_node=WORKERS,
        worker_logdir_root=str(folder),
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),  # type: ignore[no-untyped-call]
    )

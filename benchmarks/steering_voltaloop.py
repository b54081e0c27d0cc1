"""The voltaloop side of the steering benchmark; started by steering.py.

The real engine: Steering, Mind and the event log in SQLite on disk, every event written before it
acts.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from steering_doer import perform
from steering_work import WORKERS, Load, Measured, Progress, answers, measured, serve

from voltaloop.core import Event, Task
from voltaloop.executors.catalogue import EXECUTORS, PoolWork
from voltaloop.store import EventLog
from voltaloop.thinker import Ledger, Mind, Steering

SETTINGS = {
    "local": {"workers": WORKERS},
    "parsl": {"workers_per_node": WORKERS, "init_blocks": 1, "min_blocks": 1},
}


class KeepBusy:
    """A policy that keeps a load's window full; it times tasks, which a real one must not.

    One task comes before the load, so that the log is open and written to when the load begins.
    """

    def __init__(self, load: Load) -> None:
        self.progress = Progress(load=load)
        self.began = 0.0
        self._first = Progress(load=Load(count=1, seconds=0.0, window=1, salt=0))

    def fold(self, event: Event, _: Task | None, *, given_up: bool) -> None:
        if event.kind == "finished":
            self._present().take(event.data["result"])
        elif event.kind == "failed" or given_up:
            raise RuntimeError(f"A task failed: {event.data['reason']}: {event.data['detail']}")

    def decide(self, _: Ledger) -> Sequence[Task]:
        if self._first.over:
            self.began = self.began or time.perf_counter()
        return [
            Task(function="rest", version=1, pool="work", inputs=inputs, title="rest")
            for inputs in self._present().next_inputs()
        ]

    def over(self) -> bool:
        return self.progress.over

    def _present(self) -> Progress:
        return self.progress if self._first.over else self._first


def measure(load: Load, *, pool: Executor, folder: Path) -> Measured:
    """Steer the load in its own campaign, from its first decision to its last event on disk."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        path = Path(name) / "events.sqlite"
        with EventLog.open(path) as log:
            policy = KeepBusy(load)
            mind = Mind(policy, {"work": WORKERS})
            steering = Steering(mind, log, lambda task: pool.submit(perform, task), marks={})
            steering.run([("opened", {})])
            wall_s, events = time.perf_counter() - policy.began, log.count()
        return measured(policy.progress, wall_s, events=events, size=path.stat().st_size)


def start_pool(executor: str, folder: Path) -> Executor:
    """The pool that a campaign file with these settings would get."""
    pool = EXECUTORS.load(executor)
    settings = pool.Settings.model_validate(SETTINGS[executor])
    return pool(settings).start(PoolWork(name="work", folder=folder, preload="steering_doer"))


def main() -> None:
    executor, folder = sys.argv[1], Path(sys.argv[2])
    with answers() as channel, start_pool(executor, folder) as pool:
        serve(partial(measure, pool=pool, folder=folder), channel)


if __name__ == "__main__":
    main()

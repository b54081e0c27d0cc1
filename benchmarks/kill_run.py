"""Runs a campaign whose results arrive in the order in which their tasks were first submitted.

``python kill_run.py FILE FOLDER``: like ``voltaloop run FILE --out FOLDER --quiet``. What a
campaign decides hangs on the order of its results, which no two runs share; with a fixed order, two
runs must give the same labels, whatever was killed in between.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from voltaloop.campaigns import CampaignFolder, read_campaign_file, run_campaign, running
from voltaloop.campaigns.pools import started_pools
from voltaloop.core import Task
from voltaloop.thinker import Outcome, attempts_allowed


class InOrder:
    """Holds results back until those of all earlier tasks have been handed on."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._arrived: dict[int, Callable[[], None]] = {}
        self._failures: Counter[tuple[str, str]] = Counter()
        self._next = 0
        self._lock = threading.RLock()

    def submit(self, executor: Executor, run: Any, root: str, task: Task) -> Future[Outcome]:
        with self._lock:
            place = self._places.setdefault(task.id, len(self._places))
        told: Future[Outcome] = Future()
        inner = executor.submit(run, root, task)
        inner.add_done_callback(lambda done: self._take(place, task, done, told))
        return told

    def _take(self, place: int, task: Task, done: Future[Any], told: Future[Outcome]) -> None:
        try:
            result = done.result()
        except CancelledError:
            told.cancel()
        except Exception as err:  # noqa: BLE001 - handed on
            told.set_exception(err)
            self._count(place, task, type(err).__name__)
        else:
            self._hand_on(place, lambda: told.set_result(result))

    def _count(self, place: int, task: Task, reason: str) -> None:
        """A task that is given up must not hold the others back for ever."""
        with self._lock:
            self._failures[task.id, reason] += 1
            if self._failures[task.id, reason] >= attempts_allowed(reason):
                self._hand_on(place, lambda: None)

    def _hand_on(self, place: int, tell: Callable[[], None]) -> None:
        with self._lock:
            self._arrived[place] = tell
            while (ready := self._arrived.pop(self._next, None)) is not None:
                self._next += 1
                ready()


class Ordered(Executor):
    """One pool of several that share an order."""

    def __init__(self, executor: Executor, order: InOrder) -> None:
        self._executor = executor
        self._order = order

    def submit(self, fn: Any, /, *args: Any, **_: Any) -> Future[Any]:
        return self._order.submit(self._executor, fn, *args)


@contextmanager
def ordered_pools(*arguments: Any) -> Iterator[dict[str, Executor]]:
    order = InOrder()
    with started_pools(*arguments) as pools:
        yield {name: Ordered(pool, order) for name, pool in pools.items()}


def main(file: Path, folder: Path) -> None:
    running.started_pools = ordered_pools
    campaign, text = read_campaign_file(file)
    ending = run_campaign(campaign, text, file.parent, CampaignFolder(folder))
    if ending.state != "finished":
        raise SystemExit(f"The campaign {ending.state}: {ending.reason}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

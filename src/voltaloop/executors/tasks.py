"""A task that a pool has accepted."""

from __future__ import annotations

from collections import deque
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass
from typing import Any

from voltaloop.executors.sealed import settle


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """A sealed call and the future that waits for it; ``sealed``: for its ending as bytes."""

    future: Future[Any]
    payload: bytes
    sealed: bool = False

    def settle(self, ending: bytes) -> None:
        if self.sealed:
            self.future.set_result(ending)
        else:
            settle(self.future, ending)


def cancel_all(tasks: deque[Task]) -> None:
    """Cancel tasks that no worker has begun; none is left."""
    while tasks:
        future = tasks.popleft().future
        future.cancel()
        future.set_running_or_notify_cancel()


def fail_all(tasks: deque[Task], reason: str) -> None:
    """Fail tasks that no worker will begin with BrokenExecutor; none is left."""
    while tasks:
        future = tasks.popleft().future
        if future.set_running_or_notify_cancel():
            future.set_exception(BrokenExecutor(reason))

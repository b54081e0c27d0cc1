"""Limits and crash isolation for a task that already runs somewhere else.

Used inside a worker of a cluster engine (Parsl, Dask), whose own workers neither end a hung task
nor survive a crash. The task runs one process further down, in a :class:`LocalProcesses` of one
worker, so that limits mean the same everywhere.

Tasks can cross sealed: the caller pickles the call (:func:`seal`), the innermost process reads it
and pickles how it ended (:func:`run_sealed`), the caller puts that into its future
(:func:`settle`). What lies between sees bytes: it imports nothing of the task, and the traceback
of an error arrives whole.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from voltaloop.executors.local import LocalProcesses
from voltaloop.executors.sealed import failure, seal, settle

__all__ = ["Limits", "run_guarded", "run_sealed", "seal", "settle"]

P = ParamSpec("P")
T = TypeVar("T")

ASK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What :class:`LocalProcesses` is to hold a task to.

    threads: of the numerical libraries; task_limit_s: seconds of wall time; memory_limit_GB:
    resident memory, 1 GB is 10^9 bytes; name: of the pool, for messages.
    """

    threads: int = 1
    task_limit_s: float | None = None
    memory_limit_GB: float | None = None
    fresh_process_per_task: bool = False
    preload: str | None = None
    name: str = "remote"


def run_guarded(limits: Limits, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``fn(*args, **kwargs)`` returns or raises, in an inner process held to ``limits``.

    Raises besides WorkerDied, TaskTimeout or TaskOutOfMemory, and BrokenExecutor where no inner
    process can be started. Any thread may call it; the inner process is kept for the next call.
    """
    return _in_a_pool(limits, lambda pool: pool.submit(fn, *args, **kwargs))


def run_sealed(limits: Limits, call: bytes, *, wanted: Callable[[], bool] | None = None) -> bytes:
    """How the sealed call ended, as bytes for :func:`settle`; no failure is raised.

    wanted: asked about once a second; when it says no, the task is killed (TaskInterrupted).
    """
    try:
        return _in_a_pool(limits, lambda pool: pool.submit_sealed(call), wanted)
    except Exception as error:  # noqa: BLE001 - the pool's own word on the task, for its future
        return failure(error)


_lock = threading.Lock()
_idle: dict[Limits, list[LocalProcesses]] = {}


def _in_a_pool(
    limits: Limits,
    submit: Callable[[LocalProcesses], Future[T]],
    wanted: Callable[[], bool] | None = None,
) -> T:
    """The result of what ``submit`` starts, in a pool that no other call uses meanwhile."""
    pool = _idle_pool(limits) or _new_pool(limits)
    future: Future[T] | None = None
    try:
        future = submit(pool)
        while wanted is not None and not wait([future], ASK_EVERY_S).done:
            if not wanted():
                pool.shutdown()
        return future.result()
    finally:
        if future is not None and future.done() and pool.usable:
            with _lock:
                _idle.setdefault(limits, []).append(pool)
        else:
            pool.shutdown(wait=False, cancel_futures=True)


def _idle_pool(limits: Limits) -> LocalProcesses | None:
    with _lock:
        pools = _idle.get(limits, [])
        while pools:
            if (pool := pools.pop()).usable:
                return pool
        return None


def _new_pool(limits: Limits) -> LocalProcesses:
    return LocalProcesses(
        workers=1,
        threads=limits.threads,
        task_timeout_s=limits.task_limit_s,
        memory_limit_GB=limits.memory_limit_GB,
        fresh_process_per_task=limits.fresh_process_per_task,
        preload=limits.preload,
        import_main=False,  # the main script is the cluster engine's
        grace_s=0.0,
        name=limits.name,
    )


def _forget() -> None:
    """The pools of a forked process are its parent's."""
    global _lock  # noqa: PLW0603 - may be held by a thread that the child does not have
    _lock = threading.Lock()
    _idle.clear()


os.register_at_fork(after_in_child=_forget)

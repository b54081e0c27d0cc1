"""What runs inside a Dask worker. Light: it imports nothing that a task does."""

from __future__ import annotations

import signal
from typing import Any

from voltaloop.executors.guard import Limits, run_sealed


def run_on_worker(limits: Limits, call: bytes) -> bytes:
    """:func:`run_sealed`, ended early when nobody waits for the task any more.

    Dask cannot end a running task, and one whose client was killed would hold its worker.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    return run_sealed(limits, call, wanted=lambda: _wanted(worker, key))


def dask_setup(_worker: Any) -> None:
    """Do nothing on Ctrl-C, which reaches the whole terminal: the Thinker decides.

    Dask calls this in each worker of a cluster of our own (its ``preload``).
    """
    signal.signal(signal.SIGINT, lambda *_: None)


def _wanted(worker: Any, key: Any) -> bool:
    task = worker.state.tasks.get(key)
    return task is not None and task.state in {"executing", "long-running"}

"""What runs in Parsl's own processes: the interchange beside us, managers and workers on nodes.

Started as ``python3 -m voltaloop.executors.parsl.process interchange|manager ...``. Parsl's
programs are run as they are; what is added here is when they end.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import threading
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from voltaloop.executors.guard import Limits, run_sealed
from voltaloop.executors.worker import end_with_parent

PARENT = "VOLTALOOP_BLOCK_PARENT"
"""Environment variable: the process that a block of this machine, a process group, ends with."""

RUN_TASK = "voltaloop.executors.parsl.process.run_task"
LOOK_EVERY_S = 0.5
_MANAGER = "parsl.executors.high_throughput.process_worker_pool"
_INTERCHANGE = "parsl.executors.high_throughput.interchange"
_WATCHDOG = "worker-watchdog"


def run_task(call: bytes, limits: dict[str, Any]) -> bytes:
    """How the sealed call ended. This worker and the task end with their manager."""
    _end_with_manager()
    return run_sealed(Limits(**limits), call)


def main(arguments: list[str]) -> None:
    role, *rest = arguments
    if role == "interchange":
        _interchange(parent_pid=int(rest[0]), log=Path(rest[1]))
    else:
        _manager(rest)


@cache
def _end_with_manager() -> None:
    """Parsl's workers look for their manager only between two tasks, if at all."""
    end_with_parent(os.getppid())


def _interchange(parent_pid: int, log: Path) -> None:
    """Parsl's interchange; it ends with its parent and with nothing else."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent(parent_pid)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    runpy.run_module(_INTERCHANGE, run_name="__main__")


def _manager(arguments: list[str]) -> None:
    """Parsl's manager of one node, started anew when one of its processes dies."""
    if PARENT in os.environ:
        owner = int(os.environ[PARENT])
        threading.Thread(target=_end_block_with, args=(owner,), daemon=True).start()
    threading.Thread(target=_watch_processes, args=(arguments,), daemon=True).start()
    spec = find_spec(_MANAGER)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{_MANAGER} is not in this Python, {sys.executable}.")
    sys.argv = [spec.origin, *arguments]
    runpy.run_path(spec.origin, run_name="__main__")


def _end_block_with(owner: int) -> None:
    """Kill the process group, which is the block, when its owner is gone.

    Without this a helper process of a killed manager would stay for ever.
    """
    while os.getppid() == owner:
        time.sleep(LOOK_EVERY_S)
    os.killpg(0, signal.SIGKILL)


def _watch_processes(arguments: list[str]) -> None:
    """Start the manager anew when a worker died.

    A worker that dies while it waits for a task holds the lock of the queue of tasks: Parsl starts
    another one, but none of the manager's workers would ever get a task again.
    """
    known: set[int | None] = set()
    while True:
        time.sleep(LOOK_EVERY_S)
        alive = {process.pid for process in multiprocessing.active_children()}
        # Parsl ends its watchdog before it ends its workers.
        at_work = any(thread.name == _WATCHDOG for thread in threading.enumerate())
        if known - alive and at_work:
            print("A worker died: the manager starts anew.", flush=True)  # noqa: T201 - the job's log
            for process in multiprocessing.active_children():
                process.kill()
            program = [sys.executable, "-P", "-m", "voltaloop.executors.parsl.process", "manager"]
            os.execv(sys.executable, [*program, *arguments])  # noqa: S606 - this very program
        known = alive


if __name__ == "__main__":
    main(sys.argv[1:])

"""Where Doers run. Everything here is a :class:`concurrent.futures.Executor`.

Nothing in this room imports numpy, torch or any other room: a worker process imports it before
anything else.
"""

from voltaloop.executors.errors import (
    RemoteError,
    RemoteTraceback,
    TaskInterrupted,
    TaskOutOfMemory,
    TaskTimeout,
    WorkerDied,
    WorkerLost,
    failure_text,
)
from voltaloop.executors.guard import Limits, run_guarded, run_sealed
from voltaloop.executors.inline import InlineExecutor
from voltaloop.executors.local import LocalProcesses
from voltaloop.executors.sealed import seal, settle
from voltaloop.executors.threads import THREAD_VARIABLES, pin_threads, thread_environment

__all__ = [
    "THREAD_VARIABLES",
    "InlineExecutor",
    "Limits",
    "LocalProcesses",
    "RemoteError",
    "RemoteTraceback",
    "TaskInterrupted",
    "TaskOutOfMemory",
    "TaskTimeout",
    "WorkerDied",
    "WorkerLost",
    "failure_text",
    "pin_threads",
    "run_guarded",
    "run_sealed",
    "seal",
    "settle",
    "thread_environment",
]

"""Where Doers run. Everything here is a :class:`concurrent.futures.Executor`.

Nothing in this room imports numpy, torch or any other room: a worker process imports it before
anything else.
"""

from voltaloop.executors.errors import (
    RemoteError,
    RemoteTraceback,
    TaskInterrupted,
    TaskTimeout,
    WorkerDied,
    failure_text,
)
from voltaloop.executors.inline import InlineExecutor
from voltaloop.executors.local import LocalProcesses
from voltaloop.executors.threads import THREAD_VARIABLES, pin_threads, thread_environment

__all__ = [
    "THREAD_VARIABLES",
    "InlineExecutor",
    "LocalProcesses",
    "RemoteError",
    "RemoteTraceback",
    "TaskInterrupted",
    "TaskTimeout",
    "WorkerDied",
    "failure_text",
    "pin_threads",
    "thread_environment",
]

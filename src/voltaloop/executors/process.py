"""The parent's handle of one worker process."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import subprocess
import sys
import sysconfig
import time
from multiprocessing import Pipe
from multiprocessing.spawn import get_preparation_data
from pathlib import Path

from voltaloop.executors import warden
from voltaloop.executors.family import (
    descendants,
    end_marked,
    kill_each,
    marked_environment,
    new_mark,
)
from voltaloop.executors.tasks import Task
from voltaloop.executors.threads import thread_environment
from voltaloop.executors.worker import BOOTSTRAP

logger = logging.getLogger(__name__)

REAP_LIMIT_S = 5.0
_ROOT = str(Path(__file__).resolve().parents[2])


class WorkerProcess:
    """One worker: its process, its pipe, and the task it runs.

    The thread limits are in the process's environment from its first instruction, so they hold
    even when the user's script imports numpy at its top. It leads a process group of its own:
    a terminal's Ctrl-C does not reach it. Programs that it started are killed with it.
    """

    def __init__(self, *, preparation: bytes, threads: int, start_limit_s: float) -> None:
        self._mark = new_mark(warden.owner())
        self._dismissed = False
        self.pipe, theirs = Pipe(duplex=True)
        environment = {**thread_environment(threads), **marked_environment(self._mark)}
        try:
            self._process = _start(theirs.fileno(), environment)
        except OSError:
            self.pipe.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self.ready = False
        self.task: Task | None = None
        self.deadline = time.monotonic() + start_limit_s
        self._tell(preparation)

    @property
    def idle(self) -> bool:
        return self.ready and self.task is None

    def give(self, task: Task, limit_s: float) -> None:
        """Start ``task``; a worker that is dead is found out when its pipe is read."""
        self.task, self.deadline = task, time.monotonic() + limit_s
        self._tell(task.payload)

    def take(self) -> Task:
        """The task that has just ended."""
        task, self.task = self.task, None
        if task is None:
            raise RuntimeError(f"Worker {self.pid} sent a result that nobody asked for.")
        return task

    def lost(self) -> bool:
        """The process is dead and all it said is read, though something holds its pipe open."""
        return self._process.poll() is not None and not self.pipe.poll()

    def dismiss(self) -> None:
        """Let an idle worker end by itself."""
        self._dismissed = True
        self.pipe.close()

    def ended_within(self, seconds: float) -> bool:
        try:
            self._process.wait(max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self, patience_s: float = 0.0) -> int:
        """The exit code, after the worker and what it started are killed."""
        self.ended_within(patience_s)
        in_peace = self._dismissed and self._process.poll() == 0
        # Before the worker is gone: its children then have another parent.
        family = [] if in_peace else descendants(self.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left to kill
            os.killpg(self.pid, signal.SIGKILL)
        self.pipe.close()
        if not in_peace:
            kill_each(family)
            end_marked(self._mark)
        if not self.ended_within(REAP_LIMIT_S):
            logger.warning("Process %d does not end, not even by SIGKILL; left alone.", self.pid)
            return -signal.SIGKILL
        return self._process.wait()

    def _tell(self, message: bytes) -> None:
        with contextlib.suppress(OSError):  # died: its pipe reads as ended and it is replaced
            self.pipe.send_bytes(message)


def _start(fd: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    program = BOOTSTRAP.format(root=_ROOT, fd=fd, parent_pid=os.getpid())
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-P", "-c", program],
        stdin=subprocess.DEVNULL,
        pass_fds=[fd],
        env={**os.environ, **environment},
        process_group=0,
    )


def preparation(name: str, preload: str | None, *, import_main: bool = True) -> bytes:
    """What a worker is told first.

    What multiprocessing's spawn tells a child (import path, folder, the user's script), and the
    module to import before it is ready. A script that pip installed (``voltaloop`` itself) defines
    nothing that a task could need, so its imports are spared.
    """
    data = get_preparation_data(name)
    del data["authkey"]  # of multiprocessing's own sockets; refuses to be pickled
    script = data.get("init_main_from_path")
    installed = script is not None and Path(script).parent == Path(sysconfig.get_path("scripts"))
    if installed or not import_main:
        data.pop("init_main_from_path", None)
        data.pop("init_main_from_name", None)
    return pickle.dumps((data, preload))

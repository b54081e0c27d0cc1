"""A pool of local worker processes, in which a task can only harm itself."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import ParamSpec, TypeVar

from voltaloop.executors.errors import (
    TaskInterrupted,
    TaskOutOfMemory,
    TaskTimeout,
    WorkerDied,
)
from voltaloop.executors.family import resident_bytes
from voltaloop.executors.process import WorkerProcess, preparation
from voltaloop.executors.sealed import seal
from voltaloop.executors.tasks import Task, cancel_all, fail_all
from voltaloop.executors.threads import thread_environment
from voltaloop.executors.worker import refuse_inside_main_import

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)

START_LIMIT_S = 120.0
START_ATTEMPTS = 10
EXIT_PATIENCE_S = 2.0
LOOK_EVERY_S = 0.5
WEIGH_EVERY_S = 0.25
WEIGH_SHARE = 0.05
"""Weighing tasks takes at most this share of a core, on machines with many processes too."""

GB = 1e9


class LocalProcesses(Executor):
    """Runs tasks in ``workers`` local processes, each held to ``threads`` threads.

    A worker that dies fails only the task it ran, with :class:`WorkerDied`; a task over
    ``task_timeout_s`` (seconds of wall time, None for no limit) is killed and fails with
    :class:`TaskTimeout`; a task that, with the programs it started, holds more than
    ``memory_limit_GB`` (resident memory, 1 GB is 10^9 bytes; None for no limit) when it is looked
    at, four times a second, is killed and fails with :class:`TaskOutOfMemory`. In each case
    programs that the task started are killed too, and the worker is replaced.

    With ``fresh_process_per_task`` no process runs two tasks; one more worker than run stands
    ready, so that no task waits for a process to start. ``preload`` names a module that a worker
    imports before its first task; without ``import_main`` it does not import the main script, whose
    functions are then no tasks. Workers and their programs end when this process does, even by
    SIGKILL.

    Shutting down lets running and waiting tasks go on for ``grace_s`` seconds (``math.inf``: as
    long as they need), then kills the running ones (:class:`TaskInterrupted`) and cancels the rest.

    Functions, arguments and results must be picklable. Raises ValueError for limits that make no
    sense, and RuntimeError in a script without ``if __name__ == "__main__":``.
    """

    def __init__(  # noqa: PLR0913 - one keyword for each limit
        self,
        *,
        workers: int,
        threads: int = 1,
        task_timeout_s: float | None = None,
        memory_limit_GB: float | None = None,
        fresh_process_per_task: bool = False,
        preload: str | None = None,
        import_main: bool = True,
        grace_s: float = 10.0,
        name: str = "local",
    ) -> None:
        refuse_inside_main_import()
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ValueError(f"workers: expected a whole number of 1 or more, got {workers!r}.")
        if task_timeout_s is not None and not task_timeout_s > 0:
            raise ValueError(f"task_timeout_s: expected more than 0 s, got {task_timeout_s!r}.")
        if memory_limit_GB is not None and not memory_limit_GB > 0:
            raise ValueError(f"memory_limit_GB: expected more than 0 GB, got {memory_limit_GB!r}.")
        if not grace_s >= 0:
            raise ValueError(f"grace_s: expected 0 s or more, got {grace_s!r}.")
        thread_environment(threads)  # refuses a senseless number here, not in a background thread
        self.workers, self.threads, self.name = workers, threads, name
        self._limit_s = math.inf if task_timeout_s is None else task_timeout_s
        self._memory_limit_GB = memory_limit_GB
        self._weigh_at = 0.0
        self._fresh = fresh_process_per_task
        self._grace_s = grace_s
        self._crew_size = workers + (1 if fresh_process_per_task else 0)
        self._preparation = preparation(name, preload, import_main=import_main)
        self._imports = [*(["the main script"] if import_main else []), *filter(None, [preload])]
        self._lock = threading.Lock()
        self._waiting: deque[Task] = deque()
        self._closing_at = math.inf
        self._broken: str | None = None
        self._crew: list[WorkerProcess] = []
        self._leaving: list[tuple[WorkerProcess, float]] = []
        self._failed_starts = 0
        self._selector = selectors.DefaultSelector()
        self._bell_ear, self._bell = os.pipe()
        os.set_blocking(self._bell_ear, False)
        os.set_blocking(self._bell, False)
        self._selector.register(self._bell_ear, selectors.EVENT_READ)
        # One thread owns the workers. It also starts them: the kernel ties a worker's life to
        # the thread that started it.
        self._thread = threading.Thread(target=self._run, name=f"pool-{name}", daemon=True)
        self._thread.start()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the present workers."""
        return tuple(worker.pid for worker in list(self._crew))

    @property
    def usable(self) -> bool:
        """Whether a task would be accepted."""
        with self._lock:
            return self._broken is None and self._closing_at == math.inf

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """A future for ``fn(*args, **kwargs)`` in a worker.

        Raises BrokenExecutor when no worker could be started, RuntimeError after shutdown. What
        cannot be pickled fails in the future.
        """
        future: Future[T] = Future()
        try:
            task = Task(future=future, payload=seal(fn, *args, **kwargs))
        except Exception as error:  # noqa: BLE001 - an argument's own __reduce__ may raise anything
            future.set_exception(error)
            return future
        self._accept(task)
        return future

    def submit_sealed(self, call: bytes) -> Future[bytes]:
        """A future for the ending, as bytes, of a sealed call. Raises as :meth:`submit` does.

        What the task returns or raises is in the bytes; only how its worker ended is raised.
        """
        future: Future[bytes] = Future()
        self._accept(Task(future=future, payload=call, sealed=True))
        return future

    def _accept(self, task: Task) -> None:
        with self._lock:
            if self._broken is not None:
                raise BrokenExecutor(self._broken)
            if self._closing_at < math.inf:
                raise RuntimeError(f"Cannot submit a task: pool '{self.name}' was shut down.")
            self._waiting.append(task)
            self._ring()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more tasks and end within ``grace_s`` (and the time processes take to end)."""
        with self._lock:
            self._closing_at = min(self._closing_at, time.monotonic())
            if cancel_futures:
                cancel_all(self._waiting)
            self._ring()
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()

    def _ring(self) -> None:
        """Wake the pool's thread. The lock must be held."""
        if self._bell >= 0:
            with contextlib.suppress(BlockingIOError):  # full: it is being woken already
                os.write(self._bell, b"!")

    def _run(self) -> None:
        try:
            while not self._done():
                self._start_missing()
                self._hand_out()
                for key, _ in self._selector.select(self._patience()):
                    self._listen(key.data)
                self._look_after()
        except Exception:
            logger.exception("Pool '%s' stops because of an error of its own.", self.name)
            self._break("an error of its own, see the log")
        finally:
            self._end()

    def _done(self) -> bool:
        with self._lock:
            if self._broken is not None:
                return True
            if time.monotonic() >= self._closing_at + self._grace_s:
                return True
            closing = self._closing_at < math.inf
            return closing and not self._waiting and not any(w.task for w in self._crew)

    def _patience(self) -> float:
        deadlines = [worker.deadline for worker in self._crew if not worker.idle]
        if self._memory_limit_GB is not None and self._busy():
            deadlines.append(self._weigh_at)
        next_event = min([self._closing_at + self._grace_s, *deadlines])
        return min(max(next_event - time.monotonic(), 0.0), LOOK_EVERY_S)

    def _start_missing(self) -> None:
        while len(self._crew) < self._crew_size and self._broken is None:
            try:
                worker = WorkerProcess(
                    preparation=self._preparation,
                    threads=self.threads,
                    start_limit_s=START_LIMIT_S,
                )
            except OSError as error:
                self._count_failed_start(str(error))
                return  # too many processes, perhaps: try again after the next look
            self._crew.append(worker)
            self._selector.register(worker.pipe, selectors.EVENT_READ, worker)

    def _hand_out(self) -> None:
        for worker in self._crew:
            while (
                worker.idle
                and self._busy() < self.workers
                and (task := self._next_task()) is not None
            ):
                if task.future.set_running_or_notify_cancel():
                    worker.give(task, self._limit_s)

    def _busy(self) -> int:
        return sum(worker.task is not None for worker in self._crew)

    def _next_task(self) -> Task | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _listen(self, worker: WorkerProcess | None) -> None:
        if worker is None:
            os.read(self._bell_ear, 4096)
            return
        try:
            message = worker.pipe.recv_bytes()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if worker.ready:
            self._finish(worker, message)
        elif message:
            self._discard(worker)
            self._break(f"importing {' and '.join(self._imports)} failed:\n{message.decode()}")
        else:
            worker.ready, self._failed_starts = True, 0

    def _finish(self, worker: WorkerProcess, message: bytes) -> None:
        task = worker.take()
        if self._fresh:
            self._retire(worker)
            self._start_missing()
        self._hand_out()  # before the callbacks of the finished task run
        task.settle(message)

    def _look_after(self) -> None:
        now = time.monotonic()
        if self._memory_limit_GB is not None and now >= self._weigh_at:
            self._weigh(self._memory_limit_GB)
            cost = time.monotonic() - now
            self._weigh_at = now + max(WEIGH_EVERY_S, cost / WEIGH_SHARE)
        for worker in list(self._crew):
            if worker.lost():
                self._bury(worker)
            elif not worker.idle and now >= worker.deadline:
                self._stop_overdue(worker)
        for worker, until in list(self._leaving):
            if worker.ended_within(0.0) or now >= until:
                worker.kill()
                self._leaving.remove((worker, until))

    def _bury(self, worker: WorkerProcess) -> None:
        exitcode = self._discard(worker, patience_s=EXIT_PATIENCE_S)
        if not worker.ready:
            self._count_failed_start(f"exit code {exitcode}")
        elif worker.task is not None:
            task = worker.take()
            task.future.set_exception(WorkerDied(self.name, worker.pid, exitcode))

    def _stop_overdue(self, worker: WorkerProcess) -> None:
        self._discard(worker)
        if not worker.ready:
            self._count_failed_start(f"not ready within {START_LIMIT_S:g} s")
            return
        task = worker.take()
        task.future.set_exception(TaskTimeout(self.name, worker.pid, self._limit_s))

    def _weigh(self, limit_GB: float) -> None:
        busy = {worker.pid: worker for worker in self._crew if worker.task is not None}
        if not busy:
            return
        for pid, held in resident_bytes(busy).items():
            if held > limit_GB * GB:
                self._discard(busy[pid])
                error = TaskOutOfMemory(self.name, pid, limit_GB, held / GB)
                busy[pid].take().future.set_exception(error)

    def _discard(self, worker: WorkerProcess, patience_s: float = 0.0) -> int:
        self._crew.remove(worker)
        self._selector.unregister(worker.pipe)
        return worker.kill(patience_s)

    def _retire(self, worker: WorkerProcess) -> None:
        self._crew.remove(worker)
        self._selector.unregister(worker.pipe)
        worker.dismiss()
        self._leaving.append((worker, time.monotonic() + EXIT_PATIENCE_S))

    def _count_failed_start(self, reason: str) -> None:
        self._failed_starts += 1
        logger.warning("A worker of pool '%s' did not start: %s", self.name, reason)
        if self._failed_starts >= START_ATTEMPTS:
            self._break(f"{START_ATTEMPTS} workers in a row did not start, the last: {reason}")

    def _break(self, reason: str) -> None:
        with self._lock:
            self._broken = f"Pool '{self.name}' cannot run tasks: {reason}"

    def _end(self) -> None:
        """Leave no process, no open pipe and no future that waits for ever."""
        for worker in self._crew:
            if worker.idle:
                worker.dismiss()
        until = time.monotonic() + EXIT_PATIENCE_S
        lost = [worker for worker in self._crew if worker.task is not None]
        for worker in [*self._crew, *(leaving for leaving, _ in self._leaving)]:
            patience_s = 0.0 if worker in lost or not worker.ready else until - time.monotonic()
            worker.kill(patience_s)
            if worker in lost:
                worker.take().future.set_exception(TaskInterrupted(self.name, self._grace_s))
        self._crew, self._leaving = [], []
        with self._lock:
            self._closing_at = min(self._closing_at, time.monotonic())
            self._selector.close()
            os.close(self._bell_ear)
            os.close(self._bell)
            self._bell = -1
            left, self._waiting = self._waiting, deque()
            broken = self._broken
        if broken is None:
            cancel_all(left)
        else:
            fail_all(left, broken)

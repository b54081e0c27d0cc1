"""Tasks in the workers of a Dask cluster, as a :class:`concurrent.futures.Executor`."""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any, ParamSpec, TypeVar

from voltaloop.executors.errors import TaskInterrupted, WorkerLost
from voltaloop.executors.guard import Limits
from voltaloop.executors.sealed import seal
from voltaloop.executors.tasks import Task, cancel_all, fail_all

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
FETCH_LIMIT_S = 60.0
ASK_FOR_WORKERS_EVERY_S = 60.0
CLOSE_LIMIT_S = 5.0


class DaskExecutor(Executor):
    """Hands at most ``at_once`` tasks at a time to a Dask client, each held to ``limits``.

    Takes over ``client`` (and ``cluster``, when it is its own) and closes it. A task runs once:
    one whose Dask worker goes away, or whose scheduler does, fails with :class:`WorkerLost`. When
    the connection to the scheduler is given up, ``submit`` raises BrokenExecutor.

    Shutting down lets running and waiting tasks go on for ``grace_s`` seconds, then ends the
    running ones (:class:`TaskInterrupted`) and cancels the rest.
    """

    def __init__(
        self, client: Any, cluster: Any | None, *, limits: Limits, at_once: int, grace_s: float
    ) -> None:
        self._client, self._cluster = client, cluster
        self._limits, self._at_once, self._grace_s = limits, at_once, grace_s
        self._lock = threading.Lock()
        self._waiting: deque[Task] = deque()
        self._running: dict[str, tuple[Task, Any]] = {}
        self._bell: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._ask_at = time.monotonic() + ASK_FOR_WORKERS_EVERY_S
        self._closing_at = math.inf
        self._broken: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"dask-{limits.name}", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """A future for ``fn(*args, **kwargs)`` in a worker.

        Raises BrokenExecutor when the scheduler is gone, RuntimeError after shutdown. What cannot
        be pickled fails in the future.
        """
        future: Future[T] = Future()
        try:
            task = Task(future=future, payload=seal(fn, *args, **kwargs))
        except Exception as error:  # noqa: BLE001 - an argument's own __reduce__ may raise anything
            future.set_exception(error)
            return future
        with self._lock:
            if self._broken is not None:
                raise BrokenExecutor(self._broken)
            if self._closing_at < math.inf:
                raise RuntimeError(
                    f"Cannot submit a task: pool '{self._limits.name}' was shut down."
                )
            self._waiting.append(task)
        self._bell.put(None)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more tasks and end within ``grace_s`` (and the time Dask takes to close)."""
        with self._lock:
            self._closing_at = min(self._closing_at, time.monotonic())
            if cancel_futures:
                cancel_all(self._waiting)
        self._bell.put(None)
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._done():
                self._hand_out()
                self._listen()
                self._look_for_workers()
        except Exception:
            logger.exception("Pool '%s' stops because of an error of its own.", self._limits.name)
            self._break("an error of its own, see the log")
        finally:
            self._end()

    def _done(self) -> bool:
        if self._client.status == "closed":
            self._break("the connection to the Dask scheduler was lost and did not come back")
        with self._lock:
            if self._broken is not None:
                return True
            if time.monotonic() >= self._closing_at + self._grace_s:
                return True
            return self._closing_at < math.inf and not self._waiting and not self._running

    def _hand_out(self) -> None:
        while (
            len(self._running) < self._at_once
            and self._client.status == "running"
            and (task := self._next_task()) is not None
        ):
            if task.future.set_running_or_notify_cancel():
                self._start(task)

    def _next_task(self) -> Task | None:
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _start(self, task: Task) -> None:
        from voltaloop.executors.dask.worker import run_on_worker

        key = f"voltaloop-{self._limits.name}-{uuid.uuid4().hex}"
        asked = self._client.submit(
            run_on_worker, self._limits, task.payload, key=key, pure=False, retries=0
        )
        self._running[key] = (task, asked)
        asked.add_done_callback(lambda done: self._bell.put(str(done.key)))

    def _listen(self) -> None:
        """Take in what ended; waits for it, but not long."""
        until = min(self._closing_at + self._grace_s - time.monotonic(), LOOK_EVERY_S)
        with contextlib.suppress(queue.Empty):
            key = self._bell.get(timeout=max(until, 0.0))
            while True:
                if key is not None:
                    self._finish(*self._running.pop(key))
                key = self._bell.get_nowait()

    def _look_for_workers(self) -> None:
        """Say so when tasks wait for workers that are not there; they may still come."""
        if time.monotonic() < self._ask_at or self._client.status != "running":
            return
        self._ask_at = time.monotonic() + ASK_FOR_WORKERS_EVERY_S
        # Where the connection breaks just now, the running tasks' own futures tell.
        with contextlib.suppress(OSError):
            if self._running and not self._client.nthreads():
                logger.warning(
                    "The Dask scheduler of pool '%s' has no workers; %d tasks wait for one.",
                    self._limits.name,
                    len(self._running),
                )

    def _finish(self, task: Task, asked: Any) -> None:
        try:
            ending = self._fetch(asked)
        except Exception as error:  # noqa: BLE001 - whatever Dask has to say about the task
            task.future.set_exception(error)
        else:
            task.settle(ending)

    def _fetch(self, asked: Any) -> bytes:
        """The task's ending. Raises WorkerLost when Dask has none."""
        from distributed import KilledWorker

        name, status = self._limits.name, asked.status
        if status == "finished":
            try:
                ending: bytes = asked.result(timeout=FETCH_LIMIT_S)
            except Exception as error:
                self._client.cancel([asked], force=True)  # else Dask would run it again by itself
                raise WorkerLost(name, f"its result did not arrive ({error!r})") from error
            return ending
        if status != "error":
            raise WorkerLost(name, "the connection to the Dask scheduler broke off")
        failure = asked.exception(timeout=FETCH_LIMIT_S)
        if isinstance(failure, KilledWorker):
            raise WorkerLost(name, f"the Dask worker {failure.last_worker.address} died")
        raise failure

    def _break(self, reason: str) -> None:
        with self._lock:
            self._broken = f"Pool '{self._limits.name}' cannot run tasks: {reason}"

    def _end(self) -> None:
        """Leave no task, no process and no future that waits for ever."""
        running, self._running = list(self._running.values()), {}
        with self._lock:
            self._closing_at = min(self._closing_at, time.monotonic())
            left, self._waiting = self._waiting, deque()
            broken = self._broken
        self._close([asked for _, asked in running])
        for task, _ in running:
            task.future.set_exception(self._interruption())
        if broken is None:
            cancel_all(left)
        else:
            fail_all(left, broken)

    def _interruption(self) -> Exception:
        if self._broken is not None:
            return WorkerLost(self._limits.name, self._broken)
        return TaskInterrupted(self._limits.name, self._grace_s)

    def _close(self, asked: list[Any]) -> None:
        try:
            if asked and self._client.status == "running":
                self._client.cancel(asked, force=True)
            self._client.close(timeout=CLOSE_LIMIT_S)
            if self._cluster is not None:
                self._cluster.close(timeout=CLOSE_LIMIT_S)
        except Exception:
            logger.exception("Dask did not close as it should.")

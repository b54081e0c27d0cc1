"""Tasks in blocks of workers that Parsl connects, as a :class:`concurrent.futures.Executor`."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from voltaloop.executors.errors import TaskInterrupted, WorkerLost
from voltaloop.executors.guard import Limits
from voltaloop.executors.parsl.blocks import BlockPlan, Blocks, Node
from voltaloop.executors.parsl.engine import Engine, EngineLost
from voltaloop.executors.parsl.schedulers import build_scheduler
from voltaloop.executors.parsl.settings import ParslSettings
from voltaloop.executors.sealed import seal
from voltaloop.executors.tasks import Task, cancel_all, fail_all

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)

ENGINE_ATTEMPTS = 3
LOOK_SOON_S = 0.2
LOOK_EVERY_S = 1.0
LOCAL_STATUS_S = 1.0


class ParslExecutor(Executor):
    """Runs each task in a process of its own below a worker of Parsl, held to ``limits``.

    A task waits here until a worker is free, so a future that is not running can be cancelled.
    Blocks are asked for as tasks wait, and given back when idle. A task whose block ended under it
    fails with WorkerLost; one that broke its limits as :class:`LocalProcesses` says. When no block
    can be started at all, futures fail with BrokenExecutor, which holds the scheduler's words.

    Shutting down lets running and waiting tasks go on for ``grace_s`` seconds, then ends every
    block: running tasks fail with TaskInterrupted, waiting ones are cancelled. When this process is
    killed, blocks of this machine end with it, others after ``heartbeat_limit``.
    """

    def __init__(
        self, *, settings: ParslSettings, limits: Limits, grace_s: float, folder: Path
    ) -> None:
        self.name = limits.name
        self._settings, self._limits, self._grace_s, self._folder = (
            settings,
            limits,
            grace_s,
            folder,
        )
        self._lock = threading.Lock()
        self._waiting: deque[Task] = deque()
        self._sent: dict[int, Task] = {}
        self._handed = 0
        self._slots = 0
        self._closing_at = math.inf
        self._broken: str | None = None
        self._engine: Engine | None = None
        self._blocks: Blocks | None = None
        self._engines_lost = 0
        self._bell = threading.Event()
        # One thread owns interchange and blocks: the kernel ends them with the thread that
        # started them.
        self._thread = threading.Thread(target=self._run, name=f"pool-{self.name}", daemon=True)
        self._thread.start()

    @property
    def jobs(self) -> list[str]:
        """The scheduler's ids of the present blocks."""
        return [] if self._blocks is None else self._blocks.jobs

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """A future for ``fn(*args, **kwargs)`` in a worker.

        Raises BrokenExecutor when no worker can be started, RuntimeError after shutdown. What
        cannot be pickled, or is defined in the main script, fails in the future.
        """
        future: Future[T] = Future()
        try:
            task = Task(future=future, payload=_sealed(fn, args, kwargs))
        except Exception as error:  # noqa: BLE001 - an argument's own __reduce__ may raise anything
            future.set_exception(error)
            return future
        with self._lock:
            if self._broken is not None:
                raise BrokenExecutor(self._broken)
            if self._closing_at < math.inf:
                raise RuntimeError(f"Cannot submit a task: pool '{self.name}' was shut down.")
            self._waiting.append(task)
            sent = self._hand_out()
            if self._waiting:
                self._bell.set()
        self._follow(sent)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more tasks and end within ``grace_s`` (and the time blocks take to end)."""
        with self._lock:
            self._closing_at = min(self._closing_at, time.monotonic())
            if cancel_futures:
                cancel_all(self._waiting)
            self._bell.set()
            listener = None if self._engine is None else self._engine.listener
        if wait and threading.current_thread() not in (self._thread, listener):
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._done():
                self._tend()
        except Exception as error:
            logger.exception("Pool '%s' stops because of an error of its own.", self.name)
            self._break(f"an error of its own, see the log: {error}")
        finally:
            self._end()

    def _done(self) -> bool:
        with self._lock:
            if self._broken is not None or time.monotonic() >= self._closing_at + self._grace_s:
                return True
            return self._closing_at < math.inf and not self._waiting and not self._sent

    def _tend(self) -> None:
        """One look at the blocks and the tasks that wait for them."""
        try:
            engine, blocks = self._ready()
            handed = self._handed
            nodes = engine.nodes()
            blocks.look_after(nodes, self._tasks())
            nodes = self._give_back(engine, blocks, nodes, handed)
        except EngineLost as error:
            broken = None if self._engine is None else self._engine.broken
            if broken is None:
                self._lose_engine(str(error))
            else:
                self._break(broken)
            return
        if (reason := engine.broken or blocks.broken) is not None:
            self._break(reason)
            return
        with self._lock:
            self._slots = _slots(nodes)
            sent = self._hand_out()
        self._follow(sent)
        self._rest(LOOK_SOON_S if blocks.awaited else LOOK_EVERY_S)

    def _rest(self, seconds: float) -> None:
        left = self._closing_at + self._grace_s - time.monotonic()
        if self._bell.wait(max(min(seconds, left), 0.0)):
            self._bell.clear()

    def _ready(self) -> tuple[Engine, Blocks]:
        if self._engine is None or self._blocks is None:
            folder = _new_folder(self._folder, self.name)
            engine = Engine(settings=self._settings, limits=self._limits, folder=folder)
            self._engine = engine  # so that it is closed even when it does not start
            engine.start()
            self._blocks = self._new_blocks(engine, folder)
        return self._engine, self._blocks

    def _new_blocks(self, engine: Engine, folder: Path) -> Blocks:
        wanted = self._settings
        scripts = folder / "blocks"
        scripts.mkdir()
        plan = BlockPlan(
            pool=self.name,
            workers=wanted.workers_per_block,
            least=wanted.min_blocks,
            first=wanted.init_blocks,
            most=wanted.max_blocks,
            idle_limit_s=wanted.idle_limit,
            status_every_s=LOCAL_STATUS_S if wanted.provider == "local" else wanted.status_every,
            scripts=scripts,
        )
        scheduler = build_scheduler(wanted, scripts)
        return Blocks(plan=plan, scheduler=scheduler, command=engine.command)

    def _tasks(self) -> int:
        with self._lock:
            return len(self._waiting) + len(self._sent)

    def _give_back(
        self, engine: Engine, blocks: Blocks, nodes: list[Node], handed: int
    ) -> list[Node]:
        """The nodes that are left when idle blocks are ended.

        handed: how many tasks had been sent when the nodes were asked for.
        """
        with self._lock:  # no task is sent meanwhile
            on_the_way = len(self._sent) - sum(node.tasks for node in nodes)
            settled = on_the_way <= 0 and handed == self._handed
            tasks = len(self._sent) + len(self._waiting)
            idle = blocks.idle(nodes, tasks) if settled else []
            for node in idle:
                engine.hold(node.id)
            left = [node for node in nodes if node not in idle]
            self._slots = _slots(left)
        blocks.give_back({node.block for node in idle})
        return left

    def _hand_out(self) -> list[tuple[int, Future[bytes]]]:
        """Send what fits; the lock must be held, and :meth:`_follow` called without it."""
        sent: list[tuple[int, Future[bytes]]] = []
        if self._engine is None or self._engine.broken is not None:
            return sent
        while self._waiting and len(self._sent) < self._slots:
            task = self._waiting.popleft()
            if task.future.set_running_or_notify_cancel():
                self._handed += 1
                number = self._handed
                self._sent[number] = task
                sent.append((number, self._engine.send(task.payload)))
        return sent

    def _follow(self, sent: list[tuple[int, Future[bytes]]]) -> None:
        for number, remote in sent:
            remote.add_done_callback(partial(self._arrived, number))

    def _arrived(self, number: int, remote: Future[bytes]) -> None:
        with self._lock:
            task = self._sent.pop(number, None)
            engine = self._engine
            sent = self._hand_out()  # before the callbacks of the finished task run
            if self._closing_at < math.inf and not self._sent:
                self._bell.set()
        self._follow(sent)
        if task is None or engine is None:  # it was given up
            return
        error = remote.exception()
        if error is None:
            self._engines_lost = 0
            task.settle(remote.result())
        else:
            task.future.set_exception(engine.translated(error))

    def _lose_engine(self, reason: str) -> None:
        """Go on with a new interchange; what the old one's workers ran is lost."""
        self._engines_lost += 1
        logger.warning("Pool '%s' starts its workers anew: %s.", self.name, reason)
        lost, engine, blocks = self._detach()
        _close(engine, blocks)
        for task in lost:
            task.future.set_exception(WorkerLost(self.name, reason))
        if self._engines_lost >= ENGINE_ATTEMPTS:
            self._break(f"{reason}, {self._engines_lost} times")

    def _detach(self) -> tuple[list[Task], Engine | None, Blocks | None]:
        """The tasks that run, now the caller's to settle, and what runs them."""
        with self._lock:
            lost = list(self._sent.values())
            engine, blocks = self._engine, self._blocks
            self._sent.clear()
            self._slots, self._engine, self._blocks = 0, None, None
        return lost, engine, blocks

    def _break(self, reason: str) -> None:
        with self._lock:
            self._broken = f"Pool '{self.name}' cannot run tasks: {reason}"

    def _end(self) -> None:
        """Leave no block, no process and no future that waits for ever."""
        with self._lock:
            self._closing_at = min(self._closing_at, time.monotonic())
            left, self._waiting = self._waiting, deque()
            broken = self._broken
        lost, engine, blocks = self._detach()
        try:
            _close(engine, blocks)
        finally:
            for task in lost:
                task.future.set_exception(
                    TaskInterrupted(self.name, self._grace_s)
                    if broken is None
                    else BrokenExecutor(broken)
                )
            if broken is None:
                cancel_all(left)
            else:
                fail_all(left, broken)


def _close(engine: Engine | None, blocks: Blocks | None) -> None:
    if blocks is not None:
        blocks.close()
    if engine is not None:
        engine.close()


def _slots(nodes: list[Node]) -> int:
    """Tasks that may be with the interchange: one per worker, and what unusable nodes still run."""
    return sum(node.workers if node.usable else node.tasks for node in nodes)


def _sealed(fn: Callable[..., Any], args: Any, kwargs: Any) -> bytes:
    if getattr(fn, "__module__", None) == "__main__":
        raise ValueError(
            f"'{getattr(fn, '__qualname__', fn)}' is defined in the main script, which workers of "
            f"Parsl do not import. Move it to a module that they can import."
        )
    return seal(fn, *args, **kwargs)


def _new_folder(parent: Path, name: str) -> Path:
    """The next free ``name-N`` of the folder."""
    for number in count():
        folder = parent / f"{name}-{number}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError("count() does not end")

"""The executors of a campaign's pools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path

from voltaloop.campaigns.doers import perform
from voltaloop.campaigns.file import Resources, pools_of
from voltaloop.core import Task
from voltaloop.executors.catalogue import Pool, PoolWork
from voltaloop.thinker import Outcome


class Workers:
    """Hands tasks to the pools of a campaign; one that is under way is not begun twice.

    root: of the campaign's artifact store.
    """

    def __init__(self, pools: Mapping[str, Executor], root: str) -> None:
        self._pools = pools
        self._root = root
        self._under_way: dict[str, Future[Outcome]] = {}

    def submit(self, task: Task) -> Future[Outcome]:
        """The task's result to be: of a new run, or of the one under way."""
        known = self._under_way.get(task.id)
        if known is not None and not known.done():
            return known
        future: Future[Outcome] = self._pools[task.pool].submit(perform, self._root, task)
        self._under_way[task.id] = future
        future.add_done_callback(lambda ended: self._forget(task.id, ended))
        return future

    def let_end(self, seconds: float) -> None:
        """Take back what no worker has begun and wait for the others; results stay in the store."""
        under_way = list(self._under_way.values())
        for future in under_way:
            future.cancel()
        wait(under_way, timeout=seconds)

    def _forget(self, name: str, ended: Future[Outcome]) -> None:
        if self._under_way.get(name) is ended:
            del self._under_way[name]


@contextmanager
def started_pools(resources: Resources, folder: Path) -> Iterator[dict[str, Executor]]:
    """One executor for each kind of work, ended with the block; ``folder``: for their own logs.

    Raises BrokenExecutor when one cannot be started.
    """
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(started_pool(name, pool, folder))
            for name, pool in pools_of(resources).items()
        }


@contextmanager
def started_pool(name: str, pool: Pool, folder: Path) -> Iterator[Executor]:
    """The executor of one pool. Raises BrokenExecutor when it cannot be started."""
    work = PoolWork(
        name=name,
        folder=folder.resolve() / name,
        preload="voltaloop.campaigns.doers",
        fresh_process_per_task=name == "explore",
    )
    try:
        executor = pool.start(work)
    except OSError as err:
        raise BrokenExecutor(f"The pool '{name}' cannot be started: {err}") from err
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)

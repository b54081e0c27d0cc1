"""The executors of a campaign's pools."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from voltaloop.campaigns.file import Resources, pools_of
from voltaloop.executors.catalogue import PoolWork


@contextmanager
def started_pools(resources: Resources, folder: Path) -> Iterator[dict[str, Executor]]:
    """One executor for each kind of work, ended with the block; ``folder``: for their own logs."""
    with ExitStack() as stack:
        executors: dict[str, Executor] = {}
        for name, pool in pools_of(resources).items():
            work = PoolWork(
                name=name,
                folder=folder.resolve() / name,
                preload="voltaloop.campaigns.doers",
                fresh_process_per_task=name == "explore",
            )
            executors[name] = pool.start(work)
            stack.callback(executors[name].shutdown, wait=True, cancel_futures=True)
        yield executors

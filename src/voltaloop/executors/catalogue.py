"""Where Doers can run, by name, and what every such place promises.

Not imported by the room's ``__init__``: a worker process imports that before anything else.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from voltaloop.core import Registry
from voltaloop.executors.guard import Limits
from voltaloop.executors.settings import PoolSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolWork:
    """What a pool is for.

    name: explore, label, train; preload: module that a worker imports before its first task;
    fresh_process_per_task: no process runs two tasks; grace_s: seconds that running tasks have
    left at shutdown; folder: where the pool may keep logs of its own, created when needed.
    """

    name: str
    folder: Path
    preload: str | None = None
    fresh_process_per_task: bool = False
    grace_s: float = 0.0


class Pool(Protocol):
    """A place where Doers run. Building one starts nothing and imports nothing heavy."""

    Settings: ClassVar[type[PoolSettings]]

    def __init__(self, settings: Any, /) -> None: ...

    @property
    def capacity(self) -> int:
        """Tasks that can run at once at most."""

    def check_installed(self) -> None:
        """Raise :class:`MissingDependencyError` with the pip line when a package is not there."""

    def describe(self) -> str:
        """One line for people, such as ``2 processes on this machine``."""

    def executes(self) -> list[str]:
        """What of the settings is run as shell commands; printed before a campaign begins."""

    def start(self, work: PoolWork) -> Executor:
        """An executor that takes tasks now. Raises OSError when its cluster cannot be reached."""


EXECUTORS: Registry[type[Pool]] = Registry(
    kind="executor",
    builtin={
        "dask": "voltaloop.executors.dask.pool:DaskPool",
        "local": "voltaloop.executors.local_pool:LocalPool",
        "parsl": "voltaloop.executors.parsl.pool:ParslPool",
    },
)


def limits_of(settings: PoolSettings, work: PoolWork) -> Limits:
    """The limits that a pool of these settings puts on each task of this work."""
    return Limits(
        threads=settings.threads,
        task_limit_s=settings.task_limit,
        memory_limit_GB=settings.memory_GB,
        fresh_process_per_task=work.fresh_process_per_task,
        preload=work.preload,
        name=work.name,
    )

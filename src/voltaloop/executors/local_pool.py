"""Processes of this machine as a pool that a campaign file can name."""

from __future__ import annotations

from typing import ClassVar

from voltaloop.executors.catalogue import PoolWork
from voltaloop.executors.local import LocalProcesses
from voltaloop.executors.settings import LocalSettings


class LocalPool:
    """Runs tasks in processes of this machine."""

    Settings: ClassVar[type[LocalSettings]] = LocalSettings

    def __init__(self, settings: LocalSettings) -> None:
        self.settings = settings

    @property
    def capacity(self) -> int:
        return self.settings.workers

    def check_installed(self) -> None:
        """Nothing beyond voltaloop is needed."""

    def describe(self) -> str:
        workers = self.settings.workers
        return f"{workers} {'process' if workers == 1 else 'processes'} on this machine"

    def executes(self) -> list[str]:
        return []

    def start(self, work: PoolWork) -> LocalProcesses:
        return LocalProcesses(
            workers=self.settings.workers,
            threads=self.settings.threads,
            task_timeout_s=self.settings.task_limit,
            memory_limit_GB=self.settings.memory_GB,
            fresh_process_per_task=work.fresh_process_per_task,
            preload=work.preload,
            grace_s=work.grace_s,
            name=work.name,
        )

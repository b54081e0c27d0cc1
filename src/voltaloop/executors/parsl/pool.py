"""Workers on a cluster, through Parsl: Slurm, PBS, LSF, Flux, or blocks of this machine."""

from __future__ import annotations

import shutil
from typing import ClassVar

from voltaloop.core import CampaignFolderError, MissingDependencyError, require
from voltaloop.executors.catalogue import PoolWork, limits_of
from voltaloop.executors.parsl.executor import ParslExecutor
from voltaloop.executors.parsl.settings import ParslSettings

_NOT_IN_COMMANDS = ("'{}", "apostrophes and braces")
_NOT_IN_JOB_SCRIPTS = ("'{}\"$ ", "spaces, quotes, braces and $")

_COMMANDS = {
    "local": (),
    "slurm": ("sbatch", "squeue", "scancel"),
    "pbs": ("qsub", "qstat", "qdel"),
    "lsf": ("bsub", "bjobs", "bkill"),
    "flux": ("flux",),
}


class ParslPool:
    """Runs tasks in blocks of workers that Parsl connects and a scheduler starts."""

    Settings: ClassVar[type[ParslSettings]] = ParslSettings

    def __init__(self, settings: ParslSettings) -> None:
        self.settings = settings

    @property
    def capacity(self) -> int:
        return self.settings.max_blocks * self.settings.workers_per_block

    def check_installed(self) -> None:
        """Raise MissingDependencyError when Parsl or a command of the scheduler is not there."""
        require("parsl", extra="parsl")
        for command in _COMMANDS[self.settings.provider]:
            if shutil.which(command) is None:
                raise MissingDependencyError(
                    f"Provider {self.settings.provider} needs the command '{command}', which this "
                    f"machine does not have. Run voltaloop on a login node of the cluster."
                )

    def describe(self) -> str:
        wanted = self.settings
        if wanted.provider == "local":
            what = f"up to {_many(wanted.max_blocks, 'block')} on this machine"
            return f"Parsl: {what}, {_many(wanted.workers_per_node, 'worker')} each"
        where = wanted.partition or wanted.queue
        place = wanted.provider if where is None else f"{wanted.provider} ({where})"
        return (
            f"Parsl: up to {_many(wanted.max_blocks, 'job')} of {place}, "
            f"{_many(wanted.nodes, 'node')} with {_many(wanted.workers_per_node, 'worker')} each, "
            f"walltime {wanted.walltime_text}"
        )

    def executes(self) -> list[str]:
        return [*self.settings.scheduler_options, *self.settings.worker_init]

    def start(self, work: PoolWork) -> ParslExecutor:
        """An executor; its first block is asked for when there is a task (or init_blocks says so).

        Raises CampaignFolderError for a folder whose path job scripts cannot hold.
        """
        folder = work.folder.resolve()
        local = self.settings.provider == "local"
        characters, named = _NOT_IN_COMMANDS if local else _NOT_IN_JOB_SCRIPTS
        if any(character in str(folder) for character in characters):
            raise CampaignFolderError(
                f"Parsl cannot run its workers from {folder}: expected a path without {named}. "
                f"Use another folder."
            )
        return ParslExecutor(
            settings=self.settings,
            limits=limits_of(self.settings, work),
            grace_s=work.grace_s,
            folder=folder,
        )


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

"""What a campaign file may say about workers that Parsl gets from a scheduler.

Not imported by the room's ``__init__``: a worker process imports that before anything else.
"""

from __future__ import annotations

import ipaddress
import math
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    StringConstraints,
    model_validator,
)

from voltaloop.core.durations import Duration
from voltaloop.executors.settings import PoolSettings

Provider = Literal["local", "slurm", "pbs", "lsf", "flux"]
CLUSTERS: tuple[Provider, ...] = ("slurm", "pbs", "lsf", "flux")

DIRECTIVES: dict[str, str] = {
    "slurm": "#SBATCH ",
    "pbs": "#PBS ",
    "lsf": "#BSUB ",
    "flux": "#FLUX: ",
}
"""How a line begins that a scheduler reads as an option."""

OPTIONS_OF: dict[str, tuple[Provider, ...]] = {
    "partition": ("slurm",),
    "qos": ("slurm",),
    "queue": ("pbs", "lsf", "flux"),
    "account": CLUSTERS,
    "exclusive": ("slurm", "flux"),
    "memory_per_node_GB": ("slurm", "pbs"),
    "walltime": CLUSTERS,
    "drain": CLUSTERS,
    "scheduler_options": CLUSTERS,
    "address": CLUSTERS,
}
"""The options that only some providers have."""

_INSTEAD = {
    ("partition", "pbs"): " It calls them queues: use queue.",
    ("partition", "lsf"): " It calls them queues: use queue.",
    ("partition", "flux"): " It calls them queues: use queue.",
    ("queue", "slurm"): " It calls them partitions: use partition.",
    ("memory_per_node_GB", "lsf"): " Its unit differs by site: use scheduler_options, '#BSUB -M'.",
    ("address", "local"): " Its workers connect to 127.0.0.1.",
}
_LONGEST_SILENCE_S = 3.0


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(
            f"expected the IP address of this machine that the nodes reach, got {text!r}"
        ) from None


Word = Annotated[str, StringConstraints(pattern=r"^[\w.,:+@/-]+$")]
Line = Annotated[str, StringConstraints(pattern=r"^[^\n\r]+$")]


class ParslSettings(PoolSettings):
    """Workers in blocks: each block is one job of a scheduler, or one process group here."""

    provider: Provider = Field(
        default="local", description="who starts the blocks: local, slurm, pbs, lsf or flux"
    )
    partition: Word | None = Field(default=None, description="Slurm: partition of the jobs")
    queue: Word | None = Field(default=None, description="PBS, LSF, Flux: queue of the jobs")
    qos: Word | None = Field(default=None, description="Slurm: quality of service of the jobs")
    account: Word | None = Field(
        default=None,
        description="what the jobs are charged to: Slurm and PBS account, LSF project, Flux bank",
    )
    nodes: PositiveInt = Field(default=1, description="nodes of each block")
    workers_per_node: PositiveInt = Field(default=1, description="tasks at a time on each node")
    cores_per_worker: PositiveInt | None = Field(
        default=None, description="cores asked for each worker. null: as many as threads"
    )
    memory_per_node_GB: PositiveInt | None = Field(
        default=None,
        description="Slurm, PBS: memory asked for each node, in GB. null: what the site gives",
    )
    exclusive: bool = Field(
        default=False, description="Slurm, Flux: share the nodes with no other job"
    )
    walltime: Duration | None = Field(
        default=None,
        description="how long a block may run, e.g. 12h, rounded up to minutes; "
        "tasks that its end takes down are run again. Every provider but local needs it",
    )
    drain: Duration | None = Field(
        default=None,
        description="how long before the end of its walltime a block gets no more tasks. "
        "null: it gets tasks until its end",
    )
    min_blocks: NonNegativeInt = Field(default=0, description="blocks to keep though idle")
    init_blocks: NonNegativeInt = Field(
        default=0, description="blocks to ask for at the start, before there is work"
    )
    max_blocks: PositiveInt = Field(default=1, description="most blocks at a time")
    idle_limit: Duration = Field(
        default=120.0,
        description="an idle block beyond min_blocks is given back after this time, e.g. 2m",
    )
    heartbeat_limit: Duration = Field(
        default=60.0,
        description="a node is taken for lost when nothing was heard from it for this time, and "
        "its block ends this long after voltaloop was killed, e.g. 60s",
    )
    status_every: Duration = Field(
        default=30.0,
        description="how often the scheduler is asked about blocks that have not reported yet",
    )
    worker_init: tuple[Line, ...] = Field(
        default=(),
        description="shell lines run on each node before its workers start, e.g. module load gpaw; "
        "without any, the nodes must see this Python at the same path",
    )
    scheduler_options: tuple[Line, ...] = Field(
        default=(),
        description="further option lines of the job script, e.g. '#SBATCH --constraint=skylake'",
    )
    address: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None,
        description="IP address of this machine that the nodes reach; voltaloop listens on no "
        "other. null: the nodes try all addresses of this machine",
    )
    ports: tuple[PositiveInt, PositiveInt] = Field(
        default=(54000, 55000),
        description="range of ports of this machine that the nodes can reach; one is used",
    )

    @model_validator(mode="after")
    def _fits_the_provider(self) -> Self:
        for name, providers in OPTIONS_OF.items():
            if self.provider not in providers and getattr(self, name) not in (None, False, ()):
                raise ValueError(
                    f"{name}: provider {self.provider} has no such option, only "
                    f"{_listed(providers)} has.{_INSTEAD.get((name, self.provider), '')} Remove it."
                )
        if self.provider != "local" and self.walltime is None:
            raise ValueError(
                f"walltime: provider {self.provider} needs to be told how long a block may run, "
                f"e.g. walltime: 12h."
            )
        if self.nodes > 1 and self.provider in ("local", "lsf"):
            raise ValueError(
                f"nodes: expected 1 for provider {self.provider}, got {self.nodes}. "
                f"For more workers raise max_blocks or workers_per_node."
            )
        return self

    @model_validator(mode="after")
    def _speaks_the_scheduler_language(self) -> Self:
        prefix = DIRECTIVES.get(self.provider, "")
        for line in self.scheduler_options:
            if not line.startswith(prefix):
                raise ValueError(
                    f"scheduler_options: expected lines that begin with '{prefix.strip()}', which "
                    f"{self.provider} reads, got {line!r}. "
                    f"What the shell is to run belongs to worker_init."
                )
        return self

    @model_validator(mode="after")
    def _numbers_make_sense(self) -> Self:
        if not self.min_blocks <= self.max_blocks:
            raise ValueError(
                f"min_blocks: expected at most max_blocks, {self.max_blocks}, "
                f"got {self.min_blocks}."
            )
        if not self.init_blocks <= self.max_blocks:
            raise ValueError(
                f"init_blocks: expected at most max_blocks, {self.max_blocks}, "
                f"got {self.init_blocks}."
            )
        if self.walltime is not None and self.drain is not None and self.drain >= self.walltime:
            raise ValueError(
                f"drain: expected less than the walltime, {self.walltime:g} s, "
                f"got {self.drain:g} s: no block would ever get a task."
            )
        if self.heartbeat_limit < _LONGEST_SILENCE_S:
            raise ValueError(
                f"heartbeat_limit: expected {_LONGEST_SILENCE_S:g} s or more, "
                f"got {self.heartbeat_limit:g} s: a node that is only slow would be taken for lost."
            )
        low, high = self.ports
        if not low < high <= 65536:
            raise ValueError(
                f"ports: expected two rising numbers up to 65536, got {low} and {high}."
            )
        return self

    @property
    def workers_per_block(self) -> int:
        return self.nodes * self.workers_per_node

    @property
    def cores_per_node(self) -> int:
        return self.workers_per_node * (self.cores_per_worker or self.threads)

    @property
    def walltime_s(self) -> int:
        """Whole minutes, as schedulers count, in seconds; 0 where there is none."""
        return 60 * math.ceil((self.walltime or 0.0) / 60)

    @property
    def walltime_text(self) -> str:
        """HH:MM:SS."""
        hours, seconds = divmod(self.walltime_s, 3600)
        return f"{hours:02d}:{seconds // 60:02d}:00"


def _listed(words: Any) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else str(last)

"""What a campaign file may say about where a pool's tasks run.

Not imported by the room's ``__init__``: a worker process imports that before anything else.
"""

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from voltaloop.core.durations import Duration


class PoolSettings(BaseModel):
    """What every pool takes, wherever it runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threads: PositiveInt = Field(default=1, description="threads of each worker")
    task_limit: Duration = Field(
        default=6 * 3600.0,
        validate_default=False,
        description="longest time of one task; it is then ended and tried again, e.g. 30m",
    )
    memory_GB: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="most memory of one task, programs it starts included, in GB; "
        "it is then ended and tried again. null: no limit",
    )


class LocalSettings(PoolSettings):
    """Processes of this machine."""

    workers: PositiveInt = Field(default=1, description="tasks at a time, each in its own process")


class DaskSettings(PoolSettings):
    """Workers of a Dask cluster."""

    scheduler: str | None = Field(
        default=None,
        description="address of a running Dask scheduler, such as tcp://host:8786; "
        "null: a cluster of this machine, on 127.0.0.1",
    )
    workers: PositiveInt = Field(default=1, description="tasks at a time")

"""Dask as a pool that a campaign file can name."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from voltaloop.core import require
from voltaloop.executors.catalogue import PoolWork, limits_of
from voltaloop.executors.dask.executor import DaskExecutor
from voltaloop.executors.settings import DaskSettings

logger = logging.getLogger(__name__)

CONNECT_LIMIT_S = 30.0

CONFIGURATION = {
    # No pages over HTTP: the campaign has its own, and these would be open to everybody.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # Arguments of any size are passed on as they are.
    "distributed.admin.large-graph-warning-threshold": 10**18,
}


class DaskPool:
    """Runs tasks in the workers of a Dask cluster: a running one, or one of this machine.

    The latter is this pool's own and ends with it; it listens on 127.0.0.1 only and talks over
    TLS, so that other users of the machine cannot send it work. A running one must have voltaloop
    installed where its workers run. Dask runs a task again by itself up to ``allowed-failures``
    times when its worker dies; set that to 0 in the scheduler's configuration, as this pool does
    in its own, so that the campaign's log sees every attempt.
    """

    Settings: ClassVar[type[DaskSettings]] = DaskSettings

    def __init__(self, settings: DaskSettings) -> None:
        self.settings = settings

    @property
    def capacity(self) -> int:
        return self.settings.workers

    def check_installed(self) -> None:
        require("distributed", extra="dask")
        require("cryptography", extra="dask")

    def describe(self) -> str:
        where = self.settings.scheduler or "a cluster of this machine"
        workers = self.settings.workers
        return f"Dask on {where}: up to {workers} {'task' if workers == 1 else 'tasks'} at a time"

    def executes(self) -> list[str]:
        return []

    def start(self, work: PoolWork) -> DaskExecutor:
        """Raises ConnectionError when the scheduler does not answer within 30 s."""
        self.check_installed()
        import dask

        dask.config.set(CONFIGURATION)
        cluster = self._own_cluster(work) if self.settings.scheduler is None else None
        try:
            client = _client(self.settings.scheduler if cluster is None else cluster)
        except BaseException:
            if cluster is not None:
                cluster.close()
            raise
        if cluster is None:
            _look_over(client, str(self.settings.scheduler))
        return DaskExecutor(
            client,
            cluster,
            limits=limits_of(self.settings, work),
            at_once=self.capacity,
            grace_s=work.grace_s,
        )

    def _own_cluster(self, work: PoolWork) -> Any:
        from distributed import LocalCluster
        from distributed.security import Security

        folder = work.folder / "dask"
        folder.mkdir(parents=True, exist_ok=True)
        return LocalCluster(
            n_workers=self.settings.workers,
            threads_per_worker=1,
            host="127.0.0.1",
            protocol="tls",
            security=Security.temporary(),
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"allowed_failures": 0, "dashboard": False},
            memory_limit=0,  # the guard looks after memory
            preload=["voltaloop.executors.dask.worker"],
            local_directory=str(folder),
            silence_logs=logging.CRITICAL,  # what goes wrong is told by the task's error
        )


def _client(where: Any) -> Any:
    from distributed import Client

    try:
        return Client(where, timeout=CONNECT_LIMIT_S, set_as_default=False)
    except (OSError, ValueError) as err:
        raise ConnectionError(
            f"No Dask scheduler answers at {where}: {err}. Expected the address that 'dask "
            f"scheduler' prints, such as tcp://host:8786. Start one there, or leave 'scheduler' "
            f"out for a cluster of this machine."
        ) from err


def _look_over(client: Any, address: str) -> None:
    if not client.nthreads():
        logger.warning("The Dask scheduler %s has no workers yet; tasks wait for them.", address)
    again = client.run_on_scheduler(_allowed_failures)
    if again > 0:
        logger.warning(
            "The Dask scheduler %s runs a task again up to %d times when its worker dies, unseen "
            "by the campaign. Start it with DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0.",
            address,
            again,
        )


def _allowed_failures(dask_scheduler: Any) -> int:
    return int(dask_scheduler.allowed_failures)

"""Dask keeps the executors' contract, and says which tasks it lost."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from voltaloop.core import MissingDependencyError
from voltaloop.executors import TaskInterrupted, WorkerLost
from voltaloop.executors.catalogue import EXECUTORS, PoolWork
from voltaloop.executors.dask import pool as dask_pool
from voltaloop.executors.settings import DaskSettings
from voltaloop.testing.executors import ExecutorContract

pytest.importorskip("distributed")

PATIENCE_S = 60.0


def start(
    folder: Path,
    *,
    scheduler: str | None = None,
    threads: int = 1,
    task_timeout_s: float | None = None,
    memory_limit_GB: float | None = None,
    grace_s: float = 0.5,
) -> Executor:
    limit = "1h" if task_timeout_s is None else f"{task_timeout_s}s"
    settings = DaskSettings(
        scheduler=scheduler,
        workers=2,
        threads=threads,
        task_limit=limit,
        memory_GB=memory_limit_GB,
    )
    pool = EXECUTORS.load("dask")(settings)
    return pool.start(PoolWork(name="label", folder=folder, grace_s=grace_s))


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class TestDask(ExecutorContract):
    folder: ClassVar[Path]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _folder(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        cls.folder = tmp_path_factory.mktemp("dask")

    def make_executor(
        self,
        *,
        task_timeout_s: float | None = None,
        memory_limit_GB: float | None = None,
        grace_s: float = 5.0,
    ) -> Executor:
        return start(
            self.folder,
            threads=self.threads,
            task_timeout_s=task_timeout_s,
            memory_limit_GB=memory_limit_GB,
            grace_s=grace_s,
        )


def sleeping(folder: Path, name: str) -> list[str]:
    """A program that writes its process id and does not end."""
    return [
        "sh",
        "-c",
        f"echo $$ > '{folder / name}.new'; mv {folder / name}.new {folder / name}; exec sleep 1000",
    ]


def pid_of(file: Path) -> int:
    until(file.exists)
    return int(file.read_text())


def dask_workers() -> list[psutil.Process]:
    """Dask's own two workers, not the processes that they start."""
    found = [child for child in psutil.Process().children() if ears(child)]
    assert len(found) == 2
    return found


def ears(process: psutil.Process) -> set[str]:
    """Addresses on which the process listens."""
    return {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN}


def test_a_dask_worker_that_dies_loses_its_task_once_and_is_replaced(tmp_path: Path) -> None:
    with start(tmp_path) as executor:
        programs = [sleeping(tmp_path, f"try-{n}") for n in range(2)]
        futures = [executor.submit(subprocess.call, program) for program in programs]
        pids = [pid_of(tmp_path / f"try-{n}") for n in range(2)]
        (tmp_path / "try-0").unlink()
        os.kill(dask_worker_above(pids[0]), signal.SIGKILL)
        error = futures[0].exception(PATIENCE_S)
        assert isinstance(error, WorkerLost)
        assert str(error).startswith("Pool 'label' lost what ran this task: the Dask worker tls:")
        assert str(error).endswith("died. Nothing is wrong with the task: run it again.")
        until(lambda: gone(pids[0]))
        os.kill(pids[1], signal.SIGKILL)
        assert futures[1].result(PATIENCE_S) == -signal.SIGKILL
        both = [executor.submit(time.sleep, 1.0) for _ in range(2)]
        assert [future.result(PATIENCE_S) for future in both] == [None, None]
        assert not (tmp_path / "try-0").exists()  # Dask did not run it again by itself


def dask_worker_above(pid: int) -> int:
    known = {worker.pid for worker in dask_workers()}
    return next(parent.pid for parent in psutil.Process(pid).parents() if parent.pid in known)


def test_ctrl_c_is_left_to_the_thinker(tmp_path: Path) -> None:
    with start(tmp_path, grace_s=PATIENCE_S) as executor:
        executor.submit(abs, -1).result(PATIENCE_S)
        futures = [executor.submit(time.sleep, 1.0) for _ in range(2)]
        until(lambda: all(future.running() for future in futures))
        for worker in dask_workers():
            worker.send_signal(signal.SIGINT)
        assert [future.result(PATIENCE_S) for future in futures] == [None, None]


def test_a_cluster_of_this_machine_listens_on_loopback_only_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    with start(tmp_path) as executor:
        executor.submit(abs, -1).result(PATIENCE_S)
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        heard_at = {address for process in family for address in ears(process)}
        workers = dask_workers()
    assert heard_at == {"127.0.0.1"}
    assert all(gone(worker.pid) for worker in workers)


def test_a_scheduler_that_is_not_there_is_told_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_pool, "CONNECT_LIMIT_S", 1.0)
    with pytest.raises(ConnectionError, match=r"No Dask scheduler answers at tcp://127.0.0.1:9: "):
        start(tmp_path, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ConnectionError, match="Expected the address that 'dask scheduler' prints"):
        start(tmp_path, scheduler="no address at all")


def test_a_missing_package_is_told_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'voltaloop\[dask\]'"):
        EXECUTORS.load("dask")(DaskSettings()).check_installed()


@dataclass(frozen=True)
class RunningCluster:
    address: str
    scheduler: subprocess.Popen[bytes]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningCluster]:
    """A scheduler and a worker of two threads that somebody else started, as on a cluster."""
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    listen = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    work = ["--host", "127.0.0.1", "--no-dashboard", "--nthreads", "2", "--memory-limit", "0"]
    log = (tmp_path / "dask.log").open("wb")
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--port", "0", "--dashboard-address", "127.0.0.1:0", *listen],
        stderr=log,
    )
    worker = subprocess.Popen(
        [*dask, "worker", "--scheduler-file", str(file), *work],
        stderr=log,
        cwd=tmp_path,
    )
    try:
        until(file.exists)
        yield RunningCluster(json.loads(file.read_text())["address"], scheduler)
    finally:
        for process in (*psutil.Process(worker.pid).children(recursive=True), worker, scheduler):
            process.kill()
        worker.wait(PATIENCE_S)
        scheduler.wait(PATIENCE_S)
        log.close()


def test_on_a_running_cluster_what_was_under_way_ends_with_its_pool_or_its_thinker(
    tmp_path: Path, running: RunningCluster, caplog: pytest.LogCaptureFixture
) -> None:
    executor = start(tmp_path, scheduler=running.address)
    assert "runs a task again up to 3 times when its worker dies" in caplog.text
    assert executor.submit(divmod, 7, 2).result(PATIENCE_S) == (3, 1)
    future = executor.submit(subprocess.call, sleeping(tmp_path, "shut"))
    pid = pid_of(tmp_path / "shut")
    executor.shutdown()
    assert isinstance(future.exception(0), TaskInterrupted)
    until(lambda: gone(pid))

    script = tmp_path / "thinker.py"
    script.write_text(SUBMIT_AND_WAIT.format(sleeping(tmp_path, "killed"), running.address))
    thinker = subprocess.Popen([sys.executable, script])
    pid = pid_of(tmp_path / "killed")
    thinker.kill()
    thinker.wait(PATIENCE_S)
    until(lambda: gone(pid))


SUBMIT_AND_WAIT = """
import subprocess
from pathlib import Path
from voltaloop.executors.catalogue import EXECUTORS, PoolWork
from voltaloop.executors.settings import DaskSettings
if __name__ == "__main__":
    pool = EXECUTORS.load("dask")(DaskSettings(scheduler={1!r}))
    executor = pool.start(PoolWork(name="label", folder=Path(".")))
    executor.submit(subprocess.call, {0!r}).result()
"""


def test_a_cluster_of_this_machine_ends_with_a_thinker_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "thinker.py"
    script.write_text(SUBMIT_AND_WAIT.format(sleeping(tmp_path, "killed"), None))
    thinker = subprocess.Popen([sys.executable, script], cwd=tmp_path)
    pid = pid_of(tmp_path / "killed")
    family = psutil.Process(thinker.pid).children(recursive=True)
    thinker.kill()
    thinker.wait(PATIENCE_S)
    until(lambda: all(gone(other) for other in [pid, *(process.pid for process in family)]))


def test_a_scheduler_that_dies_loses_the_tasks_and_breaks_the_pool(
    tmp_path: Path,
    running: RunningCluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dask_pool, "CONNECT_LIMIT_S", 5.0)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with start(tmp_path, scheduler=running.address) as executor:
        futures = [executor.submit(time.sleep, 1000) for _ in range(3)]
        until(lambda: all(future.running() for future in futures[:2]))
        running.scheduler.kill()
        errors = [type(future.exception(PATIENCE_S)) for future in futures]
        assert errors == [WorkerLost, WorkerLost, BrokenExecutor]
        with pytest.raises(BrokenExecutor, match="connection to the Dask scheduler was lost"):
            executor.submit(abs, -1)

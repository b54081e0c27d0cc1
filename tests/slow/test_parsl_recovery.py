"""What Parsl's processes may do without harm: die, one after the other, at any time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

pytest.importorskip("parsl")

from voltaloop.executors import WorkerDied, WorkerLost
from voltaloop.executors.catalogue import PoolWork
from voltaloop.executors.parsl.executor import ParslExecutor
from voltaloop.executors.parsl.pool import ParslPool
from voltaloop.executors.parsl.settings import ParslSettings

pytestmark = pytest.mark.slow

PATIENCE_S = 60.0

OWNER = """
import sys, time
from pathlib import Path
from voltaloop.executors.catalogue import PoolWork
from voltaloop.executors.parsl.pool import ParslPool
from voltaloop.executors.parsl.settings import ParslSettings
if __name__ == "__main__":
    pool = ParslPool(ParslSettings(workers_per_node=2))
    executor = pool.start(PoolWork(name="label", folder=Path(sys.argv[1])))
    futures = [executor.submit(time.sleep, 1000) for _ in range(3)]
    while sum(future.running() for future in futures) < 2:
        time.sleep(0.1)
    print("running", flush=True)
    time.sleep(1000)
"""


def start(folder: Path, **settings: object) -> ParslExecutor:
    wanted = {"workers_per_node": 1, "heartbeat_limit": "5s", **settings}
    pool = ParslPool(ParslSettings.model_validate(wanted))
    return pool.start(PoolWork(name="label", folder=folder, grace_s=0.0))


def becomes_true(condition: Callable[[], bool], *, within_s: float = PATIENCE_S) -> bool:
    until = time.monotonic() + within_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)
    return condition()


def parsl_worker(task_pid: int) -> int:
    """The process of Parsl above the process of a task."""
    return psutil.Process(task_pid).ppid()


def processes_with(word: str, *, of: int) -> list[psutil.Process]:
    children = psutil.Process(of).children(recursive=True)
    return [process for process in children if word in " ".join(process.cmdline())]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_of_parsl_that_is_killed_while_idle_stops_nothing(
    tmp_path: Path, workers: int
) -> None:
    with start(tmp_path, workers_per_node=workers) as executor:
        pid = executor.submit(os.getpid).result(PATIENCE_S)
        os.kill(parsl_worker(pid), signal.SIGKILL)
        time.sleep(2.0)
        ends = [executor.submit(abs, -1).exception(PATIENCE_S) for _ in range(3)]
        assert all(end is None or isinstance(end, WorkerLost) for end in ends)
        assert executor.submit(abs, -1).result(PATIENCE_S) == 1


def test_a_task_whose_parsl_worker_is_killed_is_lost(tmp_path: Path) -> None:
    with start(tmp_path) as executor:
        pid = executor.submit(os.getpid).result(PATIENCE_S)
        future = executor.submit(time.sleep, 1000)
        assert becomes_true(future.running)
        os.kill(parsl_worker(pid), signal.SIGKILL)
        assert isinstance(future.exception(PATIENCE_S), WorkerLost)
        assert executor.submit(abs, -1).result(PATIENCE_S) == 1
        assert becomes_true(lambda: not psutil.pid_exists(pid))


def test_a_task_that_kills_its_own_process_died(tmp_path: Path) -> None:
    with start(tmp_path) as executor:
        error = executor.submit(signal.raise_signal, signal.SIGKILL).exception(PATIENCE_S)
        assert isinstance(error, WorkerDied)
        assert error.exitcode == -signal.SIGKILL


def test_when_the_interchange_is_killed_what_runs_is_lost_and_a_new_one_takes_over(
    tmp_path: Path,
) -> None:
    with start(tmp_path) as executor:
        future = executor.submit(time.sleep, 1000)
        assert becomes_true(future.running)
        waiting = executor.submit(abs, -1)
        (interchange,) = processes_with("HTEX interchange", of=os.getpid())
        interchange.kill()
        error = future.exception(PATIENCE_S)
        assert isinstance(error, WorkerLost)
        assert "Parsl's interchange ended, exit code -9" in str(error)
        assert waiting.result(PATIENCE_S) == 1


def test_blocks_come_with_work_and_go_when_idle(tmp_path: Path) -> None:
    with start(tmp_path, max_blocks=2, idle_limit="2s") as executor:
        assert executor.submit(abs, -1).result(PATIENCE_S) == 1
        assert len(executor.jobs) == 1
        pids = [executor.submit(os.getpid), *(executor.submit(time.sleep, 8) for _ in range(3))]
        assert becomes_true(lambda: len(executor.jobs) == 2)
        assert all(future.exception(PATIENCE_S) is None for future in pids)
        assert becomes_true(lambda: executor.jobs == [])
        assert executor.submit(abs, -1).result(PATIENCE_S) == 1


def test_nothing_outlives_a_killed_owner(tmp_path: Path) -> None:
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "pool")], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "running\n"
        family = psutil.Process(owner.pid).children(recursive=True)
        assert len(family) >= 6
        owner.kill()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert [p.cmdline() for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []

"""Parsl with a real Slurm of one node, which scripts/slurm.sh starts and stops."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path

import pytest

pytest.importorskip("parsl")

from voltaloop.executors import THREAD_VARIABLES, WorkerDied, WorkerLost
from voltaloop.executors.catalogue import PoolWork
from voltaloop.executors.parsl import blocks as parsl_blocks
from voltaloop.executors.parsl.executor import ParslExecutor
from voltaloop.executors.parsl.pool import ParslPool
from voltaloop.executors.parsl.schedulers import ParslScheduler
from voltaloop.executors.parsl.settings import ParslSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PATIENCE_S = 90.0


@pytest.fixture
def start(slurm: None, tmp_path: Path) -> Iterator[Callable[..., ParslExecutor]]:  # noqa: ARG001 - runs
    started: list[ParslExecutor] = []

    def start(**settings: object) -> ParslExecutor:
        wanted = {
            "provider": "slurm",
            "partition": "debug",
            "walltime": "10m",
            "address": "127.0.0.1",
            "heartbeat_limit": "6s",
            "status_every": "2s",
            **settings,
        }
        pool = ParslPool(ParslSettings.model_validate(wanted))
        pool.check_installed()
        started.append(pool.start(PoolWork(name="label", folder=tmp_path / "pool")))
        return started[-1]

    yield start
    for executor in started:
        executor.shutdown()


def queue() -> list[str]:
    """``job state`` of every job that Slurm has."""
    listed = subprocess.run(
        ["squeue", "--noheader", "--format=%i %T"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return listed.stdout.split("\n")[:-1]


def becomes_true(condition: Callable[[], bool], *, within_s: float = PATIENCE_S) -> bool:
    until = time.monotonic() + within_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.2)
    return condition()


def running(future: Future[object]) -> bool:
    return becomes_true(future.running)


def test_tasks_run_in_a_job_of_slurm_with_their_threads_and_the_users_lines(
    start: Callable[..., ParslExecutor],
) -> None:
    executor = start(threads=2, workers_per_node=1, worker_init=["export MODULE=gpaw/26"])
    job = executor.submit(os.getenv, "SLURM_JOB_ID").result(PATIENCE_S)
    assert [job] == executor.jobs
    assert f"{job} RUNNING" in queue()
    assert executor.submit(os.getenv, "MODULE").result(PATIENCE_S) == "gpaw/26"
    assert executor.submit(os.getenv, THREAD_VARIABLES[0]).result(PATIENCE_S) == "2"
    assert executor.submit(os.getenv, "SLURM_CPUS_PER_TASK").result(PATIENCE_S) == "2"


def test_a_crash_in_a_job_harms_only_its_task(start: Callable[..., ParslExecutor]) -> None:
    executor = start()
    error = executor.submit(os._exit, 3).exception(PATIENCE_S)
    assert isinstance(error, WorkerDied)
    assert executor.submit(abs, -1).result(PATIENCE_S) == 1


def test_jobs_come_with_work_and_go_when_idle(start: Callable[..., ParslExecutor]) -> None:
    if (os.cpu_count() or 1) < 2:
        pytest.skip("two jobs at a time need two cores")
    executor = start(max_blocks=2, idle_limit="3s")
    tasks = [executor.submit(time.sleep, 10) for _ in range(3)]
    assert becomes_true(lambda: sum("RUNNING" in job for job in queue()) == 2)
    assert becomes_true(lambda: sum(task.running() for task in tasks) == 2)
    assert all(task.exception(PATIENCE_S) is None for task in tasks)
    assert becomes_true(lambda: queue() == [])
    assert executor.submit(abs, -1).result(PATIENCE_S) == 1


def test_what_a_cancelled_job_ran_is_lost_and_the_next_task_runs_in_a_new_one(
    start: Callable[..., ParslExecutor],
) -> None:
    executor = start()
    future = executor.submit(time.sleep, 1000)
    assert running(future)
    (job,) = executor.jobs
    subprocess.run(["scancel", job], check=True, timeout=30)
    error = future.exception(PATIENCE_S)
    assert isinstance(error, WorkerLost)
    assert "its allocation has ended or the node is down" in str(error)
    again = executor.submit(os.getenv, "SLURM_JOB_ID").result(PATIENCE_S)
    assert int(again) > int(job)


def test_a_job_that_is_cancelled_in_the_queue_is_asked_for_again(
    start: Callable[..., ParslExecutor],
) -> None:
    executor = start(scheduler_options=["#SBATCH --begin=now+2hours"])
    future = executor.submit(abs, -1)
    assert becomes_true(lambda: len(executor.jobs) == 1)
    (job,) = executor.jobs
    assert f"{job} PENDING" in queue()
    time.sleep(3.0)
    subprocess.run(["scancel", job], check=True, timeout=30)
    assert becomes_true(lambda: executor.jobs not in ([], [job]))
    assert not future.done()
    assert future.cancel()


def test_when_the_walltime_is_over_the_task_is_lost_and_the_next_one_runs(
    start: Callable[..., ParslExecutor],
) -> None:
    executor = start(walltime="1m")
    future = executor.submit(time.sleep, 1000)
    error = future.exception(150.0)  # Slurm looks at time limits twice a minute
    assert isinstance(error, WorkerLost)
    assert executor.submit(abs, -1).result(PATIENCE_S) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"partition": "nowhere"}, "Invalid partition name specified"),
        ({"memory_per_node_GB": 900_000}, "Requested node configuration is not available"),
        ({"worker_init": ["module load gpaw || exit 9"]}, "module: command not found"),
    ],
)
def test_a_pool_that_gets_no_job_fails_with_the_schedulers_own_words(
    start: Callable[..., ParslExecutor],
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, object],
    words: str,
) -> None:
    monkeypatch.setattr(parsl_blocks, "FIRST_WAIT_S", 0.1)
    executor = start(**settings)
    error = executor.submit(abs, -1).exception(PATIENCE_S)
    assert isinstance(error, BrokenExecutor)
    assert "Pool 'label' cannot run tasks: 5 blocks in a row did not start" in str(error)
    assert words in str(error)


def test_shutdown_leaves_no_job(start: Callable[..., ParslExecutor]) -> None:
    executor = start(max_blocks=3, init_blocks=3)
    future = executor.submit(time.sleep, 1000)
    assert running(future)
    assert becomes_true(lambda: len(executor.jobs) == 3)
    executor.shutdown()
    assert becomes_true(lambda: queue() == [], within_s=20)


def test_a_job_ends_by_itself_when_the_interchange_is_gone(
    start: Callable[..., ParslExecutor], monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = start()
    future = executor.submit(time.sleep, 1000)
    assert running(future)
    # As after a SIGKILL of this process: nobody cancels the job.
    monkeypatch.setattr(ParslScheduler, "cancel", lambda *_: None)
    (job,) = executor.jobs
    executor.shutdown()
    assert f"{job} RUNNING" in queue()
    assert becomes_true(lambda: queue() == [], within_s=40)

"""Parsl with blocks of this machine keeps the contract of every executor."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from pathlib import Path

import psutil
import pytest

pytest.importorskip("parsl")

from voltaloop.executors import WorkerLost
from voltaloop.executors.catalogue import PoolWork
from voltaloop.executors.parsl import blocks as parsl_blocks
from voltaloop.executors.parsl.executor import ParslExecutor
from voltaloop.executors.parsl.pool import ParslPool
from voltaloop.executors.parsl.settings import ParslSettings
from voltaloop.testing.executors import ExecutorContract

PATIENCE_S = 60.0


def start(folder: Path, *, grace_s: float = 0.0, **settings: object) -> ParslExecutor:
    wanted = {"workers_per_node": 2, "heartbeat_limit": "5s", **settings}
    pool = ParslPool(ParslSettings.model_validate(wanted))
    return pool.start(PoolWork(name="label", folder=folder, grace_s=grace_s))


def becomes_true(condition: Callable[[], bool], *, within_s: float) -> bool:
    until = time.monotonic() + within_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)
    return condition()


def our_processes() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


def listening(process: psutil.Process) -> set[str]:
    connections = process.net_connections("inet")
    return {
        c.laddr.ip.removeprefix("::ffff:") for c in connections if c.status == psutil.CONN_LISTEN
    }


class TestParsl(ExecutorContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.folder = tmp_path_factory.mktemp("parsl")

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
        """One for all tests that do not shut it down: a block takes seconds to start."""
        folder = tmp_path_factory.mktemp("shared")
        with start(folder, threads=cls.threads, grace_s=5.0) as executor:
            yield executor

    def make_executor(
        self,
        *,
        task_timeout_s: float | None = None,
        memory_limit_GB: float | None = None,
        grace_s: float = 5.0,
    ) -> Executor:
        limits: dict[str, object] = {"threads": self.threads, "memory_GB": memory_limit_GB}
        if task_timeout_s is not None:
            limits["task_limit"] = f"{task_timeout_s}s"
        return start(self.folder, grace_s=grace_s, **limits)


def test_what_a_killed_block_ran_is_lost_and_the_next_task_runs_in_a_new_one(
    tmp_path: Path,
) -> None:
    with start(tmp_path, workers_per_node=1) as executor:
        future = executor.submit(time.sleep, 1000)
        assert becomes_true(future.running, within_s=PATIENCE_S)
        (job,) = executor.jobs
        os.killpg(int(job), signal.SIGKILL)
        error = future.exception(PATIENCE_S)
        assert isinstance(error, WorkerLost)
        assert "nothing was heard from its node" in str(error)
        assert "for 5 s" in str(error)
        assert executor.submit(abs, -1).result(PATIENCE_S) == 1
        assert executor.jobs != [job]


def test_a_block_that_cannot_start_fails_every_task_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parsl_blocks, "FIRST_WAIT_S", 0.1)
    init = ["echo 'module: gpaw/99 is unknown' >&2", "exit 7"]
    with start(tmp_path, worker_init=init) as executor:
        futures = [executor.submit(abs, -1) for _ in range(3)]
        for future in futures:
            error = future.exception(PATIENCE_S)
            assert isinstance(error, BrokenExecutor)
            assert "Pool 'label' cannot run tasks: 5 blocks in a row did not start" in str(error)
            assert "ended before its workers reported: exit code 7" in str(error)
            assert "module: gpaw/99 is unknown" in str(error)
        with pytest.raises(BrokenExecutor, match="module: gpaw/99 is unknown"):
            executor.submit(abs, -1)


def test_shutdown_with_running_tasks_leaves_no_process_and_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = our_processes()
    executor = start(tmp_path)
    futures = [executor.submit(time.sleep, 1000) for _ in range(3)]
    assert becomes_true(lambda: sum(f.running() for f in futures) == 2, within_s=PATIENCE_S)
    started = {psutil.Process(pid) for pid in our_processes() - before}
    assert len(started) >= 4
    assert {address for process in started for address in listening(process)} == {"127.0.0.1"}
    executor.shutdown()
    _, alive = psutil.wait_procs(started, timeout=10)
    assert not alive
    assert list(tmp_path.rglob("*.key_secret")) == []
    assert capfd.readouterr() == ("", "")


def test_a_function_of_the_main_script_is_refused_with_the_way_out(tmp_path: Path) -> None:
    def task() -> None: ...

    task.__module__ = "__main__"
    with start(tmp_path) as executor:
        with pytest.raises(ValueError, match=r"'.*task' is defined in the main script.* a module"):
            executor.submit(task).result(0)
        assert executor.jobs == []

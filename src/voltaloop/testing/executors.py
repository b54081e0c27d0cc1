"""What every executor promises, as tests to inherit."""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, wait
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import psutil
import pytest

from voltaloop.executors import (
    THREAD_VARIABLES,
    RemoteError,
    TaskInterrupted,
    TaskOutOfMemory,
    TaskTimeout,
    WorkerDied,
    failure_text,
)

_PATIENCE_S = 60.0


class ExecutorContract:
    """Inherit, write ``make_executor``, and the suite runs::

        class TestMine(ExecutorContract):
            def make_executor(self, *, task_timeout_s=None, memory_limit_GB=None, grace_s=5.0):
                return Mine(workers=2, threads=self.threads, ...)

    Capabilities are tested unless the class opts out by setting its flag to False. Tests that do
    not need an executor of their own share one, so a fault in one may show in those that follow.
    """

    separate_processes: ClassVar[bool] = True
    """Tasks run in other processes, two at a time, and exchange pickles with this one."""
    survives_crash: ClassVar[bool] = True
    """A task whose process dies fails alone, with WorkerDied."""
    limits_time: ClassVar[bool] = True
    """A task over the limit is ended and fails with TaskTimeout."""
    limits_memory: ClassVar[bool] = True
    """A task that holds more memory than allowed is ended and fails with TaskOutOfMemory."""
    same_machine: ClassVar[bool] = True
    """Tasks run where the tests do: processes of theirs can be looked at."""
    pins_threads: ClassVar[bool] = True
    """Numerical libraries in a worker are held to ``threads`` threads."""
    bounds_shutdown: ClassVar[bool] = True
    """A task that hangs when the executor is shut down fails with TaskInterrupted."""

    threads: ClassVar[int] = 3
    """Threads per worker; unusual, so that it is not right by chance."""
    shutdown_limit_s: ClassVar[float] = 15.0
    """What a shutdown may take beyond its grace time."""

    def make_executor(
        self,
        *,
        task_timeout_s: float | None = None,
        memory_limit_GB: float | None = None,
        grace_s: float = 5.0,
    ) -> Executor:
        raise NotImplementedError("return an executor of two workers with these limits")

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        with cls().make_executor() as executor:
            yield executor

    def test_a_task_returns_what_its_function_returns(self, executor: Executor) -> None:
        assert executor.submit(divmod, 17, 5).result(_PATIENCE_S) == (3, 2)

    def test_keywords_reach_the_function(self, executor: Executor) -> None:
        future = executor.submit(sorted, [1, 3, 2], reverse=True)
        assert future.result(_PATIENCE_S) == [3, 2, 1]

    def test_a_large_argument_and_result_arrive_whole(self, executor: Executor) -> None:
        data = bytes(range(256)) * 40_000
        assert executor.submit(_reversed, data).result(_PATIENCE_S) == data[::-1]

    def test_each_future_gets_its_own_result_whatever_the_order_of_ending(
        self, executor: Executor
    ) -> None:
        futures = [executor.submit(_after, 0.1 / n, n) for n in range(1, 8)]
        assert [future.result(_PATIENCE_S) for future in futures] == list(range(1, 8))

    def test_map_keeps_the_order(self, executor: Executor) -> None:
        assert list(executor.map(abs, [-3, 2, -1], timeout=_PATIENCE_S)) == [3, 2, 1]

    def test_two_tasks_run_at_the_same_time(self, executor: Executor, tmp_path: Path) -> None:
        if not self.separate_processes:
            pytest.skip("one task at a time (separate_processes = False)")
        ends = [("a", "b"), ("b", "a")]
        futures = [executor.submit(_meet, tmp_path, mine, other) for mine, other in ends]
        assert [future.result(_PATIENCE_S) for future in futures] == [True, True]

    def test_an_exception_arrives_with_its_type_its_text_and_its_traceback(
        self, executor: Executor
    ) -> None:
        error = executor.submit(_fail, "no convergence").exception(_PATIENCE_S)
        assert type(error) is ValueError
        assert error.args == ("no convergence",)
        assert "in _fail" in failure_text(error)
        assert "no convergence" in failure_text(error)

    def test_a_failed_task_does_not_disturb_the_next(self, executor: Executor) -> None:
        executor.submit(_fail, "on purpose").exception(_PATIENCE_S)
        assert executor.submit(abs, -1).result(_PATIENCE_S) == 1

    def test_an_exception_that_cannot_travel_arrives_under_its_name(
        self, executor: Executor
    ) -> None:
        if not self.separate_processes:
            pytest.skip("nothing travels (separate_processes = False)")
        error = executor.submit(_raise_untransportable).exception(_PATIENCE_S)
        assert isinstance(error, RemoteError)
        assert str(error) == "_Untransportable: SCF at step 7"
        assert executor.submit(abs, -1).result(_PATIENCE_S) == 1

    def test_a_task_that_exits_python_fails_alone(self, executor: Executor) -> None:
        if not self.separate_processes:
            pytest.skip("it would end the tests (separate_processes = False)")
        error = executor.submit(sys.exit, 3).exception(_PATIENCE_S)
        assert isinstance(error, RemoteError)
        assert str(error) == "SystemExit: 3"

    def test_what_cannot_be_pickled_fails_in_its_own_future(self, executor: Executor) -> None:
        if not self.separate_processes:
            pytest.skip("nothing is pickled (separate_processes = False)")
        argument = executor.submit(_reversed, lambda: 0)
        result = executor.submit(_unpicklable)
        assert argument.exception(_PATIENCE_S) is not None
        assert result.exception(_PATIENCE_S) is not None
        assert executor.submit(abs, -1).result(_PATIENCE_S) == 1

    @pytest.mark.parametrize("crash", ["exit", "segfault"])
    def test_a_crash_fails_only_the_task_that_crashed(self, executor: Executor, crash: str) -> None:
        if not self.survives_crash:
            pytest.skip("a crash ends more than its task (survives_crash = False)")
        bystanders = [executor.submit(_after, 0.05, n) for n in range(2)]
        crashing = executor.submit(_crash, crash)
        bystanders += [executor.submit(_after, 0.05, n) for n in range(2, 4)]
        assert isinstance(crashing.exception(_PATIENCE_S), WorkerDied)
        assert [future.result(_PATIENCE_S) for future in bystanders] == list(range(4))

    def test_a_task_over_its_time_limit_is_ended_and_the_next_one_runs(self) -> None:
        if not self.limits_time:
            pytest.skip("tasks may take any time (limits_time = False)")
        with self.make_executor(task_timeout_s=1.0) as executor:
            hanging = [executor.submit(time.sleep, 1000) for _ in range(2)]
            after = executor.submit(abs, -1)
            for future in hanging:
                assert isinstance(future.exception(_PATIENCE_S), TaskTimeout)
            assert after.result(_PATIENCE_S) == 1

    def test_a_program_that_an_ended_task_started_is_ended_too(self, tmp_path: Path) -> None:
        if not (self.limits_time and self.same_machine):
            pytest.skip("limits_time = False or same_machine = False")
        program = ["sh", "-c", f"echo $$ > '{tmp_path}/pid'; exec sleep 1000"]
        with self.make_executor(task_timeout_s=2.0) as executor:
            # In a session of its own, as MPI launchers start what they run.
            hanging = executor.submit(subprocess.call, program, start_new_session=True)
            assert isinstance(hanging.exception(_PATIENCE_S), TaskTimeout)
        pid = int((tmp_path / "pid").read_text())
        _until(lambda: _gone(pid), limit_s=20.0)

    def test_a_task_over_its_memory_limit_is_ended_and_the_next_one_runs(self) -> None:
        if not self.limits_memory:
            pytest.skip("tasks may take all memory (limits_memory = False)")
        with self.make_executor(memory_limit_GB=1.0) as executor:
            error = executor.submit(_hold, 1_500_000_000).exception(_PATIENCE_S)
            assert isinstance(error, TaskOutOfMemory)
            assert "more than the 1 GB" in str(error)
            assert executor.submit(abs, -1).result(_PATIENCE_S) == 1

    def test_a_memory_error_of_the_task_itself_stays_one(self, executor: Executor) -> None:
        assert isinstance(executor.submit(bytes, 10**18).exception(_PATIENCE_S), MemoryError)

    def test_a_task_that_waits_can_be_cancelled(self, executor: Executor) -> None:
        if not self.separate_processes:
            pytest.skip("nothing ever waits (separate_processes = False)")
        running = [executor.submit(_after, 1.0, n) for n in range(2)]
        waiting = executor.submit(_after, 0.0, "not wanted")
        assert waiting.cancel()
        assert [future.result(_PATIENCE_S) for future in running] == [0, 1]
        assert waiting.cancelled()
        assert executor.submit(abs, -1).result(_PATIENCE_S) == 1

    def test_a_worker_sees_its_thread_limits(self, executor: Executor) -> None:
        if not self.pins_threads:
            pytest.skip("threads are the caller's (pins_threads = False)")
        seen = executor.submit(_environment, THREAD_VARIABLES).result(_PATIENCE_S)
        assert seen == [str(self.threads)] * len(THREAD_VARIABLES)

    def test_shutdown_lets_a_short_task_finish(self) -> None:
        executor = self.make_executor(grace_s=_PATIENCE_S)
        future = executor.submit(_after, 0.2, "done")
        executor.shutdown()
        assert future.result(0) == "done"

    def test_shutdown_is_bounded_when_a_task_hangs(self) -> None:
        if not self.bounds_shutdown:
            pytest.skip("shutdown waits for every task (bounds_shutdown = False)")
        executor = self.make_executor(grace_s=0.5)
        futures = [executor.submit(time.sleep, 1000) for _ in range(4)]
        _until(lambda: sum(future.running() for future in futures) == 2)
        started = time.monotonic()
        executor.shutdown()
        assert time.monotonic() - started < 0.5 + self.shutdown_limit_s
        assert [type(future.exception(0)) for future in futures[:2]] == [TaskInterrupted] * 2
        assert [future.cancelled() for future in futures] == [False, False, True, True]

    def test_shutdown_can_cancel_what_waits(self) -> None:
        if not self.separate_processes:
            pytest.skip("nothing ever waits (separate_processes = False)")
        executor = self.make_executor(grace_s=_PATIENCE_S)
        running = [executor.submit(_after, 0.5, n) for n in range(2)]
        _until(lambda: all(future.running() for future in running))
        waiting = [executor.submit(_after, 0.5, n) for n in range(3)]
        executor.shutdown(cancel_futures=True)
        assert [future.result(0) for future in running] == [0, 1]
        assert len(wait(waiting, timeout=0).done) == 3
        for future in waiting:
            with pytest.raises(CancelledError):
                future.result(0)

    def test_after_shutdown_nothing_is_accepted_and_shutdown_may_be_repeated(self) -> None:
        executor = self.make_executor()
        executor.shutdown()
        executor.shutdown()
        with pytest.raises(RuntimeError, match="was shut down"):
            executor.submit(abs, -1)


class _Untransportable(Exception):  # noqa: N818 - only its name matters
    """Pickles, but cannot be built again: its ``args`` are not what its ``__init__`` takes."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(f"{what} at step {step}")


def _raise_untransportable() -> NoReturn:
    raise _Untransportable("SCF", 7)


def _fail(text: str) -> NoReturn:
    raise ValueError(text)


def _reversed(data: Any) -> Any:
    return data[::-1]


def _after(seconds: float, value: Any) -> Any:
    time.sleep(seconds)
    return value


def _unpicklable() -> Any:
    return lambda: 0


def _environment(names: tuple[str, ...]) -> list[str | None]:
    return [os.environ.get(name) for name in names]


def _crash(how: str) -> NoReturn:
    if how == "segfault":
        ctypes.string_at(0)
    os._exit(3)


def _hold(size: int) -> NoReturn:
    data = b"x" * size
    time.sleep(1000)
    raise AssertionError(f"The task was not ended and holds {len(data)} bytes.")


def _gone(pid: int) -> bool:
    """Whether the process has ended, though its parent may not have read its exit code."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _until(holds: Callable[[], bool], limit_s: float = _PATIENCE_S) -> None:
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, f"This did not happen within {limit_s:g} s."
        time.sleep(0.02)


def _meet(folder: Path, mine: str, other: str) -> bool:
    """Whether the other task was running while this one was."""
    (folder / mine).touch()
    until = time.monotonic() + _PATIENCE_S / 2
    while time.monotonic() < until:
        if (folder / other).exists():
            return True
        time.sleep(0.01)
    return False

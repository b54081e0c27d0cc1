import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from voltaloop.executors import (
    Limits,
    TaskInterrupted,
    TaskOutOfMemory,
    TaskTimeout,
    WorkerDied,
    failure_text,
    guard,
    local,
    run_guarded,
    run_sealed,
    seal,
    settle,
)

PATIENCE_S = 60.0
PLAIN = Limits(name="label", task_limit_s=PATIENCE_S)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def error_of(ending: bytes) -> BaseException | None:
    future: Future[Any] = Future()
    settle(future, ending)
    return future.exception(0)


def test_a_guarded_call_returns_what_its_function_returns_from_another_process() -> None:
    assert run_guarded(PLAIN, divmod, 17, 5) == (3, 2)
    assert run_guarded(PLAIN, os.getpid) != os.getpid()


def test_a_guarded_call_raises_what_its_function_raises_with_the_traceback() -> None:
    with pytest.raises(ValueError, match="invalid literal") as caught:
        run_guarded(PLAIN, int, "x")
    assert "invalid literal" in failure_text(caught.value)


def test_the_inner_process_is_kept_for_the_next_call_under_the_same_limits() -> None:
    pids = [run_guarded(limits, os.getpid) for limits in (PLAIN, Limits(threads=2), PLAIN)]
    assert pids[0] == pids[2] != pids[1]


def test_with_fresh_processes_no_process_serves_two_calls() -> None:
    limits = Limits(fresh_process_per_task=True)
    assert len({run_guarded(limits, os.getpid) for _ in range(3)}) == 3


def test_calls_of_several_threads_run_at_the_same_time() -> None:
    together = threading.Barrier(2)

    def call(_: int) -> int:
        together.wait(PATIENCE_S)
        run_guarded(PLAIN, time.sleep, 0.5)
        return run_guarded(PLAIN, os.getpid)

    with ThreadPoolExecutor(2) as threads:
        started = time.monotonic()
        pids = set(threads.map(call, range(2)))
    assert len(pids) == 2
    assert time.monotonic() - started < PATIENCE_S


@pytest.mark.parametrize(
    ("limits", "call", "error"),
    [
        (PLAIN, (os._exit, 3), WorkerDied),
        (Limits(task_limit_s=0.5), (time.sleep, 1000), TaskTimeout),
        (Limits(memory_limit_GB=0.001), (time.sleep, 1000), TaskOutOfMemory),
    ],
    ids=["crash", "time", "memory"],
)
def test_each_bad_ending_is_told_and_the_next_call_works(
    limits: Limits, call: tuple[Any, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        run_guarded(limits, *call)
    assert isinstance(error_of(run_sealed(limits, seal(*call))), error)
    assert run_guarded(limits, abs, -1) == 1


def test_a_sealed_call_nobody_wants_any_more_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "ASK_EVERY_S", 0.1)
    answers = iter([True, True, False])
    ending = run_sealed(PLAIN, seal(time.sleep, 1000), wanted=lambda: next(answers, False))
    assert isinstance(error_of(ending), TaskInterrupted)
    assert run_guarded(PLAIN, abs, -1) == 1


def test_a_sealed_error_keeps_its_traceback() -> None:
    error = error_of(run_sealed(PLAIN, seal(int, "x"), wanted=lambda: True))
    assert isinstance(error, ValueError)
    assert error.__cause__ is not None
    assert failure_text(error).startswith("Traceback")


def test_an_inner_process_that_cannot_start_is_told_and_tried_again_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = Limits(name="broken")
    with monkeypatch.context() as context:
        context.setattr(local, "START_ATTEMPTS", 2)
        context.setattr(sys, "executable", "/no/such/python")
        with pytest.raises(BrokenExecutor, match="Pool 'broken' cannot run tasks: 2 workers"):
            run_guarded(limits, abs, -1)
    assert run_guarded(limits, abs, -1) == 1


def test_a_module_that_cannot_be_preloaded_is_named() -> None:
    with pytest.raises(BrokenExecutor, match=r"importing no_such_module failed:\nTraceback"):
        run_guarded(Limits(preload="no_such_module"), abs, -1)


def guarded_pid_and_hang(pids: Any) -> None:
    pids.put(run_guarded(PLAIN, os.getpid))
    time.sleep(1000)


def test_a_guard_works_in_a_daemonic_process_and_ends_with_it() -> None:
    spawn = multiprocessing.get_context("spawn")
    pids = spawn.SimpleQueue()
    outer = spawn.Process(target=guarded_pid_and_hang, args=(pids,), daemon=True)
    outer.start()
    inner = pids.get()
    assert not gone(inner)
    outer.kill()
    outer.join(PATIENCE_S)
    until(lambda: gone(inner))
    pids.close()


def test_the_main_script_of_the_cluster_engine_is_not_run_again(tmp_path: Path) -> None:
    script = tmp_path / "engine_script.py"
    script.write_text(
        textwrap.dedent(
            """
            import os
            from voltaloop.executors import Limits, run_guarded
            print("begins")
            print(run_guarded(Limits(), abs, -1))
            child = os.fork()
            if child == 0:  # as some engines make their workers
                print(run_guarded(Limits(), abs, -2), flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-u", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("begins\n1\n2\n", "")

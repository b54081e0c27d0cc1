import os
import pickle
import signal
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path

import psutil
import pytest

from voltaloop.executors import (
    LocalProcesses,
    TaskOutOfMemory,
    TaskTimeout,
    WorkerDied,
    local,
    process,
    seal,
)

PATIENCE_S = 60.0


@pytest.fixture
def pool() -> Iterator[LocalProcesses]:
    with LocalProcesses(workers=2, name="label") as pool:
        yield pool


def eventually(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.02)
    return False


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def pid_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def start_a_program_and_hang(pid_file: Path) -> None:
    child = subprocess.Popen(["sleep", "1000"])
    pid_file.write_text(str(child.pid))
    time.sleep(1000)


def fork_a_child_that_outlives_a_crash(pid_file: Path) -> None:
    pid = os.fork()
    if pid == 0:
        time.sleep(1000)
    pid_file.write_text(str(pid))
    os._exit(5)


def terminate_a_forked_child() -> int:
    pid = os.fork()
    if pid == 0:
        time.sleep(1000)
        os._exit(0)
    os.kill(pid, signal.SIGTERM)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers: expected a whole number of 1 or more, got 0"),
        ({"workers": 1.5}, "workers: expected a whole number of 1 or more, got 1.5"),
        ({"workers": 1, "threads": 0}, "threads: expected a whole number of 1 or more, got 0"),
        ({"workers": 1, "task_timeout_s": 0}, "task_timeout_s: expected more than 0 s, got 0"),
        ({"workers": 1, "memory_limit_GB": 0}, "memory_limit_GB: expected more than 0 GB, got 0"),
        ({"workers": 1, "grace_s": -1}, "grace_s: expected 0 s or more, got -1"),
        ({"workers": 1, "grace_s": float("nan")}, "grace_s: expected 0 s or more, got nan"),
    ],
)
def test_senseless_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LocalProcesses(**options)


def test_idle_workers_that_are_killed_are_replaced_and_nothing_fails(
    pool: LocalProcesses,
) -> None:
    for _ in range(3):
        pool.submit(abs, -1).result(PATIENCE_S)
        for pid in pool.pids:
            os.kill(pid, signal.SIGKILL)
        futures = [pool.submit(abs, -n) for n in range(5)]
        for future in futures:
            # A task handed to a worker in the instant of its death fails, and only that one may.
            assert isinstance(future.exception(PATIENCE_S), WorkerDied | None)
        assert pool.submit(abs, -1).result(PATIENCE_S) == 1


def test_workers_killed_at_any_instant_fail_at_most_the_tasks_they_ran(
    pool: LocalProcesses,
) -> None:
    futures = [pool.submit(pid_after, 0.02) for _ in range(100)]
    kills = 0
    while not all(future.done() for future in futures):
        time.sleep(0.2)
        victim = pool.pids[kills % 2] if len(pool.pids) == 2 else None
        if victim is not None and kills < 6:
            os.kill(victim, signal.SIGKILL)
            kills += 1
    died = [f for f in futures if isinstance(f.exception(), WorkerDied)]
    assert kills == 6
    assert len(died) <= kills
    assert sum(f.exception() is None for f in futures) == 100 - len(died)


def test_signals_that_reach_the_whole_job_are_left_to_the_parent(pool: LocalProcesses) -> None:
    futures = [pool.submit(pid_after, 0.5) for _ in range(2)]
    assert eventually(lambda: all(future.running() for future in futures))
    for number in (signal.SIGINT, signal.SIGTERM):
        for pid in pool.pids:
            os.kill(pid, number)
    assert sorted(future.result(PATIENCE_S) for future in futures) == sorted(pool.pids)


def test_a_task_can_still_terminate_the_processes_it_forks(pool: LocalProcesses) -> None:
    status = pool.submit(terminate_a_forked_child).result(PATIENCE_S)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM


def test_a_time_limit_also_ends_the_programs_that_the_task_started(tmp_path: Path) -> None:
    with LocalProcesses(workers=1, task_timeout_s=1.0, name="label") as pool:
        error = pool.submit(start_a_program_and_hang, tmp_path / "pid").exception(PATIENCE_S)
    assert isinstance(error, TaskTimeout)
    assert "time limit of 1 s of pool 'label'" in str(error)
    assert eventually(lambda: gone(int((tmp_path / "pid").read_text())))


@pytest.mark.parametrize("new_session", [False, True])
def test_a_killed_worker_takes_its_programs_along(
    pool: LocalProcesses, tmp_path: Path, new_session: bool
) -> None:
    program = [
        "sh",
        "-c",
        f"echo $$ > '{tmp_path}/new'; mv '{tmp_path}/new' '{tmp_path}/pid'; exec sleep 1000",
    ]
    future = pool.submit(subprocess.call, program, start_new_session=new_session)
    assert eventually((tmp_path / "pid").exists)
    pid = int((tmp_path / "pid").read_text())
    worker = psutil.Process(pid).ppid()
    assert worker in pool.pids
    os.kill(worker, signal.SIGKILL)
    assert isinstance(future.exception(PATIENCE_S), WorkerDied)
    assert eventually(lambda: gone(pid))


def test_memory_of_programs_counts_and_only_the_task_that_holds_it_is_ended() -> None:
    hold = "data = b'x' * 400_000_000; import time; time.sleep(1000)"
    with LocalProcesses(workers=2, memory_limit_GB=0.3, grace_s=PATIENCE_S, name="label") as pool:
        small = pool.submit(pid_after, 2.0)
        large = pool.submit(subprocess.call, [sys.executable, "-c", hold])
        error = large.exception(PATIENCE_S)
        assert isinstance(error, TaskOutOfMemory)
        _, pid, limit, used = error.args
        assert gone(pid)
        assert limit == 0.3 < used < 1.0
        assert small.result(PATIENCE_S) in pool.pids


def test_idle_workers_are_not_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    weighed: list[set[int]] = []

    def weigh(pids: Iterable[int]) -> dict[int, int]:
        weighed.append(set(pids))
        return {}

    monkeypatch.setattr(local, "resident_bytes", weigh)
    with LocalProcesses(workers=2, memory_limit_GB=1.0) as pool:
        pool.submit(abs, -1).result(PATIENCE_S)
        time.sleep(0.6)
        weighed.clear()
        time.sleep(0.6)
        assert weighed == []
        pid = pool.submit(pid_after, 0.6).result(PATIENCE_S)
    assert weighed
    assert set.union(*weighed) == {pid}


def test_a_pool_without_the_main_script_serves_a_script_without_a_main_guard(
    tmp_path: Path,
) -> None:
    done = run_script(
        tmp_path,
        """
        from voltaloop.executors import LocalProcesses
        with LocalProcesses(workers=1, import_main=False) as pool:
            print(pool.submit(abs, -1).result())
        """,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_sealed_call_ends_as_bytes_for_whoever_sealed_it(pool: LocalProcesses) -> None:
    ending = pool.submit_sealed(seal(divmod, 7, 2)).result(PATIENCE_S)
    assert pickle.loads(ending) == (True, (3, 1))  # noqa: S301 - our own
    assert isinstance(pool.submit_sealed(seal(os._exit, 1)).exception(PATIENCE_S), WorkerDied)


def test_a_pool_says_whether_it_takes_tasks(pool: LocalProcesses) -> None:
    assert pool.usable
    pool.shutdown()
    assert not pool.usable


def test_a_crash_is_noticed_though_a_forked_child_keeps_the_pipe_open(
    pool: LocalProcesses, tmp_path: Path
) -> None:
    error = pool.submit(fork_a_child_that_outlives_a_crash, tmp_path / "pid").exception(PATIENCE_S)
    assert isinstance(error, WorkerDied)
    assert error.exitcode == 5
    assert eventually(lambda: gone(int((tmp_path / "pid").read_text())))


def test_a_death_names_the_signal(pool: LocalProcesses) -> None:
    error = pool.submit(signal.raise_signal, signal.SIGABRT).exception(PATIENCE_S)
    assert "killed by SIGABRT" in str(error)


def test_without_fresh_processes_workers_are_kept(pool: LocalProcesses) -> None:
    pids = {pool.submit(os.getpid).result(PATIENCE_S) for _ in range(10)}
    assert pids <= set(pool.pids)


def test_fresh_processes_run_one_task_each() -> None:
    with LocalProcesses(workers=2, fresh_process_per_task=True) as pool:
        futures = [pool.submit(os.getpid) for _ in range(6)]
        pids = [future.result(PATIENCE_S) for future in futures]
    assert len(set(pids)) == 6
    assert all(gone(pid) for pid in pids)


def test_a_callback_may_submit_the_next_task(pool: LocalProcesses) -> None:
    results: list[Future[int]] = []
    second = threading.Event()

    def go_on(_: Future[int]) -> None:
        results.append(pool.submit(abs, -2))
        second.set()

    pool.submit(abs, -1).add_done_callback(go_on)
    assert second.wait(PATIENCE_S)
    assert results[0].result(PATIENCE_S) == 2


def test_a_callback_may_shut_the_pool_down(pool: LocalProcesses) -> None:
    pool.submit(abs, -1).add_done_callback(lambda _: pool.shutdown())
    assert eventually(lambda: pool.pids == ())


def test_a_waiting_task_can_be_cancelled(pool: LocalProcesses) -> None:
    running = [pool.submit(pid_after, 0.3) for _ in range(2)]
    waiting = pool.submit(pid_after, 0.0)
    assert waiting.cancel()
    for future in running:
        future.result(PATIENCE_S)
    assert pool.submit(abs, -1).result(PATIENCE_S) == 1


def test_a_pool_leaves_no_process_and_no_open_file() -> None:
    me = psutil.Process()
    with LocalProcesses(workers=1) as pool:
        pool.submit(abs, -1).result(PATIENCE_S)
    open_files, threads = me.num_fds(), threading.active_count()
    with LocalProcesses(workers=2, task_timeout_s=0.5) as pool:
        for task in (time.sleep, os._exit, abs):
            pool.submit(task, 100).exception(PATIENCE_S)
        pids = pool.pids
    assert (me.num_fds(), threading.active_count()) == (open_files, threads)
    assert all(gone(pid) for pid in pids)


def test_workers_that_never_start_break_the_pool_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(local, "START_ATTEMPTS", 3)
    with LocalProcesses(workers=1, name="label") as pool:
        error = pool.submit(abs, -1).exception(PATIENCE_S)
        assert isinstance(error, BrokenExecutor)
        assert "Pool 'label' cannot run tasks: 3 workers in a row did not start" in str(error)
        assert "exit code 1" in str(error)
        with pytest.raises(BrokenExecutor, match="did not start"):
            pool.submit(abs, -1)


def test_a_python_that_is_not_there_breaks_the_pool_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    monkeypatch.setattr(local, "START_ATTEMPTS", 2)
    with LocalProcesses(workers=1) as pool:
        error = pool.submit(abs, -1).exception(PATIENCE_S)
    assert "No such file or directory: '/no/such/python'" in str(error)


def test_a_worker_that_hangs_while_starting_counts_as_not_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "BOOTSTRAP", "import time; time.sleep(1000)")
    monkeypatch.setattr(local, "START_ATTEMPTS", 2)
    monkeypatch.setattr(local, "START_LIMIT_S", 0.2)
    with LocalProcesses(workers=1) as pool:
        error = pool.submit(abs, -1).exception(PATIENCE_S)
    assert "2 workers in a row did not start, the last: not ready within 0.2 s" in str(error)


def run_script(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "campaign_script.py"
    script.write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )


def test_functions_of_the_users_script_run_and_its_imports_come_after_the_thread_limits(
    tmp_path: Path,
) -> None:
    done = run_script(
        tmp_path,
        """
        import os
        AT_IMPORT = os.environ.get("OMP_NUM_THREADS")
        from voltaloop.executors import LocalProcesses

        class Odd(Exception):
            pass

        def seen(): return AT_IMPORT
        def fail(): raise Odd("x")

        if __name__ == "__main__":
            with LocalProcesses(workers=1, threads=5) as pool:
                print(pool.submit(seen).result(), type(pool.submit(fail).exception()) is Odd)
        """,
    )
    assert (done.stdout, done.stderr) == ("5 True\n", "")


def test_a_script_that_pip_installed_is_not_imported_by_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(
        sys.modules["__main__"], "__file__", str(tmp_path / "voltaloop"), raising=False
    )
    assert "init_main_from_path" in pickle.loads(process.preparation("label", None))[0]  # noqa: S301 - our own
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    assert "init_main_from_path" not in pickle.loads(process.preparation("label", None))[0]  # noqa: S301 - our own


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        """
        from voltaloop.executors import LocalProcesses
        with LocalProcesses(workers=1) as pool:
            print(pool.submit(abs, -1).exception())
        """,
    )
    assert "importing the main script failed" in done.stdout
    assert "if __name__ == '__main__':" in done.stdout


@pytest.mark.parametrize("task", ["idle", "busy"])
def test_workers_end_when_their_parent_is_killed(tmp_path: Path, task: str) -> None:
    script = tmp_path / "parent_script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import time
            from voltaloop.executors import LocalProcesses
            if __name__ == "__main__":
                pool = LocalProcesses(workers=2)
                for future in [pool.submit(time.sleep, 0.1) for _ in range(4)]: future.result()
                if {task!r} == "busy":
                    futures = [pool.submit(time.sleep, 1000) for _ in range(2)]
                    while not all(future.running() for future in futures): time.sleep(0.01)
                print(*pool.pids, flush=True)
                time.sleep(1000)
            """
        )
    )
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    assert eventually(lambda: all(gone(pid) for pid in pids))


def test_a_program_that_forgets_its_pool_still_ends(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        """
        import time
        from voltaloop.executors import LocalProcesses
        if __name__ == "__main__":
            pool = LocalProcesses(workers=1)
            pool.submit(abs, -1).result()
            pool.submit(time.sleep, 1000)
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

PATIENCE_S = 30.0


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


def start_script(folder: Path, text: str) -> subprocess.Popen[str]:
    script = folder / "thinker.py"
    script.write_text(textwrap.dedent(text))
    return subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("new_session", [False, True])
def test_programs_of_tasks_end_with_a_thinker_that_is_killed(
    tmp_path: Path, new_session: bool
) -> None:
    program = ["sh", "-c", "echo $$; exec sleep 1000"]
    thinker = start_script(
        tmp_path,
        f"""
        import subprocess
        from voltaloop.executors import LocalProcesses
        if __name__ == "__main__":
            pool = LocalProcesses(workers=1)
            task = pool.submit(subprocess.call, {program}, start_new_session={new_session})
            task.result()
        """,
    )
    with thinker:
        assert thinker.stdout is not None
        pid = int(thinker.stdout.readline())
        family = psutil.Process(thinker.pid).children(recursive=True)
        thinker.kill()
    until(lambda: gone(pid))
    until(lambda: all(gone(process.pid) for process in family))


def test_a_forked_child_does_not_keep_the_warden_waiting(tmp_path: Path) -> None:
    thinker = start_script(
        tmp_path,
        """
        import os, time
        from voltaloop.executors import warden
        first = warden.owner()
        assert warden.owner() == first
        if os.fork() == 0:
            assert warden._owner is None
            os.close(1)
            time.sleep(1000)
        print("ready", flush=True)
        time.sleep(1000)
        """,
    )
    with thinker:
        assert thinker.stdout is not None
        assert thinker.stdout.readline() == "ready\n"
        until(lambda: len(psutil.Process(thinker.pid).children()) == 2)
        family = psutil.Process(thinker.pid).children()
        warden = next(p for p in family if "voltaloop.executors.warden" in " ".join(p.cmdline()))
        child = next(p for p in family if p.pid != warden.pid)
        thinker.kill()
    until(lambda: gone(warden.pid))
    assert not gone(child.pid)
    child.kill()


def test_a_warden_outlasts_the_signals_that_end_a_whole_job() -> None:
    ear, lifeline = os.pipe()
    program = "from voltaloop.executors.warden import main; main('nobody')"
    warden = subprocess.Popen([sys.executable, "-c", program], stdin=ear)
    os.close(ear)
    until(lambda: os.getpgid(warden.pid) == warden.pid)  # the first thing it does
    time.sleep(0.2)
    for number in (1, 2, 15):
        warden.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        warden.wait(0.5)
    os.close(lifeline)
    assert warden.wait(PATIENCE_S) == 0

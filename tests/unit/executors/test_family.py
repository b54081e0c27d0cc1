import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from voltaloop.executors import family
from voltaloop.executors.family import (
    MARK,
    descendants,
    end_marked,
    marked_environment,
    new_mark,
    owner_mark,
    resident_bytes,
)

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def start_program(*command: str, mark: str = "") -> subprocess.Popen[bytes]:
        environment = {**os.environ, **marked_environment(mark)}
        process = subprocess.Popen(
            command, env=environment, start_new_session=True, stdout=subprocess.PIPE
        )
        started.append(process)
        return process

    yield start_program
    for process in started:
        family.kill_each(descendants(process.pid))
        process.kill()
        process.communicate(timeout=20)


def test_every_worker_has_a_mark_of_its_own_under_that_of_its_owner() -> None:
    marks = {new_mark("a"), new_mark("a"), new_mark("b")}
    assert len(marks) == 3
    assert sum(mark.startswith(owner_mark("a")) for mark in marks) == 2


def test_a_worker_inside_a_worker_carries_both_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, "<outer.1>")
    assert marked_environment("<inner.1>") == {MARK: "<outer.1><inner.1>"}


def test_marked_programs_are_ended_wherever_they_went_and_others_are_not(start: Start) -> None:
    marks = [new_mark("somebody"), new_mark("somebody")]
    ended, spared = (start("sleep", "1000", mark=mark) for mark in marks)
    end_marked(marks[0])
    assert ended.wait(20) == -9
    assert spared.poll() is None
    end_marked(owner_mark("somebody"))
    assert spared.wait(20) == -9


def test_the_memory_of_a_program_counts_for_the_process_that_started_it(start: Start) -> None:
    child = "data = b'x' * 200_000_000; print('held', flush=True); import time; time.sleep(1000)"
    parent = f"import subprocess, sys; subprocess.call([sys.executable, '-c', {child!r}])"
    process = start(sys.executable, "-c", parent)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    held = resident_bytes([process.pid])[process.pid]
    assert held > 200_000_000 > psutil.Process(process.pid).memory_info().rss
    assert [other.ppid() for other in descendants(process.pid)] == [process.pid]


def test_a_process_that_is_gone_has_no_family_and_no_memory() -> None:
    process = subprocess.Popen(["true"])
    process.wait(20)
    assert descendants(process.pid) == []
    assert resident_bytes([process.pid]) == {}


def test_a_process_that_cannot_be_ended_is_named_and_left(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mark = new_mark("somebody")
    process = start("sleep", "1000", mark=mark)
    monkeypatch.setattr(family, "kill_each", lambda _: None)
    monkeypatch.setattr(family, "ROUNDS", 2)
    started = time.monotonic()
    end_marked(mark)
    assert f"Processes [{process.pid}] do not end, not even by SIGKILL." in caplog.text
    assert time.monotonic() - started < 20

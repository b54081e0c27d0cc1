import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from voltaloop.core import CampaignFolderError
from voltaloop.store import CampaignLock

HOLDER = """
import os, subprocess, sys
from voltaloop.store import CampaignLock
lock = CampaignLock(sys.argv[1])
lock.__enter__()
child = 0
if sys.argv[2] == "program":
    child = subprocess.Popen(["sleep", "1000"], close_fds=False).pid
elif sys.argv[2] == "fork":
    child = os.fork()
    if child == 0:
        import time; time.sleep(1000)
print(os.getpid(), child, flush=True)
sys.stdin.read()
"""


def start_holder(folder: Path, child: str = "none") -> tuple[subprocess.Popen[str], int]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder, child],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    return holder, int(holder.stdout.readline().split()[1])


def test_while_held_the_file_says_who_holds_it(tmp_path: Path) -> None:
    with CampaignLock(tmp_path):
        data = json.loads((tmp_path / "lock").read_text())
        assert (data["pid"], data["host"]) == (os.getpid(), socket.gethostname())
        age = datetime.now().astimezone() - datetime.fromisoformat(data["started"])
        assert 0 <= age.total_seconds() < 60
        holder = CampaignLock.holder(tmp_path)
        assert holder is not None
        assert holder.pid == os.getpid()
    assert CampaignLock.holder(tmp_path) is None
    assert (tmp_path / "lock").read_text() == ""


def test_a_second_holder_is_told_who_has_it_since_when_and_what_to_do(tmp_path: Path) -> None:
    holder, _ = start_holder(tmp_path)
    with holder:
        pattern = (
            rf"is held by another voltaloop run: process {holder.pid} on {socket.gethostname()} "
            rf"since \d{{4}}-\d\d-\d\dT.*\+00:00\. .*`kill {holder.pid}`"
        )
        with pytest.raises(CampaignFolderError, match=pattern), CampaignLock(tmp_path):
            pytest.fail("two held it")
        assert holder.stdin is not None
        holder.stdin.close()
    with CampaignLock(tmp_path):
        pass


@pytest.mark.parametrize("child", ["none", "program", "fork"])
def test_the_lock_of_a_killed_holder_is_taken_over_though_its_children_live(
    tmp_path: Path, child: str
) -> None:
    holder, child_pid = start_holder(tmp_path, child)
    with holder:
        holder.kill()
    try:
        with CampaignLock(tmp_path):
            pass
    finally:
        if child_pid:
            os.kill(child_pid, 9)


def test_one_process_cannot_hold_a_folder_twice(tmp_path: Path) -> None:
    with CampaignLock(tmp_path) as lock:
        with pytest.raises(CampaignFolderError, match=f"process {os.getpid()}"):
            CampaignLock(tmp_path).__enter__()
        with pytest.raises(CampaignFolderError, match="already held by this lock object"):
            lock.__enter__()


def test_releasing_twice_or_without_holding_does_nothing(tmp_path: Path) -> None:
    lock = CampaignLock(tmp_path)
    lock.release()
    with lock:
        pass
    lock.release()
    with lock:
        pass


def test_a_refused_attempt_leaves_no_open_file(tmp_path: Path) -> None:
    with CampaignLock(tmp_path):
        before = len(os.listdir("/dev/fd"))
        with pytest.raises(CampaignFolderError):
            CampaignLock(tmp_path).__enter__()
        assert len(os.listdir("/dev/fd")) == before


def test_a_holder_that_has_not_written_its_name_yet_is_described_so(tmp_path: Path) -> None:
    with CampaignLock(tmp_path):
        (tmp_path / "lock").write_text("")
        with pytest.raises(CampaignFolderError, match="another process that is just starting"):
            CampaignLock(tmp_path).__enter__()


def test_someone_who_only_asks_does_not_get_in_the_way(tmp_path: Path) -> None:
    asking = """
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_CREAT)
fcntl.flock(fd, fcntl.LOCK_SH)
print("asked", flush=True)
time.sleep(0.15)
"""
    reader = subprocess.Popen(
        [sys.executable, "-c", asking, tmp_path / "lock"], stdout=subprocess.PIPE, text=True
    )
    with reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        started = time.monotonic()
        with CampaignLock(tmp_path):
            assert time.monotonic() - started < 5


def test_asking_about_a_folder_without_a_lock_creates_nothing(tmp_path: Path) -> None:
    assert CampaignLock.holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CampaignFolderError, match=r"No such file or directory.*existing folder"):
        CampaignLock(tmp_path / "nowhere").__enter__()


def test_a_file_system_without_locks_is_named_as_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(
        CampaignFolderError, match=r"cannot be locked: No locks available.*local disk"
    ):
        CampaignLock(tmp_path).__enter__()

"""Disks that are really full or cannot be written: nothing is lost, and later it goes on."""

import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from voltaloop.core import StorageError
from voltaloop.store import ArtifactStore, EventLog

MOUNT_SIZE = 1 << 20
KEY = "ab" * 32


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small disk of its own; the test is skipped where mounting is not allowed."""
    folder.mkdir()
    program = shutil.which("mount")
    if os.geteuid() != 0 or program is None:
        pytest.skip("only root may mount a disk")
    done = subprocess.run(
        [program, "-t", "tmpfs", "-o", options, "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", f"size={MOUNT_SIZE}") as disk:
        yield disk


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """What every user may have the system do: files longer than ``size`` bytes are refused."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill(disk: Path) -> Path:
    """Take all the room that is left, to the last block."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:  # full for this size
                continue
    return filler


def integrity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def append(log: EventLog, n: int, size: int = 2000) -> None:
    log.append([("tick", {"n": n, "text": "x" * size})], now=0.0)


def append_until_refused(log: EventLog, start: int, size: int = 2000) -> tuple[int, StorageError]:
    """How many events there are then, and why there are no more."""
    for n in range(start, start + 10_000):
        try:
            append(log, n, size)
        except StorageError as error:
            return n, error
    raise AssertionError("the disk is never full")


def test_a_log_on_a_full_disk_says_so_and_goes_on_when_there_is_room(disk: Path) -> None:
    path = disk / "events.sqlite"
    with EventLog.open(path) as log:
        for n in range(10):
            append(log, n)
        filler = fill(disk)
        count, error = append_until_refused(log, 10)
        assert "database or disk is full" in str(error) or "disk I/O error" in str(error)
        assert f"Cannot write {path} (20" in str(error)
        assert "Make room" in str(error)
        assert "then run again: nothing is lost" in str(error)
        assert [event.data["n"] for event in log.read()] == list(range(count))
        filler.unlink()
        append(log, count)
    with EventLog.open(path) as log:
        append(log, count + 1)
        assert [event.data["n"] for event in log.read()] == list(range(count + 2))
    assert integrity(path) == "ok"


def test_a_log_that_fills_its_disk_by_itself_keeps_all_that_it_took(disk: Path) -> None:
    path = disk / "events.sqlite"
    with EventLog.open(path) as log:
        count, _ = append_until_refused(log, 0)
        with pytest.raises(StorageError, match="Make room"):
            append(log, count)
    assert count > 50
    room = disk.parent / "events.sqlite"
    for file in disk.iterdir():
        shutil.copy(file, room.parent / file.name)
    with EventLog.open(room) as log:
        assert [event.data["n"] for event in log.read()] == list(range(count))
        append(log, count)
    assert integrity(room) == "ok"


def test_a_log_that_cannot_be_created_on_a_full_disk_leaves_nothing(disk: Path) -> None:
    filler = fill(disk)
    path = disk / "events.sqlite"
    with pytest.raises(StorageError, match=rf"Cannot create {path}: .*Make room"):
        EventLog.open(path)
    assert [file.name for file in disk.iterdir()] == ["filler"]
    filler.unlink()
    with EventLog.open(path) as log:
        append(log, 0)


def test_artifacts_memo_and_results_on_a_full_disk_are_whole_or_not_there(disk: Path) -> None:
    store = ArtifactStore(disk / "artifacts")
    name = store.put_bytes(b"abc", "txt")
    store.results_put(KEY, {"first": 1})
    filler = fill(disk)
    big = np.zeros(10_000)
    for write in (
        lambda: store.put_arrays(rows=big),
        lambda: store.memo_put(KEY, rows=big),
        lambda: store.results_put(KEY, {"rows": big.tolist()}),
    ):
        with pytest.raises(StorageError, match=r"No space left on device\. Make room on that disk"):
            write()
    assert store.get_bytes(name) == b"abc"
    assert store.results_get(KEY) == {"first": 1}
    assert store.memo_get(KEY) is None
    assert not list(store.root.rglob("*.tmp"))
    filler.unlink()
    assert store.get_arrays(store.put_arrays(rows=big))["rows"].shape == (10_000,)


def test_a_disk_that_became_read_only_is_named_as_the_reason(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=2m") as disk:
        path, store = disk / "events.sqlite", ArtifactStore(disk / "artifacts")
        with EventLog.open(path) as log:
            append(log, 0)
        name = store.put_bytes(b"abc", "txt")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(StorageError, match=r"Read-only file system\. Mount it for writing"):
            store.put_bytes(b"abcd", "txt")
        with pytest.raises(StorageError, match=r"Cannot write .*: Read-only file system\. Mount"):
            EventLog.open(path)
        with EventLog.open(path, read_only=True) as log:
            assert log.count() == 1
        assert store.get_bytes(name) == b"abc"
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        with EventLog.open(path) as log:
            append(log, 1)


def test_a_log_that_may_not_grow_any_more_keeps_what_it_took_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    with EventLog.open(path) as log:
        with files_no_longer_than(100_000):
            count, error = append_until_refused(log, 0)
        assert f"Cannot write {path}" in str(error)
        assert "disk I/O error" in str(error) or "disk is full" in str(error)
        assert 10 < count < 60
        assert [event.data["n"] for event in log.read()] == list(range(count))
        append(log, count)
    with EventLog.open(path) as log:
        append(log, count + 1)
        assert [event.data["n"] for event in log.read()] == list(range(count + 2))
    assert integrity(path) == "ok"


def test_an_artifact_that_may_not_be_so_long_leaves_nothing(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    with (
        files_no_longer_than(1000),
        pytest.raises(StorageError, match=r"\(2000 bytes\): File too large\. Make room"),
    ):
        store.put_bytes(bytes(2000), "bin")
    assert [file for file in store.root.rglob("*") if file.is_file()] == []
    store.get_bytes(store.put_bytes(bytes(2000), "bin"))

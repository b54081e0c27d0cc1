import errno
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from voltaloop.core import CampaignFolderError, StorageError
from voltaloop.store import SCHEMA_VERSION, EventLog, events, sqlite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.sqlite"


def write_one(path: Path) -> None:
    with EventLog.open(path) as log:
        log.append([("started", {"name": "lno"})], now=1.0)


def execute(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement).fetchall()


def test_every_commit_is_forced_to_disk_through_a_write_ahead_log(path: Path) -> None:
    write_one(path)
    with EventLog.open(path) as log, log._database._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_the_tables_are_what_other_programs_may_rely_on(path: Path) -> None:
    write_one(path)
    assert execute(path, "SELECT seq, time, kind, data FROM events") == [
        (1, 1.0, "started", '{"name":"lno"}')
    ]
    assert execute(path, "SELECT key, value FROM meta") == [("schema", str(SCHEMA_VERSION))]


def test_reading_a_log_that_is_not_there_creates_nothing(path: Path) -> None:
    with pytest.raises(
        CampaignFolderError, match=r"no event log at .*events.sqlite.*voltaloop run"
    ):
        EventLog.open(path, read_only=True)
    assert list(path.parent.iterdir()) == []


def test_writing_into_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CampaignFolderError, match="its folder does not exist"):
        EventLog.open(tmp_path / "nowhere" / "events.sqlite")


def test_reading_a_finished_log_leaves_the_folder_as_it_was(path: Path) -> None:
    write_one(path)
    before = sorted((file.name, file.stat().st_size) for file in path.parent.iterdir())
    with EventLog.open(path, read_only=True) as log:
        assert log.count() == 1
    assert sorted((file.name, file.stat().st_size) for file in path.parent.iterdir()) == before


def test_a_log_in_a_folder_in_which_nobody_may_write_can_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_one(path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with EventLog.open(path, read_only=True) as log:
        assert [event.kind for event in log.read()] == ["started"]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_log_of_a_newer_voltaloop_is_refused_with_the_way_to_update(path: Path) -> None:
    write_one(path)
    execute(path, "UPDATE meta SET value = '99'")
    for read_only in (False, True):
        with pytest.raises(
            CampaignFolderError,
            match=r"schema version 99; .* knows versions up to 1\. Update voltaloop: pip",
        ):
            EventLog.open(path, read_only=read_only)


@pytest.mark.parametrize("change", ["UPDATE meta SET value = 'one'", "DELETE FROM meta"])
def test_a_log_that_lost_its_version_is_refused(path: Path, change: str) -> None:
    write_one(path)
    execute(path, change)
    with pytest.raises(CampaignFolderError, match="does not say its schema version"):
        EventLog.open(path)


def test_another_database_is_not_taken_for_a_log(path: Path) -> None:
    execute(path, "CREATE TABLE systems (id INTEGER)")
    for read_only in (False, True):
        with pytest.raises(
            CampaignFolderError, match="expected the tables events and meta, got sys"
        ):
            EventLog.open(path, read_only=read_only)


def test_a_file_that_is_no_database_is_refused_untouched(path: Path) -> None:
    path.write_bytes(b"not a database at all " * 100)
    for read_only in (False, True):
        with pytest.raises(CampaignFolderError, match="file is not a database"):
            EventLog.open(path, read_only=read_only)
    assert path.read_bytes() == b"not a database at all " * 100


def test_damage_found_while_reading_is_reported(path: Path) -> None:
    with EventLog.open(path) as log:
        log.append([("tick", {"text": "x" * 500}) for _ in range(200)], now=0.0)
    content = bytearray(path.read_bytes())
    content[8192:40960] = b"\xff" * (40960 - 8192)
    path.write_bytes(content)
    with (
        pytest.raises(
            CampaignFolderError, match="cannot be used: database disk image is malformed"
        ),
        EventLog.open(path, read_only=True) as log,
    ):
        list(log.read())


def test_a_full_disk_refuses_the_whole_append_and_keeps_what_was_there(path: Path) -> None:
    write_one(path)
    with EventLog.open(path) as log:
        writer = log._database._connected()
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count = {pages}")
        pattern = (
            r"Cannot write .*events.sqlite \(50\d+ bytes\): database or disk is full "
            r"\(SQLITE_FULL\)\. Make room .*, then run again: nothing is lost\."
        )
        with pytest.raises(StorageError, match=pattern):
            log.append([("tick", {"text": "x" * 5000}) for _ in range(10)], now=0.0)
        assert [event.kind for event in log.read()] == ["started"]


def test_a_log_that_was_deleted_or_replaced_while_in_use_takes_nothing_more(path: Path) -> None:
    with EventLog.open(path) as log:
        log.append([("one", {})], now=0.0)
        path.rename(path.with_suffix(".kept"))
        with pytest.raises(StorageError, match=r"removed or replaced while .*Put the folder back"):
            log.append([("two", {})], now=0.0)
        path.touch()
        with pytest.raises(StorageError, match="removed or replaced while it was in use"):
            log.append([("two", {})], now=0.0)
        path.with_suffix(".kept").rename(path)
        assert log.append([("two", {})], now=0.0)[0].seq == 2


def test_a_new_log_is_whole_when_it_is_first_seen(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, seen = sqlite._publish, []

    def look_before_and_after(unfinished: Path, path: Path) -> None:
        assert [file.name for file in path.parent.iterdir()] == [unfinished.name]
        publish(unfinished, path)
        with EventLog.open(path, read_only=True) as reader:
            seen.append(reader.count())

    monkeypatch.setattr(sqlite, "_publish", look_before_and_after)
    EventLog.open(path).close()
    assert seen == [0]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_whoever_looks_while_logs_are_created_sees_none_or_a_whole_one(tmp_path: Path) -> None:
    looker = subprocess.Popen(
        [sys.executable, "-c", LOOKER, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with looker:
        assert looker.stdout is not None
        assert looker.stdout.readline() == "looking\n"
        for n in range(30):
            EventLog.open(tmp_path / f"{n}.sqlite").close()
        out, err = looker.communicate(timeout=60)
    assert (out, err) == ("saw 30\n", "")


LOOKER = """
import sys
from pathlib import Path
from voltaloop.core import CampaignFolderError
from voltaloop.store import EventLog
print("looking", flush=True)
for n in range(30):
    path = Path(sys.argv[1]) / f"{n}.sqlite"
    while True:
        try:
            with EventLog.open(path, read_only=True) as log:
                assert log.count() == 0
            break
        except CampaignFolderError as error:
            if "There is no event log" not in str(error):
                raise
print("saw", n + 1)
"""


@pytest.mark.parametrize("instant", ["sync", "_publish", "sync_folder"])
def test_a_creator_that_is_killed_disturbs_neither_readers_nor_the_next_creator(
    path: Path, instant: str
) -> None:
    program = (
        "import os, sys; from voltaloop.store import EventLog, sqlite\n"
        f"sqlite.{instant} = lambda *_: os.kill(os.getpid(), 9)\n"
        "EventLog.open(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", program, path], check=False)
    assert done.returncode == -9
    left = [file.name for file in path.parent.iterdir()]
    assert any(name.startswith(".events.sqlite.") for name in left)
    if instant != "sync_folder":
        with pytest.raises(CampaignFolderError, match="There is no event log"):
            EventLog.open(path, read_only=True)
    write_one(path)
    with EventLog.open(path, read_only=True) as log:
        assert log.count() == 1
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_two_creators_at_once_leave_one_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = sqlite._publish

    def come_second(unfinished: Path, path: Path) -> None:
        monkeypatch.undo()
        kept = unfinished.rename(path.with_name("kept"))
        write_one(path)
        publish(kept.rename(unfinished), path)

    monkeypatch.setattr(sqlite, "_publish", come_second)
    with EventLog.open(path) as log:
        assert [event.kind for event in log.read()] == ["started"]


def test_where_hard_links_are_not_known_the_log_is_renamed_into_its_place(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    write_one(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_empty_file_that_an_older_voltaloop_left_when_killed_becomes_a_log(path: Path) -> None:
    path.touch()
    write_one(path)
    with EventLog.open(path, read_only=True) as log:
        assert log.count() == 1


def test_a_reader_does_not_hold_up_the_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "READ_AT_ONCE", 2)
    with EventLog.open(path) as log, EventLog.open(path, read_only=True) as reader:
        log.append([("tick", {}) for _ in range(5)], now=0.0)
        pages = reader.read()
        next(pages)
        log.append([("late", {})], now=0.0)
        with closing(sqlite3.connect(path)) as connection:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert busy == 0
        assert [event.kind for event in pages] == ["tick"] * 4 + ["late"]

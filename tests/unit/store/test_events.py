import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from voltaloop.core import CampaignFolderError
from voltaloop.store import SCHEMA_VERSION, EventLog, events


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
    with EventLog.open(path) as log, log._engine.connect() as connection:
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
        with log._engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(CampaignFolderError, match=r"database or disk is full.*already written"):
            log.append([("tick", {"text": "x" * 5000}) for _ in range(10)], now=0.0)
        assert [event.kind for event in log.read()] == ["started"]


@pytest.mark.parametrize(
    "url", ["postgresql://user:secret@host/base", "sqlite://", "sqlite:///:memory:", "mysql:///x"]
)
def test_a_database_that_is_not_supported_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(CampaignFolderError, match="expected a path or sqlite:///PATH") as caught:
        EventLog.open(url)
    assert "secret" not in str(caught.value)


def test_a_url_that_cannot_be_read_is_refused_without_repeating_it() -> None:
    with pytest.raises(CampaignFolderError, match="URL cannot be read") as caught:
        EventLog.open("://user:secret@host")
    assert "secret" not in str(caught.value)


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

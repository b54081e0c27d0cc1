"""Logs of every released schema: tests/data/events-schema-<n>.sqlite, kept as they were written.

Each is of a small real campaign, whose file lies beside it: its Thinker and a worker were killed
once.
"""

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from voltaloop.core import Task
from voltaloop.store import SCHEMA_VERSION, EventLog

DATA = Path(__file__).parents[2] / "data"
VERSIONS = range(1, SCHEMA_VERSION + 1)


@pytest.fixture(params=VERSIONS)
def old_log(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy in the test's own folder: SQLite makes files beside what it reads."""
    stored = DATA / f"events-schema-{request.param}.sqlite"
    return Path(shutil.copy(stored, tmp_path / "events.sqlite"))


def test_there_is_a_stored_log_of_every_version_that_says_its_own() -> None:
    for version in VERSIONS:
        stored = DATA / f"events-schema-{version}.sqlite"
        address = f"{stored.as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            rows = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchall()
        assert rows == [(str(version),)]


def test_an_old_log_is_read_whole(old_log: Path) -> None:
    with EventLog.open(old_log, read_only=True) as log:
        events = list(log.read())
        assert [event.seq for event in events] == list(range(1, log.count() + 1))
    times = [event.time for event in events]
    assert times == sorted(times)
    assert events[0].kind == "opened"
    kinds = Counter(event.kind for event in events)
    assert kinds["session"] == 2
    assert kinds["failed"] == 1
    assert kinds["answered"] == 1
    assert kinds["submitted"] == kinds["finished"] + kinds["failed"]


def test_tasks_of_an_old_log_have_the_ids_that_their_results_were_kept_under(
    old_log: Path,
) -> None:
    with EventLog.open(old_log, read_only=True) as log:
        events = list(log.read())
    tasks = [Task.from_json(e.data["task"]) for e in events if e.kind == "submitted"]
    ids = {task.id for task in tasks}
    assert ids == {e.data["task"]["id"] for e in events if e.kind == "submitted"}
    assert ids == {e.data["id"] for e in events if e.kind == "finished"}


def test_an_old_log_can_be_gone_on_with(old_log: Path) -> None:
    with EventLog.open(old_log) as log:
        before = list(log.read())
        written = log.append([("session", {})], now=before[-1].time + 1)
        assert list(log.read()) == [*before, *written]

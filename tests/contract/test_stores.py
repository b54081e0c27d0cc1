"""Every event log keeps the contract; one class per kind of database."""

from pathlib import Path

from voltaloop.testing.stores import EventLogContract


class TestSqliteByPath(EventLogContract):
    second_writer_is_refused = False

    def make_target(self, tmp_path: Path) -> Path | str:
        return tmp_path / "events.sqlite"


class TestSqliteByUrl(EventLogContract):
    second_writer_is_refused = False

    def make_target(self, tmp_path: Path) -> Path | str:
        return f"sqlite:///{tmp_path}/a campaign? 50%25.sqlite"

"""The event log in an SQLite file."""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from voltaloop.core import CampaignFolderError, VoltaloopError
from voltaloop.store.files import sync, sync_folder
from voltaloop.store.tables import (
    Row,
    check_tables,
    create_tables,
    last_seq,
    rows_after,
    size_of,
    table_names,
)
from voltaloop.store.trouble import (
    BRING_BACK,
    CHECK_DISK,
    MAKE_ROOM,
    MAKE_WRITABLE,
    file_trouble,
    trouble,
)

BUSY_LIMIT_S = 30.0

ROOM_BYTES = 4_000_000
"""SQLite writes its log back into the database when it is about this long, and begins anew."""

_INSERT = "INSERT INTO events (seq, time, kind, data) VALUES (:seq, :time, :kind, :data)"

Connect = Callable[[], sqlite3.Connection]

_WAYS_OUT = {
    "SQLITE_FULL": MAKE_ROOM,
    "SQLITE_IOERR": f"{MAKE_ROOM}, or have the disk checked",
    "SQLITE_READONLY": MAKE_WRITABLE,
    "SQLITE_CANTOPEN": f"{BRING_BACK}, or have the permission to use it given to you",
    "SQLITE_NOLFS": CHECK_DISK,
}
"""By the beginning of SQLite's name of the error."""


class SqliteDatabase:
    """Rows in a file, with a write-ahead log; every commit is forced to disk."""

    def __init__(self, path: Path, engine: Engine, connect: Connect) -> None:
        """Use :meth:`open`."""
        self.where = str(path)
        self._path = path
        self._engine = engine
        self._connect = connect
        self._writer: sqlite3.Connection | None = None
        self._identity = _identity(path)

    @classmethod
    def open(cls, path: Path, *, read_only: bool) -> Self:
        if read_only and not path.is_file():
            raise CampaignFolderError(
                f"There is no event log at {path}. Expected the file that `voltaloop run` writes; "
                "check the folder's name, or start the campaign first."
            )
        if not path.parent.is_dir():
            raise CampaignFolderError(
                f"The event log {path} cannot be created: its folder does not exist."
            )
        if not read_only:
            _refuse_unwritable(path.parent)
            _create_if_missing(path)
            _refuse_unwritable(path)
        mode = _reading_mode(path) if read_only else "rw"
        connect = _connector(path, mode, read_only=read_only)
        database = cls(path, _engine(path, connect, read_only=read_only), connect)
        try:
            database._check(read_only=read_only)
        except BaseException:
            database.close()
            raise
        return database

    def append(self, rows: Sequence[Row]) -> None:
        doing = f"write {self._path} ({size_of(rows)} bytes)"
        with _told(self._path, doing):
            self._check_still_there(doing)
            writer = self._connected()
            with _transaction(writer):
                writer.executemany(_INSERT, rows)

    def _connected(self) -> sqlite3.Connection:
        if self._writer is None:
            self._writer = _writer(self._connect)
        return self._writer

    def after(self, seq: int, limit: int) -> list[Row]:
        with _told(self._path), self._engine.begin() as connection:
            return rows_after(connection, seq, limit)

    def last(self) -> int:
        with _told(self._path), self._engine.begin() as connection:
            return last_seq(connection)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._engine.dispose()

    def _check(self, *, read_only: bool) -> None:
        with _told(self._path), self._engine.begin() as connection:
            found = table_names(connection)
            if not found and not read_only:  # an empty file, left by a run killed while creating it
                create_tables(connection)
                return
            check_tables(connection, found, self.where)

    def _check_still_there(self, doing: str) -> None:
        """SQLite itself would go on writing into a file that has been deleted."""
        if _identity(self._path) != self._identity:
            raise trouble(doing, "it was removed or replaced while it was in use", BRING_BACK)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:  # gone, which is then compared
        return None
    return status.st_dev, status.st_ino


def _refuse_unwritable(path: Path) -> None:
    """SQLite itself would only say that it cannot open the file."""
    if not os.access(path, os.W_OK):
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise file_trouble(f"write {path}", OSError(number, os.strerror(number)))


def _create_if_missing(path: Path) -> None:
    """Create a log so that whoever sees the file sees a whole one.

    It is built beside its place under another name, which a hard link then adds its own to: unlike
    a renaming, that cannot fall onto a log that came meanwhile.
    """
    _remove_unfinished(path)
    if path.exists():
        return
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with _told(path, f"create {path}"):
            _build(unfinished)
        sync(unfinished)
        _publish(unfinished, path)
        sync_folder(path.parent)
    except OSError as error:
        raise file_trouble(f"create {path}", error) from error
    finally:
        _remove_unfinished(path)


def _build(path: Path) -> None:
    """In one transaction, committed to the file itself when the last connection closes."""
    connect = _connector(path, "rwc", read_only=False)
    engine = _engine(path, connect, read_only=False, poolclass=NullPool)
    with engine.begin() as connection:
        create_tables(connection)


def _publish(unfinished: Path, path: Path) -> None:
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        unfinished.replace(path)


def _remove_unfinished(path: Path) -> None:
    """What a creator leaves: this one, or one that was killed. We hold the campaign's lock."""
    prefix = f".{path.name}."
    with suppress(FileNotFoundError):
        for file in list(path.parent.iterdir()):
            if file.name.startswith(prefix) and ".tmp" in file.name[len(prefix) :]:
                file.unlink(missing_ok=True)


def _writer(connect: Connect) -> sqlite3.Connection:
    """A connection that is kept: through SQLAlchemy's pool a transaction costs 0.3 ms more."""
    connection = connect()
    try:
        _make_room(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_room(connection: sqlite3.Connection) -> None:
    """Lengthen the write-ahead log, by a transaction that is taken back.

    A commit that lengthens it costs half as much again, because the file system then commits its
    own journal too. Where there is no room to spare, everything stays as it was.
    """
    connection.execute("PRAGMA cache_size=10")  # so that the pages go into the file at once
    try:
        with _transaction(connection, "ROLLBACK"):
            connection.execute("CREATE TABLE room (data BLOB)")
            connection.execute("INSERT INTO room VALUES (zeroblob(?))", (ROOM_BYTES,))
    except sqlite3.OperationalError:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA cache_size=-2000")


@contextmanager
def _transaction(connection: sqlite3.Connection, end: str = "COMMIT") -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute(end)
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _engine(path: Path, connect: Connect, *, read_only: bool, **options: Any) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(path)), creator=connect, **options)
    event.listen(engine, "begin", _begin_reading if read_only else _begin_writing)
    return engine


def _reading_mode(path: Path) -> str:
    """How SQLite opens the file for reading.

    Where it may, it opens for writing (and ``query_only`` forbids it), because only then it
    removes its side files when it is done. In a folder where nobody may write it cannot make
    them, and needs to be told that the file does not change.
    """
    if os.access(path.parent, os.W_OK) and os.access(path, os.W_OK):
        return "rw"
    return "ro" if Path(f"{path}-wal").exists() else "ro&immutable=1"


def _connector(path: Path, mode: str, *, read_only: bool) -> Connect:
    """Connects with explicit transactions; every commit is forced to disk (synchronous=FULL)."""
    address = f"{path.resolve().as_uri()}?mode={mode}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            address,
            uri=True,
            timeout=BUSY_LIMIT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            settings = ("query_only=ON",) if read_only else ("journal_mode=WAL", "synchronous=FULL")
            for setting in settings:
                connection.execute(f"PRAGMA {setting}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    return connect


def _begin_reading(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_writing(connection: Connection) -> None:
    """Take the write lock first, so that numbering and inserting are one step."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _told(path: Path, doing: str = "") -> Iterator[None]:
    """Turns SQLite's errors into ours; ``doing`` names what was to be written."""
    try:
        yield
    except DBAPIError as error:
        raise _refusal(path, doing or f"read {path}", error.orig) from error
    except sqlite3.Error as error:
        raise _refusal(path, doing or f"read {path}", error) from error


def _refusal(path: Path, doing: str, error: BaseException | None) -> VoltaloopError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_CONSTRAINT"):
        return CampaignFolderError(
            f"The event log {path} has changed: another process has written to it. Expected to be "
            "the only one; end the other run."
        )
    for beginning, way_out in _WAYS_OUT.items():
        if name.startswith(beginning):
            return trouble(doing, f"{error} ({name})", way_out)
    return CampaignFolderError(
        f"The event log {path} cannot be used: {error}. Expected an SQLite database of "
        "voltaloop that no other program holds; events already written are kept."
    )

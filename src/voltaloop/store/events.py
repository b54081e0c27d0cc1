"""The append-only event log, from which a campaign's state is rebuilt."""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError

from voltaloop.core import CampaignFolderError, Event, canonical_json
from voltaloop.store.files import sync_folder

SCHEMA_VERSION = 1
"""Version of the tables that this program writes; it reads this one and every older one."""

READ_AT_ONCE = 1000
BUSY_LIMIT_S = 30.0

_tables = MetaData()
_events = Table(
    "events",
    _tables,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("time", Float(53), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("data", Text, nullable=False),
)
_meta = Table(
    "meta",
    _tables,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

Draft = tuple[str, Mapping[str, Any]]
"""What is to become an event: (kind, data)."""


class EventLog:
    """An append-only log of events in a database. What :meth:`append` returned is on disk.

    One process writes (it holds the campaign's lock), any number read at the same time.
    """

    def __init__(self, engine: Engine, *, where: str, read_only: bool) -> None:
        """Use :meth:`open`."""
        self._engine = engine
        self._where = where
        self._read_only = read_only

    @classmethod
    def open(cls, target: str | Path, *, read_only: bool = False) -> Self:
        """The log at a path or a URL (``sqlite:///PATH``); created when new.

        With ``read_only`` nothing is created and nothing can be appended. Raises
        CampaignFolderError when it is missing (read only), damaged, no event log, or written by a
        newer version of voltaloop.
        """
        url = _url_of(target)
        log = cls(
            _sqlite_engine(Path(url.database or ""), read_only=read_only),
            where=url.render_as_string(hide_password=True),
            read_only=read_only,
        )
        try:
            with log._transaction() as connection:
                log._check_schema(connection)
        except BaseException:
            log.close()
            raise
        if not read_only:
            sync_folder(Path(url.database or "").resolve().parent)
        return log

    def append(self, drafts: Sequence[Draft], now: float) -> list[Event]:
        """Write ``drafts`` in one transaction, all with the time ``now``; the events.

        The events hold what a later reader will see (JSON: tuples became lists, keys text), so
        acting on them and replaying them is the same. Raises ValueError for what JSON cannot
        hold, NaN and infinity included, and CampaignFolderError when it cannot be written; then
        nothing of it was.
        """
        if self._read_only:
            raise CampaignFolderError(f"The event log {self._where} was opened for reading only.")
        if not math.isfinite(now):
            raise ValueError(f"Event time: expected finite seconds since 1970, got {now!r}.")
        rows = [{"time": float(now), "kind": k, "data": _to_json(k, d)} for k, d in drafts]
        if not rows:
            return []
        with self._transaction() as connection:
            last = connection.execute(select(func.max(_events.c.seq))).scalar() or 0
            numbered = [{"seq": last + i, **row} for i, row in enumerate(rows, start=1)]
            connection.execute(insert(_events), numbered)
        return [_event(row) for row in numbered]

    def read(self, after: int = 0) -> Iterator[Event]:
        """Events with seq > ``after``, in order, up to the last one written when it gets there."""
        while True:
            query = select(_events).where(_events.c.seq > after)
            with self._transaction() as connection:
                page = connection.execute(query.order_by(_events.c.seq).limit(READ_AT_ONCE)).all()
            for row in page:
                yield _event(row._mapping)
            if len(page) < READ_AT_ONCE:
                return
            after = page[-1].seq

    def count(self) -> int:
        """Number of events, which is also the seq of the last one."""
        with self._transaction() as connection:
            return int(connection.execute(select(func.max(_events.c.seq))).scalar() or 0)

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise CampaignFolderError(
                f"The event log {self._where} cannot be used: {error.orig}. Expected an SQLite "
                "database of voltaloop on a disk with free space; events already written are kept."
            ) from error

    def _check_schema(self, connection: Connection) -> None:
        tables = set(inspect(connection).get_table_names())
        if not tables and not self._read_only:
            _tables.create_all(connection)
            connection.execute(insert(_meta).values(key="schema", value=str(SCHEMA_VERSION)))
            return
        if not {"events", "meta"} <= tables:
            raise CampaignFolderError(
                f"{self._where} is not an event log of voltaloop: expected the tables events and "
                f"meta, got {', '.join(sorted(tables)) or 'none'}."
            )
        query = select(_meta.c.value).where(_meta.c.key == "schema")
        _check_version(connection.execute(query).scalar(), self._where)


def _check_version(found: str | None, where: str) -> None:
    if found is None or not found.isdecimal():
        raise CampaignFolderError(
            f"The event log {where} does not say its schema version: expected a number, "
            f"got {found!r}. Restore the file from a copy."
        )
    if int(found) > SCHEMA_VERSION:
        raise CampaignFolderError(
            f"The event log {where} has schema version {found}; this voltaloop knows versions up "
            f"to {SCHEMA_VERSION}. Update voltaloop: pip install --upgrade voltaloop"
        )


def _url_of(target: str | Path) -> URL:
    if isinstance(target, Path) or "://" not in target:
        return URL.create("sqlite", database=str(target))
    try:
        url = make_url(target)
    except ArgumentError as error:
        raise CampaignFolderError(
            "The event log's URL cannot be read: expected a path or sqlite:///PATH."
        ) from error
    if url.get_backend_name() != "sqlite" or url.database in {None, "", ":memory:"}:
        raise CampaignFolderError(
            f"The event log cannot be kept in {url.render_as_string(hide_password=True)}: "
            "expected a path or sqlite:///PATH."
        )
    return url


def _sqlite_engine(path: Path, *, read_only: bool) -> Engine:
    if read_only and not path.is_file():
        raise CampaignFolderError(
            f"There is no event log at {path}. Expected the file that `voltaloop run` writes; "
            "check the folder's name, or start the campaign first."
        )
    if not path.parent.is_dir():
        raise CampaignFolderError(
            f"The event log {path} cannot be created: its folder does not exist."
        )
    mode = _reading_mode(path) if read_only else "rwc"
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        creator=_connector(f"{path.resolve().as_uri()}?mode={mode}", read_only=read_only),
    )
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


def _connector(address: str, *, read_only: bool) -> Callable[[], Any]:
    """Connects with explicit transactions; every commit is forced to disk (synchronous=FULL)."""

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


def _to_json(kind: str, data: Mapping[str, Any]) -> str:
    if not kind or len(kind) > 64:
        raise ValueError(f"Event kind: expected 1 to 64 characters, got {kind!r}.")
    try:
        return canonical_json(dict(data))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Event '{kind}': its data cannot be stored as JSON: {error}. Expected text, finite "
            "numbers, booleans, null, lists and mappings; put arrays into an artifact."
        ) from error


def _event(row: Mapping[Any, Any]) -> Event:
    return Event(seq=row["seq"], time=row["time"], kind=row["kind"], data=json.loads(row["data"]))

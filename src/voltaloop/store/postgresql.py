"""The event log in PostgreSQL: a schema for each campaign, one writer by an advisory lock.

The lock belongs to the session that writes, so the server itself guarantees that who writes holds
it, and lets go of it when the writer dies. Connect to the server directly, or through a pooler
that keeps sessions (PgBouncer: ``pool_mode=session``).
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Self, TypeVar
from weakref import WeakSet

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    bindparam,
    create_engine,
    inspect,
    text,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.schema import CreateSchema
from sqlalchemy.sql import quoted_name

from voltaloop.core import CampaignFolderError, StorageError, VoltaloopError, require
from voltaloop.store.addresses import PostgresqlAddress
from voltaloop.store.tables import (
    Row,
    check_tables,
    create_tables,
    insert_rows,
    last_seq,
    rows_after,
    size_of,
    table_names,
)
from voltaloop.store.trouble import MAKE_ROOM, scrubbed, trouble

CONNECT_LIMIT_S = 10
LOSS_LIMIT_S = 60.0
"""How long a log waits for a server that went away, before it gives up."""

LOCK_LIMIT_S = 1.0
"""The server notices within this time that a writer on the same network was killed."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0

SESSION_SETTINGS = {
    "statement_timeout": "60s",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
}
"""No wait without a bound; the server ends the session of a computer that is gone in 30 s."""

CONNECTION_SETTINGS = {
    "connect_timeout": CONNECT_LIMIT_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
"""The same from this side (libpq's options); a URL may set them otherwise."""

_START_SESSION = """
SELECT set_config('application_name', %s, false),
       set_config('synchronous_commit', CASE current_setting('synchronous_commit')
         WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false),
       set_config('default_transaction_read_only', CASE WHEN %s THEN 'on'
         ELSE current_setting('default_transaction_read_only') END, false)
"""
_TAKE_LOCK = text("SELECT pg_try_advisory_lock(:key)").bindparams(
    bindparam("key", type_=BigInteger)
)
_DROP_LOCK = text("SELECT pg_advisory_unlock(:key)").bindparams(bindparam("key", type_=BigInteger))
_WHO_HOLDS = text("""
SELECT activity.application_name, activity.usename, locks.pid, activity.backend_start
FROM pg_locks AS locks LEFT JOIN pg_stat_activity AS activity USING (pid)
WHERE locks.locktype = 'advisory' AND locks.granted AND locks.objsubid = 1
  AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND CAST(locks.classid AS bigint) = :high AND CAST(locks.objid AS bigint) = :low
""").bindparams(bindparam("high", type_=BigInteger), bindparam("low", type_=BigInteger))
_WHO_AM_I = text("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")
_END_SESSION = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE pid = :pid AND backend_start = :started"
)
_DATABASE_FACTS = text("SELECT current_setting('server_encoding'), current_setting('fsync')")

logger = logging.getLogger(__name__)
T = TypeVar("T")

_open_connections: WeakSet[Any] = WeakSet()


def _drop_inherited() -> None:
    """A forked child must not keep the session, and with it the lock, of a parent that died."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for connection in list(_open_connections):
        if not connection.closed:
            os.dup2(nowhere, connection.fileno(), inheritable=False)
    os.close(nowhere)


os.register_at_fork(after_in_child=_drop_inherited)


class PostgresqlDatabase:
    """Rows in the schema of a campaign.

    A connection that is lost is made again for :data:`LOSS_LIMIT_S`. The writer then takes its
    lock anew, which it gets only when its former session has ended, so that it can be seen whether
    a commit under way was done.
    """

    def __init__(self, address: PostgresqlAddress, *, read_only: bool) -> None:
        """Use :meth:`open`."""
        self.where = str(address)
        self._secrets = address.secrets
        self._schema = address.campaign
        self._key = _lock_key(address.campaign)
        self._engine = _engine(address, read_only=read_only)
        self._one_at_a_time = threading.Lock()
        self._writer: Connection | None = None
        self._session: tuple[int, Any] | None = None
        self._last = 0
        self._certain = True

    @classmethod
    def open(cls, address: PostgresqlAddress, *, read_only: bool) -> Self:
        database = cls(address, read_only=read_only)
        try:
            with database._told("open", at_once=True):
                database._open_reading() if read_only else database._open_writing()
        except BaseException:
            database.close()
            raise
        return database

    def append(self, rows: Sequence[Row]) -> None:
        with self._one_at_a_time:
            if not self._certain:
                raise StorageError(
                    f"The event log {self.where} takes nothing more: it is not known whether the "
                    "last events were written. Run again: what was written is then read."
                )
            with self._told(f"write {size_of(rows)} bytes to"):
                self._persistently(partial(self._write, rows))
            self._certain = True
            self._last = rows[-1]["seq"]

    def after(self, seq: int, limit: int) -> list[Row]:
        return self._reading(partial(rows_after, seq=seq, limit=limit))

    def last(self) -> int:
        return self._reading(last_seq)

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(DBAPIError), writer.begin():  # else it goes with the session
                writer.execute(_DROP_LOCK, {"key": self._key})
            _end(writer)
        self._engine.dispose()

    def _open_reading(self) -> None:
        with self._engine.begin() as connection:
            if not inspect(connection).has_schema(self._schema):
                raise CampaignFolderError(
                    f"There is no event log at {self.where}: the database has no schema of that "
                    "name. Check the campaign's name and the database, or start the campaign first."
                )
            check_tables(connection, table_names(connection, self._schema), self.where)

    def _open_writing(self) -> None:
        writer = self._connected_writer()
        with writer.begin():
            self._check_database(writer)
            if not inspect(writer).has_schema(self._schema):
                writer.execute(CreateSchema(quoted_name(self._schema, quote=True)))
            found = table_names(writer, self._schema)
            if found:
                check_tables(writer, found, self.where)
            else:
                create_tables(writer)
        with writer.begin():
            self._last = last_seq(writer)

    def _check_database(self, connection: Connection) -> None:
        encoding, fsync = connection.execute(_DATABASE_FACTS).one()
        if encoding != "UTF8":
            raise CampaignFolderError(
                f"The event log cannot be kept in {self.where}: expected a database with the "
                f"encoding UTF8, got {encoding}. Make one: createdb --encoding=UTF8 "
                "--template=template0 NAME"
            )
        if fsync != "on":
            logger.warning("%s: fsync is %s there: a power cut loses events", self.where, fsync)

    def _write(self, rows: Sequence[Row]) -> None:
        """Write the rows, or find that an earlier try has written them."""
        try:
            writer = self._writer
            if writer is None:
                writer = self._connected_writer()
                if self._has(rows, writer):
                    return
            self._insert(rows, writer)
        except DBAPIError as error:
            if _is_loss(error):
                self._forget_writer()
            raise

    def _insert(self, rows: Sequence[Row], writer: Connection) -> None:
        self._certain = False
        try:
            with writer.begin():
                insert_rows(writer, rows)
        except DBAPIError as error:
            self._certain = not _is_loss(error)  # else the server has said no
            raise

    def _has(self, rows: Sequence[Row], connection: Connection) -> bool:
        """Whether the log ends with the rows. Raises unless it ends with them or before them."""
        with connection.begin():
            last = last_seq(connection)
            found = rows_after(connection, self._last, len(rows) + 1)
        if last == self._last or found == list(rows):
            return last != self._last
        raise CampaignFolderError(
            f"The event log {self.where} has changed while the connection was lost: expected event "
            f"{self._last} to be its last, or {rows[-1]['seq']} with what was being written, got "
            f"{last}. Another run has written to it, or the database was set back to an older copy."
        )

    def _connected_writer(self) -> Connection:
        connection = self._engine.connect()
        try:
            self._take_lock(connection)
            with connection.begin():
                pid, started = connection.execute(_WHO_AM_I).one()
        except BaseException:
            _end(connection)
            raise
        self._writer, self._session = connection, (pid, started)
        return connection

    def _forget_writer(self) -> None:
        if self._writer is not None:
            _end(self._writer)
            self._writer = None

    def _take_lock(self, connection: Connection) -> None:
        until = time.monotonic() + LOCK_LIMIT_S
        while True:
            with connection.begin():
                if connection.execute(_TAKE_LOCK, {"key": self._key}).scalar():
                    return
                self._end_former_session(connection)
            if time.monotonic() > until:
                raise CampaignFolderError(self._held_by(connection))
            time.sleep(FIRST_PAUSE_S)

    def _end_former_session(self, connection: Connection) -> None:
        """Our own, which the server may not have found lost yet."""
        if self._session is not None:
            pid, started = self._session
            connection.execute(_END_SESSION, {"pid": pid, "started": started})

    def _held_by(self, connection: Connection) -> str:
        key = self._key % 2**64
        with connection.begin():
            found = connection.execute(_WHO_HOLDS, {"high": key >> 32, "low": key % 2**32}).first()
        who, how = _described(*found) if found else ("a run that just ended", "try again")
        return (
            f"The event log {self.where} is held by another voltaloop run: {who}. Expected to be "
            f"the only one; {how}. Reading it (status, report, export) is allowed."
        )

    def _reading(self, query: Callable[[Connection], T]) -> T:
        def attempt() -> T:
            with self._engine.begin() as connection:
                return query(connection)

        with self._told("read"):
            return self._persistently(attempt)

    def _persistently(self, attempt: Callable[[], T]) -> T:
        """Try again while the server is away, for a limited time."""
        until = time.monotonic() + LOSS_LIMIT_S
        for pause in _pauses():
            try:
                return attempt()
            except DBAPIError as error:
                if not _is_loss(error) or time.monotonic() + pause > until:
                    raise
                logger.warning("%s: %s; trying again", self.where, self._words(error))
            time.sleep(pause)
        raise AssertionError("pauses do not end")

    @contextmanager
    def _told(self, doing: str, *, at_once: bool = False) -> Iterator[None]:
        """Turns the database's errors into ours, without anything secret."""
        try:
            yield
        except DBAPIError as error:
            leaks = scrubbed(str(error), self._secrets) != str(error)
            raise self._refusal(doing, error, at_once=at_once) from (None if leaks else error)

    def _refusal(self, doing: str, error: DBAPIError, *, at_once: bool) -> VoltaloopError:
        words = self._words(error)
        if at_once and _is_loss(error):
            return CampaignFolderError(
                f"The event log {self.where} cannot be reached: {words}. Check that the server "
                "runs, and host, port, database, user and password of the URL."
            )
        if _is_loss(error):
            return trouble(
                f"{doing} the event log {self.where}",
                f"{words} (for {LOSS_LIMIT_S:g} s)",
                "Start the server, or mend the connection to it",
            )
        if _state(error).startswith(("25", "53", "57", "58")):
            return trouble(
                f"{doing} the event log {self.where}", words, f"{MAKE_ROOM}, or mend the server"
            )
        if isinstance(error, IntegrityError):
            words += " (another process has written to it)"
        return CampaignFolderError(
            f"The event log {self.where} cannot be used: {words}. Expected a schema of voltaloop "
            "in which the user may read and write; events already written are kept."
        )

    def _words(self, error: DBAPIError) -> str:
        return " ".join(scrubbed(str(error.orig), self._secrets).split())


def _engine(address: PostgresqlAddress, *, read_only: bool) -> Engine:
    """An engine that knows no password: its own URL is never shown whole, but is not needed."""
    psycopg = require("psycopg", extra="postgresql")
    return create_engine(
        URL.create("postgresql+psycopg"),
        creator=partial(_connect, psycopg, address.url, read_only),
        execution_options={
            "schema_translate_map": {None: quoted_name(address.campaign, quote=True)}
        },
        pool_pre_ping=True,
    )


def _connect(psycopg: Any, url: URL, read_only: bool) -> Any:
    arguments, options = url.get_dialect()().create_connect_args(url)
    connection = psycopg.connect(*arguments, **{**CONNECTION_SETTINGS, **options})
    try:
        with connection.transaction():
            connection.execute(_START_SESSION, (_application_name(), read_only))
            for name, value in SESSION_SETTINGS.items():
                connection.execute("SELECT set_config(%s, %s, false)", (name, value))
    except BaseException:
        connection.close()
        raise
    _open_connections.add(connection)
    return connection


def _end(connection: Connection) -> None:
    """Close the session itself: back in the pool it would keep the lock."""
    connection.invalidate()
    connection.close()


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_S
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE_S)


def _is_loss(error: DBAPIError) -> bool:
    """The server is away, going away or just coming: try again."""
    without_answer = isinstance(error, OperationalError) and not _state(error)
    return error.connection_invalidated or without_answer or _state(error).startswith(("08", "57P"))


def _state(error: DBAPIError) -> str:
    """SQLSTATE; empty when the error is not the server's answer to a statement."""
    return getattr(error.orig, "sqlstate", None) or ""


def _lock_key(schema: str) -> int:
    """64 bits with a sign, as advisory locks have; the lock is one of the database."""
    digest = hashlib.sha256(f"voltaloop/{schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _application_name() -> str:
    """At most 63 bytes; the server would cut it."""
    return f"voltaloop {os.getpid()}@{socket.gethostname()}"[:63]


def _described(name: str | None, user: str | None, pid: int, started: Any) -> tuple[str, str]:
    """Who holds the lock, and what to do about it."""
    since = "" if started is None else f" since {started.isoformat(timespec='seconds')}"
    ours = re.fullmatch(r"voltaloop (\d+)@(.+)", name or "")
    if ours is None:
        who = f"the session {pid} of the database user {user or 'unknown'}{since}"
        return who, "wait for it, or have the database's administrator end it"
    process, host = ours.groups()
    return (
        f"process {process} on {host}{since}",
        f"wait for it, or stop it with `kill {process}` on {host}; if that computer is gone, the "
        "server lets go of it within a minute",
    )

"""The append-only event log, from which a campaign's state is rebuilt."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from voltaloop.core import CampaignFolderError, Event, canonical_json
from voltaloop.store.addresses import SqliteAddress, address_of
from voltaloop.store.postgresql import PostgresqlDatabase
from voltaloop.store.sqlite import SqliteDatabase
from voltaloop.store.tables import Row

READ_AT_ONCE = 1000

Draft = tuple[str, Mapping[str, Any]]
"""What is to become an event: (kind, data)."""


class Database(Protocol):
    """Keeps the rows of one event log. Errors are those of voltaloop and show no password."""

    @property
    def where(self) -> str:
        """How texts name it."""

    def append(self, rows: Sequence[Row]) -> None:
        """Write the rows, which follow the last one, in one transaction, durably."""

    def after(self, seq: int, limit: int) -> list[Row]:
        """The first rows with higher numbers, in order."""

    def last(self) -> int:
        """The highest number; 0 when there is no row."""

    def close(self) -> None: ...


class EventLog:
    """An append-only log of events in a database. What :meth:`append` returned is on disk.

    One process writes (it holds the campaign's lock), any number read at the same time.
    """

    def __init__(self, database: Database, *, read_only: bool) -> None:
        """Use :meth:`open`."""
        self._database = database
        self._read_only = read_only
        self._last: int | None = None

    def __repr__(self) -> str:
        return f"EventLog({self._database.where!r})"

    @classmethod
    def open(
        cls, target: str | Path, *, read_only: bool = False, campaign: str | None = None
    ) -> Self:
        """The log at a path or a URL; created when new, whole or not at all.

        target: a path, ``sqlite:///PATH`` or ``postgresql://USER:PASSWORD@HOST/DATABASE``, where a
        campaign is the schema of its name (``campaign``, 1 to 63 characters, needed only there).
        Leave the password out of the URL to have it taken from ``~/.pgpass`` or PGPASSWORD.

        With ``read_only`` nothing is created and nothing can be appended. Raises
        CampaignFolderError when it is missing (read only), damaged, no event log, written by a
        newer version of voltaloop, out of reach, or (PostgreSQL) held by another writer;
        StorageError when there is no room for it; MissingDependencyError without psycopg.
        """
        address = address_of(target, campaign)
        database: Database
        if isinstance(address, SqliteAddress):
            database = SqliteDatabase.open(address.path, read_only=read_only)
        else:
            database = PostgresqlDatabase.open(address, read_only=read_only)
        return cls(database, read_only=read_only)

    def append(self, drafts: Sequence[Draft], now: float) -> list[Event]:
        """Write ``drafts`` in one transaction, all with the time ``now``; the events.

        The events hold what a later reader will see (JSON: tuples became lists, keys text), so
        acting on them and replaying them is the same. Raises ValueError for what JSON cannot
        hold, NaN and infinity included; then, and when a disk is full, nothing of it was written.
        StorageError: the disk or the server does not take it; CampaignFolderError: the log is
        damaged or another process has written to it.
        """
        if not math.isfinite(now):
            raise ValueError(f"Event time: expected finite seconds since 1970, got {now!r}.")
        first = self._next_seq()
        events = [
            _new_event(seq, float(now), kind, data)
            for seq, (kind, data) in enumerate(drafts, start=first)
        ]
        self.write(events)
        return events

    def write(self, events: Sequence[Event]) -> None:
        """Write events that have their numbers, in one transaction; errors as :meth:`append`."""
        if self._read_only:
            raise CampaignFolderError(
                f"The event log {self._database.where} was opened for reading only."
            )
        if not events:
            return
        first = self._next_seq()
        if [event.seq for event in events] != list(range(first, first + len(events))):
            raise CampaignFolderError(
                f"The event log {self._database.where} goes on with event {first}, but event "
                f"{events[0].seq} came. Another run has written to it; end that one first."
            )
        self._database.append([_row(event) for event in events])
        self._last = events[-1].seq

    def _next_seq(self) -> int:
        if self._last is None:
            self._last = self._database.last()
        return self._last + 1

    def read(self, after: int = 0) -> Iterator[Event]:
        """Events with seq > ``after``, in order, up to the last one written when it gets there."""
        while True:
            page = self._database.after(after, READ_AT_ONCE)
            yield from map(_event, page)
            if len(page) < READ_AT_ONCE:
                return
            after = page[-1]["seq"]

    def count(self) -> int:
        """Number of events, which is also the seq of the last one."""
        return self._database.last()

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _new_event(seq: int, time: float, kind: str, data: Mapping[str, Any]) -> Event:
    text = _to_json(kind, data)
    return Event(seq=seq, time=time, kind=kind, data=json.loads(text), text=text)


def _row(event: Event) -> Row:
    text = _to_json(event.kind, event.data) if event.text is None else event.text
    return {"seq": event.seq, "time": event.time, "kind": event.kind, "data": text}


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

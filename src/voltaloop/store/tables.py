"""The tables of an event log, the same in every database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
    inspect,
    select,
)

from voltaloop.core import CampaignFolderError

SCHEMA_VERSION = 1
"""Version of the tables that this program writes; it reads this one and every older one."""

Row = dict[str, Any]
"""An event as it is stored: seq, time, kind, data (JSON as text)."""

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

_LAST = select(func.max(_events.c.seq))
_INSERT = insert(_events)


def create_tables(connection: Connection) -> None:
    """Make the tables, where there are none yet, and say their version."""
    _tables.create_all(connection)
    connection.execute(insert(_meta).values(key="schema", value=str(SCHEMA_VERSION)))


def table_names(connection: Connection, schema: str | None = None) -> set[str]:
    return set(inspect(connection).get_table_names(schema=schema))


def check_tables(connection: Connection, found: set[str], where: str) -> None:
    """Raise CampaignFolderError unless this is an event log that this program can read."""
    if not {"events", "meta"} <= found:
        raise CampaignFolderError(
            f"{where} is not an event log of voltaloop: expected the tables events and meta, "
            f"got {', '.join(sorted(found)) or 'none'}."
        )
    version = connection.execute(select(_meta.c.value).where(_meta.c.key == "schema")).scalar()
    _check_version(version, where)


def last_seq(connection: Connection) -> int:
    """0 when there is no event yet."""
    return int(connection.execute(_LAST).scalar() or 0)


def insert_rows(connection: Connection, rows: Sequence[Row]) -> None:
    connection.execute(_INSERT, list(rows))


def rows_after(connection: Connection, seq: int, limit: int) -> list[Row]:
    """At most ``limit`` rows, in order."""
    query = select(_events).where(_events.c.seq > seq).order_by(_events.c.seq).limit(limit)
    return [dict(row) for row in connection.execute(query).mappings()]


def size_of(rows: Sequence[Row]) -> int:
    """Bytes of data in the rows; it is ASCII."""
    return sum(len(row["data"]) for row in rows)


def _check_version(found: str | None, where: str) -> None:
    if found is None or not found.isdecimal():
        raise CampaignFolderError(
            f"The event log {where} does not say its schema version: expected a number, "
            f"got {found!r}. Restore it from a copy."
        )
    if int(found) > SCHEMA_VERSION:
        raise CampaignFolderError(
            f"The event log {where} has schema version {found}; this voltaloop knows versions up "
            f"to {SCHEMA_VERSION}. Update voltaloop: pip install --upgrade voltaloop"
        )

"""Where an event log is kept: a path or a URL. What is secret in it never leaves this module."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from voltaloop.core import CampaignFolderError

EXPECTED = "expected a path, sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE"

_SECRET_OPTION = re.compile(r"password|secret|token", re.IGNORECASE)
_CAMPAIGN = re.compile(r"(?!pg_)[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteAddress:
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PostgresqlAddress:
    """A database, and the campaign, whose name is that of its schema there."""

    url: URL
    campaign: str

    def __repr__(self) -> str:
        return f"PostgresqlAddress({self})"

    def __str__(self) -> str:
        shown = self.url.set(drivername="postgresql", query={})
        return f"{shown.render_as_string(hide_password=True)}, campaign '{self.campaign}'"

    @property
    def secrets(self) -> set[str]:
        """What no text may show, in each of its spellings."""
        given = [self.url.password or ""]
        for key, value in self.url.query.items():
            if _SECRET_OPTION.search(key):
                given += [value] if isinstance(value, str) else value
        return {
            spelling
            for secret in given
            for spelling in (secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1])
            if spelling
        }


def address_of(target: str | Path, campaign: str | None) -> SqliteAddress | PostgresqlAddress:
    """Where ``target`` is. Raises CampaignFolderError, whose text holds no password."""
    if isinstance(target, Path) or "://" not in target:
        return SqliteAddress(path=Path(target))
    url = _url(target)
    backend = url.get_backend_name()
    if backend == "sqlite" and url.database not in {None, "", ":memory:"}:
        return SqliteAddress(path=Path(str(url.database)))
    if backend in {"postgresql", "postgres"}:
        return PostgresqlAddress(
            url=url.set(drivername="postgresql+psycopg"), campaign=_checked(campaign)
        )
    raise CampaignFolderError(f"The event log cannot be kept in '{backend}': {EXPECTED}.")


def _url(text: str) -> URL:
    """Any part of a URL that is not read as it was meant may be a piece of the password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # not chained: their texts repeat the URL
        url = None
    if url is None or "@" in (url.host or ""):
        raise CampaignFolderError(
            f"The event log's URL cannot be read: {EXPECTED}. Write @ : / ? # and % in a user name "
            "or password as %40 %3A %2F %3F %23 and %25."
        )
    return url


def _checked(campaign: str | None) -> str:
    if campaign is None or not _CAMPAIGN.fullmatch(campaign):
        raise CampaignFolderError(
            "An event log in PostgreSQL needs the campaign's name: expected 1 to 63 of letters, "
            f"digits, '.', '_' and '-', not beginning with 'pg_', got {campaign!r}."
        )
    return campaign

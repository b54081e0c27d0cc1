from pathlib import Path

import pytest

from voltaloop.core import CampaignFolderError, MissingDependencyError
from voltaloop.store import EventLog
from voltaloop.store.addresses import PostgresqlAddress, SqliteAddress, address_of


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("runs/lno/events.sqlite", "runs/lno/events.sqlite"),
        (Path("events.sqlite"), "events.sqlite"),
        ("sqlite:///events.sqlite", "events.sqlite"),
        ("sqlite:////data/events.sqlite", "/data/events.sqlite"),
    ],
)
def test_a_path_and_an_sqlite_url_are_files(target: Path | str, path: str) -> None:
    assert address_of(target, None) == SqliteAddress(path=Path(path))


@pytest.mark.parametrize(
    "scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"]
)
def test_every_way_to_say_postgresql_means_psycopg_3(scheme: str) -> None:
    address = address_of(f"{scheme}://ann:secret@db/lab", "lno")
    assert isinstance(address, PostgresqlAddress)
    assert address.url.drivername == "postgresql+psycopg"
    assert str(address) == "postgresql://ann:***@db/lab, campaign 'lno'"


def test_nothing_secret_is_shown_and_every_spelling_of_it_is_known() -> None:
    address = address_of(
        "postgresql://ann:s%40%20cret@db/lab?sslpassword=hidden&host=other&oauth_client_secret=deep",
        "lno",
    )
    assert isinstance(address, PostgresqlAddress)
    shown = f"{address} {address!r}"
    assert not [word for word in ("s@ cret", "s%40", "hidden", "deep") if word in shown]
    assert address.secrets == {"s@ cret", "s%40%20cret", "s%40+cret", "hidden", "deep"}


@pytest.mark.parametrize(
    ("url", "backend"),
    [
        ("mysql://ann:secret@db/x", "mysql"),
        ("sqlite://", "sqlite"),
        ("sqlite:///:memory:", "sqlite"),
        ("mongodb+srv://ann:secret@db", "mongodb"),
    ],
)
def test_another_kind_of_database_is_refused(url: str, backend: str) -> None:
    pattern = f"cannot be kept in '{backend}': expected a path, sqlite:///PATH or postgresql://USER"
    with pytest.raises(CampaignFolderError, match=pattern) as caught:
        EventLog.open(url, campaign="lno")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "://user:secret@host",
        "postgresql://user:half@secret@host/base",
        "postgresql://user:secret@host:port/base",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(CampaignFolderError, match=r"URL cannot be read: .*%40") as caught:
        EventLog.open(url, campaign="lno")
    error: BaseException | None = caught.value
    assert error is not None
    assert "secret" not in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize(
    "campaign",
    [None, "", "pg_catalog", "PG_x", 'a"b', "a;b", "a b", "../x", "-x", "x" * 64, "lno\n"],
)
def test_a_name_that_can_be_no_schema_is_refused(campaign: str | None) -> None:
    with pytest.raises(CampaignFolderError, match=r"needs the campaign's name: expected 1 to 63"):
        EventLog.open("postgresql://ann@db/lab", campaign=campaign)


def test_without_psycopg_the_pip_line_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'voltaloop\[postgresql\]'"):
        EventLog.open("postgresql://ann@db/lab", campaign="lno")

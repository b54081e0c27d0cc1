"""The event log in PostgreSQL, on a real server that the tests start."""

import hashlib
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from postgresql import PostgresqlServer

from voltaloop.core import CampaignFolderError, StorageError
from voltaloop.store import SCHEMA_VERSION, EventLog, postgresql
from voltaloop.testing.stores import EventLogContract


class TestPostgresql(EventLogContract):
    @pytest.fixture(autouse=True)
    def _server(self, postgresql_server: PostgresqlServer) -> None:
        self.server = postgresql_server

    def make_target(self, tmp_path: Path) -> Path | str:  # noqa: ARG002 - the campaign differs
        return self.server.url()

    def make_campaign(self, tmp_path: Path) -> str:
        return campaign_of(tmp_path)


def campaign_of(tmp_path: Path) -> str:
    """A name of letters of both cases, digits and signs, new for every test."""
    return f"LNO-2.v_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"


@pytest.fixture
def url(postgresql_server: PostgresqlServer) -> str:
    return postgresql_server.url()


@pytest.fixture
def campaign(tmp_path: Path) -> str:
    return campaign_of(tmp_path)


@pytest.fixture
def log(url: str, campaign: str) -> Iterator[EventLog]:
    with EventLog.open(url, campaign=campaign) as log:
        yield log


@pytest.fixture
def ask(url: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """Runs a statement on the server, past voltaloop."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:

        def run(statement: str, *values: object) -> list[tuple[Any, ...]]:
            done = connection.execute(statement, values)
            return done.fetchall() if done.description else []

        yield run


def numbers(log: EventLog) -> list[int]:
    events = list(log.read())
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return [event.data["n"] for event in events]


def append_number(log: EventLog, n: int) -> None:
    log.append([("tick", {"n": n})], now=float(n))


def test_a_campaign_is_a_schema_with_the_same_tables_as_in_sqlite(
    log: EventLog, campaign: str, ask: Callable[..., list[tuple[Any, ...]]]
) -> None:
    log.append([("started", {"name": "lno"})], now=1.5)
    events = ask(f'SELECT seq, time, kind, data FROM "{campaign}".events')  # noqa: S608
    assert events == [(1, 1.5, "started", '{"name":"lno"}')]
    assert ask(f'SELECT key, value FROM "{campaign}".meta') == [  # noqa: S608
        ("schema", str(SCHEMA_VERSION))
    ]


def test_commits_are_durable_even_where_the_user_is_set_to_lose_them(
    url: str, campaign: str, ask: Callable[..., list[tuple[Any, ...]]]
) -> None:
    ask("ALTER ROLE tester SET synchronous_commit = off")
    try:
        with EventLog.open(url, campaign=campaign) as log:
            writer = log._database._writer
            with writer.begin():
                assert writer.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    finally:
        ask("ALTER ROLE tester RESET synchronous_commit")


def test_two_campaigns_in_one_database_do_not_mix(url: str, campaign: str) -> None:
    with (
        EventLog.open(url, campaign=campaign) as one,
        EventLog.open(url, campaign=campaign.lower()) as other,
    ):
        append_number(one, 1)
        append_number(other, 2)
        append_number(one, 3)
        assert (numbers(one), numbers(other)) == ([1, 3], [2])


HOLDER = """
import sys
from voltaloop.store import EventLog
log = EventLog.open(sys.argv[1], campaign=sys.argv[2])
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_writer_is_told_who_writes_and_takes_over_when_that_one_is_killed(
    url: str, campaign: str
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, campaign],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        host = re.escape(socket.gethostname())
        pattern = (
            rf"campaign '{campaign}' is held by another voltaloop run: process {holder.pid} on "
            rf"{host} since \d{{4}}-\d\d-\d\dT.*`kill {holder.pid}` on {host}.*Reading it .*allowed"
        )
        with pytest.raises(CampaignFolderError, match=pattern):
            EventLog.open(url, campaign=campaign)
        with EventLog.open(url, campaign=campaign, read_only=True) as reader:
            assert reader.count() == 0
        holder.kill()
    with EventLog.open(url, campaign=campaign) as log:
        append_number(log, 1)


def test_a_forked_child_does_not_keep_the_log_of_a_parent_that_is_gone(
    url: str, campaign: str
) -> None:
    forker = HOLDER.replace(
        "sys.stdin.read()",
        "import os, time\nchild = os.fork()\nif child == 0: time.sleep(300); os._exit(0)\n"
        "print(child, flush=True)\nsys.stdin.read()",
    )
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", forker, url, campaign],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "open\n"
        child = int(parent.stdout.readline())
        parent.kill()
    try:
        with EventLog.open(url, campaign=campaign) as log:
            append_number(log, 1)
    finally:
        os.kill(child, 9)


def test_reading_while_writing_sees_whole_appends_in_order(
    log: EventLog, url: str, campaign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voltaloop.store.events.READ_AT_ONCE", 7)
    writer = threading.Thread(
        target=lambda: [
            log.append([("tick", {"n": 3 * n + k}) for k in range(3)], now=0.0) for n in range(40)
        ]
    )
    with EventLog.open(url, campaign=campaign, read_only=True) as reader:
        writer.start()
        seen: list[int] = []
        until = time.monotonic() + 30
        while len(seen) < 120:
            assert time.monotonic() < until
            seen += [event.data["n"] for event in reader.read(after=len(seen))]
            assert reader.count() % 3 == 0
        writer.join()
    assert seen == list(range(120))


@pytest.mark.parametrize(("mode", "times"), [("fast", 2), ("immediate", 1)])
def test_a_server_that_restarts_during_appends_loses_and_doubles_nothing(
    log: EventLog,
    url: str,
    campaign: str,
    postgresql_server: PostgresqlServer,
    mode: str,
    times: int,
) -> None:
    done: list[int] = []
    enough = threading.Event()

    def write() -> None:
        while not enough.is_set():
            append_number(log, len(done))
            done.append(len(done))

    writer = threading.Thread(target=write)
    with EventLog.open(url, campaign=campaign, read_only=True) as reader:
        writer.start()
        try:
            until = time.monotonic() + 60
            for _ in range(times):
                before = len(done)
                postgresql_server.restart(mode)
                while len(done) < before + 5:
                    assert time.monotonic() < until
                    assert writer.is_alive()
                    time.sleep(0.01)
        finally:
            enough.set()
            writer.join(timeout=60)
        assert numbers(reader) == done == list(range(len(done)))


def test_a_server_that_was_restarted_while_nothing_was_written_is_no_trouble(
    log: EventLog, postgresql_server: PostgresqlServer
) -> None:
    append_number(log, 1)
    postgresql_server.restart()
    append_number(log, 2)
    assert numbers(log) == [1, 2]


def test_a_server_that_stays_away_is_storage_trouble_and_the_next_run_goes_on(
    url: str, campaign: str, postgresql_server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "LOSS_LIMIT_S", 0.5)
    with EventLog.open(url, campaign=campaign) as log:
        append_number(log, 1)
        postgresql_server.stop()
        try:
            with pytest.raises(
                StorageError,
                match=r"Cannot write 7 bytes to the event log postgr"
                r".*for 0.5 s.* Start the server.*run again: nothing is lost",
            ):
                append_number(log, 2)
            with pytest.raises(StorageError, match="Cannot read the event log"):
                log.count()
        finally:
            postgresql_server.start()
        with pytest.raises(StorageError, match="not known whether the last events were written"):
            append_number(log, 3)
        assert numbers(log) == [1]
    with EventLog.open(url, campaign=campaign) as log:
        append_number(log, 2)
        assert numbers(log) == [1, 2]


class CuttingProxy:
    """Passes bytes on to the server, and once cuts the line at a COMMIT.

    The client cannot know then whether its transaction was committed: it was, when the line was
    cut after the server's answer; it was not, when the server never heard of it.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []
        self.port = int(self._listener.getsockname()[1])
        self.cut: str | None = None
        self._start(self._accept)

    def close(self) -> None:
        for one in self._sockets:
            shut_down(one)
        for thread in self._threads:
            thread.join(timeout=10)
        for one in self._sockets:
            one.close()

    def _start(self, run: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=run, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # shut down: the test is over
                return
            server = socket.create_connection(self._target)
            self._sockets += [client, server]
            committed = threading.Event()
            self._start(self._pass_to_server, client, server, committed)
            self._start(self._pass_to_client, server, client, committed)

    def _pass_to_server(
        self, client: socket.socket, server: socket.socket, committed: threading.Event
    ) -> None:
        while data := received(client):
            if self.cut is not None and b"COMMIT" in data:
                before, self.cut = self.cut == "before", None
                if before:
                    break
                committed.set()
            if not sent(server, data):
                break
        shut_down(client, server)

    def _pass_to_client(
        self, server: socket.socket, client: socket.socket, committed: threading.Event
    ) -> None:
        while (data := received(server)) and not committed.is_set():
            if not sent(client, data):
                break
        shut_down(client, server)


def received(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:  # the other side has ended
        return b""


def sent(target: socket.socket, data: bytes) -> bool:
    try:
        target.sendall(data)
    except OSError:  # the other side has ended, or the proxy is cutting this line
        return False
    return True


def shut_down(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):  # already down
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(postgresql_server: PostgresqlServer) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(postgresql_server.port)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_commit_whose_outcome_is_unknown_is_neither_lost_nor_doubled(
    proxy: CuttingProxy, postgresql_server: PostgresqlServer, campaign: str, cut: str
) -> None:
    url = postgresql_server.url(port=proxy.port, options="?sslmode=disable")
    with EventLog.open(url, campaign=campaign) as log:
        append_number(log, 0)
        for n in range(1, 4):
            proxy.cut = cut
            written = log.append([("tick", {"n": 2 * n - 1}), ("tick", {"n": 2 * n})], now=1.0)
            assert [event.seq for event in written] == [2 * n, 2 * n + 1]
            assert proxy.cut is None
        append_number(log, 7)
        assert numbers(log) == list(range(8))


def test_events_of_another_writer_that_came_while_the_line_was_cut_are_noticed(
    log: EventLog, campaign: str, ask: Callable[..., list[tuple[Any, ...]]]
) -> None:
    append_number(log, 1)
    ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name LIKE 'voltaloop%%' AND pid <> pg_backend_pid()"
    )
    other = '{"n":5}'
    ask(f"INSERT INTO \"{campaign}\".events VALUES (2, 0.0, 'tick', %s)", other)  # noqa: S608
    with pytest.raises(
        CampaignFolderError, match=r"expected event 1 to be its last, or 2 .* got 2\. Another run"
    ):
        append_number(log, 2)


def test_a_log_that_was_taken_over_while_the_line_was_cut_is_given_up(
    log: EventLog, url: str, campaign: str, ask: Callable[..., list[tuple[Any, ...]]]
) -> None:
    ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name LIKE 'voltaloop%%' AND pid <> pg_backend_pid()"
    )
    with (
        EventLog.open(url, campaign=campaign),
        pytest.raises(CampaignFolderError, match=f"another voltaloop run: process {os.getpid()} "),
    ):
        append_number(log, 1)


def test_what_the_server_refuses_is_not_written_and_the_log_goes_on(
    log: EventLog, campaign: str, ask: Callable[..., list[tuple[Any, ...]]]
) -> None:
    append_number(log, 1)
    ask(
        f'CREATE FUNCTION "{campaign}".full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN '
        "RAISE EXCEPTION 'could not extend file: No space left on device' "
        "USING ERRCODE = 'disk_full'; END $$"
    )
    ask(
        f'CREATE TRIGGER full_disk BEFORE INSERT ON "{campaign}".events '
        f'EXECUTE FUNCTION "{campaign}".full()'
    )
    with pytest.raises(StorageError, match=r"No space left on device.*Make room.*nothing is lost"):
        append_number(log, 2)
    ask(f'DROP TRIGGER full_disk ON "{campaign}".events')
    append_number(log, 2)
    assert numbers(log) == [1, 2]


def test_a_database_with_another_encoding_is_refused(
    postgresql_server: PostgresqlServer, ask: Callable[..., list[tuple[Any, ...]]]
) -> None:
    ask("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(CampaignFolderError, match="expected a database with the encoding UTF8"):
        EventLog.open(postgresql_server.url().replace("/postgres", "/latin"), campaign="lno")


def test_users_without_special_rights_may_run_campaigns_and_are_told_of_each_other(
    postgresql_server: PostgresqlServer,
    campaign: str,
    ask: Callable[..., list[tuple[Any, ...]]],
) -> None:
    def url_of(user: str) -> str:
        ask(f"CREATE ROLE {user} LOGIN PASSWORD 'plain'")
        ask(f"GRANT CREATE ON DATABASE postgres TO {user}")
        return postgresql_server.url(password="plain").replace("tester", user)  # noqa: S106

    ann, bob = url_of("ann"), url_of("bob")
    with EventLog.open(ann, campaign=campaign) as log:
        append_number(log, 1)
        with pytest.raises(CampaignFolderError, match=rf"run: process {os.getpid()} on "):
            EventLog.open(bob, campaign=campaign)
    with pytest.raises(CampaignFolderError, match=r"permission denied for .*may read and write"):
        EventLog.open(bob, campaign=campaign)


def test_a_schema_of_something_else_is_not_taken_for_a_log(
    url: str, ask: Callable[..., list[tuple[Any, ...]]]
) -> None:
    ask("CREATE SCHEMA foreigner")
    ask("CREATE TABLE foreigner.systems (id int)")
    for read_only in (False, True):
        with pytest.raises(CampaignFolderError, match="tables events and meta, got systems"):
            EventLog.open(url, campaign="foreigner", read_only=read_only)


def test_a_log_of_a_newer_voltaloop_is_refused(
    url: str, campaign: str, ask: Callable[..., list[tuple[Any, ...]]]
) -> None:
    EventLog.open(url, campaign=campaign).close()
    ask(f"UPDATE \"{campaign}\".meta SET value = '99'")  # noqa: S608
    with pytest.raises(CampaignFolderError, match=r"schema version 99; .*Update voltaloop: pip"):
        EventLog.open(url, campaign=campaign, read_only=True)


@pytest.mark.parametrize(
    "change",
    [
        {"password": "wrong-geheim"},
        {"port": 1},
        {"options": "?sslpassword=wrong-geheim&connect_timeout=nonsense"},
        {"options": "?unknown_option=wrong-geheim"},
        {"options": "?options=-c%20nosuch%3Dwrong-geheim&sslpassword=wrong-geheim"},
    ],
)
def test_a_url_that_does_not_work_is_refused_at_once_without_its_password(
    postgresql_server: PostgresqlServer,
    change: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    started = time.monotonic()
    with pytest.raises(CampaignFolderError, match=r"cannot be (reached|used): .+") as caught:
        EventLog.open(postgresql_server.url(**change), campaign="lno")
    assert time.monotonic() - started < 10
    shown = "".join(texts(caught.value)) + caplog.text
    assert "postgresql://tester:***@127.0.0.1" in shown
    assert postgresql_server.password not in shown
    assert "wrong-geheim" not in shown


def texts(error: BaseException | None) -> list[str]:
    """What a traceback would show of an error and of those it came from."""
    if error is None:
        return []
    context = None if error.__suppress_context__ else error.__context__
    return [str(error), repr(error), *texts(error.__cause__ or context)]


def test_nothing_that_is_shown_holds_the_password(
    postgresql_server: PostgresqlServer, campaign: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with EventLog.open(postgresql_server.url(), campaign=campaign) as log:
        append_number(log, 1)
        postgresql_server.restart()
        append_number(log, 2)
        database = log._database
        shown = [log, database, database._engine, database._engine.url, vars(log), caplog.text]
        assert postgresql_server.password not in "".join(map(repr, shown))
        assert "***" in repr(log)
        assert "trying again" in caplog.text

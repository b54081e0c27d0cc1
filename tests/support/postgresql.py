"""A PostgreSQL server of the tests' own: made in a temporary folder, on 127.0.0.1, thrown away."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DEBIAN = Path("/usr/lib/postgresql")
USER = "tester"
LIMIT_S = 60
ATTEMPTS = 5
"""Between looking for a free port and using it another program may take it."""

SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
max_connections = 40
shared_buffers = 16MB
logging_collector = off
"""


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, which Debian keeps out of PATH; None without a server."""
    found = shutil.which("pg_ctl")
    if found is not None:
        return Path(found).parent
    versions = sorted(DEBIAN.glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresqlServer:
    """A running server with one superuser."""

    folder: Path
    port: int
    password: str

    def url(
        self, *, password: str | None = None, port: int | None = None, options: str = ""
    ) -> str:
        shown = self.password if password is None else password
        return f"postgresql://{USER}:{shown}@127.0.0.1:{port or self.port}/postgres{options}"

    def control(self, *arguments: str) -> None:
        """Call pg_ctl and wait until it is done."""
        _call("pg_ctl", *arguments, "-w", "-D", str(self.folder / "data"), folder=self.folder)

    def start(self) -> None:
        self.control("start", "-s", "-l", str(self.folder / "server.log"))

    def stop(self, mode: str = "fast") -> None:
        """fast: sessions are told; immediate: as if it crashed."""
        self.control("stop", "-s", "-m", mode)

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()


@contextmanager
def running_server() -> Iterator[PostgresqlServer]:
    """A server for the block. Its folder has a short path: a socket's is limited to 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="voltaloop-pg-"))
    try:
        owner = _owner()
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        server = _made(folder)
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _made(folder: Path) -> PostgresqlServer:
    password = f"geheim-{secrets.token_hex(8)}"
    _write(folder / "password", password)
    _call(
        "initdb", "--no-sync", "--username", USER, "--auth", "scram-sha-256",
        "--pwfile", str(folder / "password"), "--encoding", "UTF8", "--locale", "C",
        "-D", str(folder / "data"), folder=folder,
    )  # fmt: skip
    settings = folder / "data" / "postgresql.conf"
    original = settings.read_text()
    for attempt in range(ATTEMPTS):
        port = _free_port()
        _write(settings, original + SETTINGS.format(port=port, folder=folder))
        server = PostgresqlServer(folder=folder, port=port, password=password)
        try:
            server.start()
        except RuntimeError:
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return server
    raise AssertionError("the loop returns or raises")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _owner() -> pwd.struct_passwd | None:
    """Whom the server runs as: it refuses to run as root. None: as we do."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    owner = _owner()
    if owner is not None:
        os.chown(path, owner.pw_uid, owner.pw_gid)


def _call(program: str, *arguments: str, folder: Path) -> None:
    found, owner = programs(), _owner()
    assert found is not None, "call programs() first"
    as_user = {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid}
    with (folder / "calls.log").open("a+") as log:
        done = subprocess.run(
            [found / program, *arguments],
            cwd=folder,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=log,  # a file: the server would keep a pipe open
            stderr=log,
            timeout=LIMIT_S,
            check=False,
            **({"extra_groups": []} | as_user if as_user else {}),
        )
        if done.returncode != 0:
            log.seek(0)
            raise RuntimeError(f"{program} {' '.join(arguments)}: {log.read()[-2000:]}")

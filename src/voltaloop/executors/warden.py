"""A small process that outlives this one by a moment, to end what its workers started.

The kernel ends the workers with this process, also when it is killed; it does not end the programs
that they run. One warden serves all pools of a process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from voltaloop.executors.family import end_marked, owner_mark

_PROGRAM = (
    "import sys; sys.path.append({root!r}); from voltaloop.executors.warden import main; "
    "main({owner!r})"
)
_ROOT = str(Path(__file__).resolve().parents[2])
_lock = threading.Lock()
_owner: str | None = None
_lifeline = -1


def owner() -> str:
    """The name of this process in the marks of its workers; its warden runs from now on."""
    global _owner, _lifeline  # noqa: PLW0603 - one warden for the whole process
    with _lock:
        if _owner is None:
            name = os.urandom(16).hex()
            _lifeline = _start(name)
            _owner = name
        return _owner


def main(name: str) -> None:
    """Wait until the owner is gone, then end what carries its mark."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    import psutil  # noqa: F401 - now: when it is needed, its folder may be gone

    while os.read(sys.stdin.fileno(), 1):
        pass
    end_marked(owner_mark(name))


def _start(name: str) -> int:
    """The end of a pipe that closes with this process."""
    ear, lifeline = os.pipe()
    try:
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-c", _PROGRAM.format(root=_ROOT, owner=name)],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, ear, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
        )
    except OSError:
        os.close(lifeline)
        raise
    finally:
        os.close(ear)
    return lifeline


def _forget() -> None:
    """A forked child has no warden yet, and must not keep its parent's waiting."""
    global _owner, _lifeline, _lock  # noqa: PLW0603 - one warden for the whole process
    _lock = threading.Lock()
    if _lifeline >= 0:
        os.close(_lifeline)
    _owner, _lifeline = None, -1


os.register_at_fork(after_in_child=_forget)

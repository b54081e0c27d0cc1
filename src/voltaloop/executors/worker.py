"""What runs inside a worker process. Imports nothing but the standard library."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.spawn import prepare
from typing import Any

from voltaloop.executors.errors import RemoteError

BOOTSTRAP = (
    "import sys; sys.path.append({root!r}); from voltaloop.executors.worker import main; "
    "main(fd={fd}, parent_pid={parent_pid})"
)
"""The worker's program, for ``python -P -c``; ``root`` is the folder that holds voltaloop."""

_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_importing_main = threading.Event()


def main(fd: int, parent_pid: int) -> None:
    """Serve the tasks that come through the pipe ``fd`` until it is closed."""
    leave_signals_to_parent()
    end_with_parent(parent_pid)
    os.set_inheritable(fd, False)
    with Connection(fd) as pipe:
        try:
            data, preload = pickle.loads(pipe.recv_bytes())  # noqa: S301 - from our own parent
            _import_main_module(data)
            if preload is not None:
                import_module(preload)
        except Exception:  # noqa: BLE001 - whatever the user's script raises is told to the parent
            pipe.send_bytes(traceback.format_exc().encode())
            return
        pipe.send_bytes(b"")
        _serve(pipe)


def refuse_inside_main_import() -> None:
    """Raise RuntimeError where a worker, by importing the user's script, starts a pool itself."""
    if _importing_main.is_set():
        raise RuntimeError(
            "A worker process imported your script and the script started a pool of its own. "
            "Put the code that starts it under: if __name__ == '__main__':"
        )


def leave_signals_to_parent() -> None:
    """Do nothing on Ctrl-C and SIGTERM, which may reach a whole job: the Thinker decides.

    A handler instead of SIG_IGN, because programs started by a task would inherit the latter.
    """
    for number in _SIGNALS:
        signal.signal(number, lambda *_: None)
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS),
        after_in_child=_default_signals,
    )


def _default_signals() -> None:
    """A process forked by a task can be terminated by it, even by a signal sent at once."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def end_with_parent(parent_pid: int) -> None:
    """Make sure that this process does not outlive its parent, however the parent ends.

    On Linux the kernel kills it at once, even inside compiled code. Elsewhere a thread looks once
    a second, which works whenever the running code releases the interpreter lock.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:  # it died before the call above
            os._exit(1)
    else:
        threading.Thread(target=watch_parent, args=(parent_pid,), daemon=True).start()


def watch_parent(parent_pid: int, every_s: float = 1.0) -> None:
    """End this process when its parent is no longer ``parent_pid``."""
    while os.getppid() == parent_pid:
        time.sleep(every_s)
    os._exit(1)


def _import_main_module(preparation: dict[str, Any]) -> None:
    """Make the functions of the user's script known here, as multiprocessing's spawn does."""
    _importing_main.set()
    try:
        prepare(preparation)
    finally:
        _importing_main.clear()


def _serve(pipe: Connection) -> None:
    while True:
        try:
            payload = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send_bytes(_outcome(payload))


def _outcome(payload: bytes) -> bytes:
    """Pickle of (True, result) or (False, (exception, traceback text))."""
    try:
        function, args, kwargs = pickle.loads(payload)  # noqa: S301 - from our own parent
        return pickle.dumps((True, function(*args, **kwargs)), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:  # noqa: BLE001 - every ending of a task is told to the parent
        text = "".join(traceback.format_exception(error))
        return pickle.dumps((False, (_portable(error), text)), pickle.HIGHEST_PROTOCOL)


def _portable(error: BaseException) -> Exception:
    """The error itself, or a stand-in where it would break or end the process that reads it."""
    if isinstance(error, Exception) and _survives_pickling(error):
        return error
    return RemoteError(type(error).__qualname__, str(error))


def _survives_pickling(error: Exception) -> bool:
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)  # noqa: S301 - made one line above
    except Exception:  # noqa: BLE001 - an error's own __reduce__ and __init__ may raise anything
        return False

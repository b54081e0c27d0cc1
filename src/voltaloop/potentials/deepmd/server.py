"""Frozen models ready to be asked: one process in DeePMD-kit's environment answers for all that
this process has opened, and ends with the last of them."""

from __future__ import annotations

import atexit
import logging
import os
import subprocess
import tempfile
import threading
import weakref
from collections import deque
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from voltaloop.core import FloatArray, Frame, Label
from voltaloop.core.deepmd_npy import VOIGT
from voltaloop.potentials.deepmd.program import (
    DeepmdError,
    Program,
    environment,
    failure,
)
from voltaloop.potentials.deepmd.serve import receive, send

logger = logging.getLogger(__name__)

_SCRIPT = Path(__file__).with_name("serve.py")
_STOP_S = 5.0


class ServerDied(DeepmdError):  # noqa: N818 - what happened
    """The process that answers for the models ended by itself."""


class Server:
    """The process that answers for the models of this process; started when it is first asked."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._log: Any = None
        self._lock = threading.RLock()
        self._closing: deque[str] = deque()
        self._open: set[str] = set()

    def holds(self, name: str) -> bool:
        """Whether a model is ready in the running process."""
        return name in self._open and self._owner == os.getpid()

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return None if self._process is None else self._process.pid

    def open(self, name: str, content: bytes) -> list[str]:
        """Make a frozen model ready under a name; the chemical symbols of its kinds."""
        with tempfile.NamedTemporaryFile(prefix="voltaloop-deepmd-", suffix=".pb") as file:
            file.write(content)
            file.flush()
            header, _ = self.ask({"do": "open", "model": name, "file": file.name})
        self._open.add(name)
        type_map: list[str] = header["type_map"]
        return type_map

    def forget(self, name: str) -> None:
        """Close a model with the next request; without any, end the process. For finalizers."""
        self._closing.append(name)
        self._open.discard(name)
        if not self._open:
            self.stop()

    def tidy(self, file: Path) -> None:
        """Rewrite a frozen model so that the same content has the same bytes."""
        self.ask({"do": "tidy", "file": str(file)})

    def ask(
        self, header: dict[str, Any], numbers: FloatArray | None = None
    ) -> tuple[dict[str, Any], FloatArray]:
        """One request and its answer. Raises DeepmdError for what DeePMD-kit refuses, ServerDied
        when its process ends."""
        with self._lock:
            while self._closing:
                self._exchange({"do": "close", "model": self._closing.popleft()}, np.empty(0))
            told, result = self._exchange(header, np.empty(0) if numbers is None else numbers)
        if "error" in told:
            raise DeepmdError(f"DeePMD-kit could not {header['do']} a model. {told['error']}")
        return told, result

    def _exchange(
        self, header: dict[str, Any], numbers: FloatArray
    ) -> tuple[dict[str, Any], FloatArray]:
        process = self._running()
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        try:
            send(process.stdin, header, numbers)  # type: ignore[arg-type]  # IO[bytes] is one
            answer = receive(process.stdout)  # type: ignore[arg-type]  # IO[bytes] is one
        except (OSError, ValueError):
            answer = None
        except BaseException:
            # Interrupted between a request and its answer: the next one would get this answer.
            self.stop()
            raise
        if answer is None:
            raise self._died()
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # the process belongs to the one that this one is a copy of
            self._process, self._owner, self._open = None, os.getpid(), set()
        if self._process is None:
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
            self._process = subprocess.Popen(  # noqa: S603 - a list, no shell; the user's own Python
                [self._program.python, str(_SCRIPT)],
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
            )
        return self._process

    def _died(self) -> ServerDied:
        code = None if self._process is None else _ended(self._process)
        said = _whole(self._log)
        self.stop()
        what = f"The process of DeePMD-kit that evaluates models ended with {code}"
        return ServerDied(str(failure(what, said)))

    def stop(self) -> None:
        """End the process; a later request starts another."""
        process, self._process = self._process, None
        self._open = set()
        self._closing.clear()
        if process is None or self._owner != os.getpid():
            return
        _ended(process)
        self._log.close()


def _whole(log: Any) -> str:
    log.seek(0)
    return bytes(log.read()).decode(errors="replace")


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Its exit code once it has ended, which it does when its input ends, else by force."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:  # what was not sent yet goes nowhere: it is dead already
                continue
    try:
        return process.wait(timeout=_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


_servers: dict[tuple[int, Program], Server] = {}
_names = count()


def server_of(program: Program) -> Server:
    """The one of this process."""
    key = (os.getpid(), program)
    if key not in _servers:
        _servers[key] = Server(program)
    return _servers[key]


@atexit.register
def _stop_all() -> None:
    for server in _servers.values():
        server.stop()


class ServedModel:
    """A frozen model as a function of frames."""

    def __init__(self, program: Program, content: bytes) -> None:
        self._server = server_of(program)
        self._content = content
        self._name = f"model-{next(_names)}"
        self._finalizer = weakref.finalize(self, self._server.forget, self._name)
        self._kinds = self._opened()

    def __call__(self, frame: Frame) -> Label:
        try:
            return self._evaluate(frame)
        except ServerDied as err:
            logger.warning("%s\nIt is started again.", err)
            return self._evaluate(frame)

    def _opened(self) -> dict[int, int]:
        """Atomic number to kind."""
        symbols = self._server.open(self._name, self._content)
        return {chemical_symbols.index(symbol): kind for kind, symbol in enumerate(symbols)}

    def _evaluate(self, frame: Frame) -> Label:
        if not self._server.holds(self._name):
            self._opened()
        # Inversion changes no energy and makes a left-handed cell right-handed.
        sign = 1.0 if np.linalg.det(frame.cell) > 0 else -1.0
        numbers = sign * np.concatenate([frame.positions.ravel(), frame.cell.ravel()])
        kinds = [self._kinds[int(z)] for z in frame.numbers]
        n = len(kinds)
        header = {"do": "evaluate", "model": self._name, "kinds": kinds}
        _, result = self._server.ask(header, numbers)
        virial = result[1 + 3 * n :].reshape(3, 3)
        stress = -(virial + virial.T).ravel()[list(VOIGT)] / 2 / frame.volume
        return Label(
            energy=float(result[0]),
            forces=sign * result[1 : 1 + 3 * n].reshape(n, 3),
            stress=stress,
        )

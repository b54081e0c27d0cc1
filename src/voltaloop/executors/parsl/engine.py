"""Parsl's HighThroughputExecutor as a carrier of sealed calls; it decides nothing here.

Its own kernel (DataFlowKernel) is not used: no retries, no checkpoints, no usage tracking, and no
scaling but ours, so a task costs less and every decision is in the event log.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import threading
import traceback
from concurrent.futures import BrokenExecutor, Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

from voltaloop.executors.errors import RemoteError, RemoteTraceback, WorkerLost
from voltaloop.executors.guard import Limits
from voltaloop.executors.parsl.blocks import Node
from voltaloop.executors.parsl.process import RUN_TASK
from voltaloop.executors.parsl.settings import ParslSettings

logger = logging.getLogger(__name__)

COMMAND_LIMIT_S = 30.0
POLL_MS = 100
INTERCHANGE_LIMIT_S = 10.0
LONGEST_BEAT_S = 5
_MODULE = "voltaloop.executors.parsl.process"
_ANY_CORES = 0.001


class EngineLost(RuntimeError):  # noqa: N818 - a named event, answered by a new engine
    """The interchange ended or does not answer."""


class Engine:
    """One interchange and what connects to it, with its files in ``folder``.

    Started and closed by one thread, which must live as long: the interchange ends with it.
    """

    def __init__(self, *, settings: ParslSettings, limits: Limits, folder: Path) -> None:
        self._limits = limits
        self._silence_s = settings.heartbeat_limit
        self._context = {"task_executor": {"f": RUN_TASK, "a": (asdict(limits),)}}
        self._log = _quiet_log(folder)
        self._htex = _executor(settings, folder)

    def start(self) -> None:
        """Raises EngineLost when the interchange does not come up."""
        try:
            self._htex.start()
        except Exception as error:
            raise EngineLost(f"Parsl's interchange did not start ({error})") from error

    def command(self, block: str) -> str:
        """What a block runs on each of its nodes."""
        return str(self._htex.launch_cmd.format(block_id=block))

    @property
    def broken(self) -> str | None:
        """Why no task can run, such as another Python on the nodes."""
        return str(self._htex.executor_exception) if self._htex.bad_state_is_set else None

    @property
    def listener(self) -> threading.Thread | None:
        """The thread in which futures are settled."""
        thread: threading.Thread | None = self._htex._result_queue_thread
        return thread

    def send(self, call: bytes) -> Future[bytes]:
        """A future for the ending of the sealed call. Callers take turns."""
        future: Future[bytes] = self._htex.submit_payload(self._context, call)
        return future

    def nodes(self) -> list[Node]:
        """What reports to the interchange. Raises EngineLost."""
        return [
            Node(
                id=manager["manager"],
                block=manager["block_id"],
                workers=manager["worker_count"],
                tasks=manager["tasks"],
                idle_s=manager["idle_duration"],
                usable=manager["active"] and not manager["draining"],
            )
            for manager in self._ask("MANAGERS")
        ]

    def hold(self, node: str) -> None:
        """Send no more tasks to the node. Raises EngineLost."""
        self._ask(["HOLD_MANAGER", node])

    def translated(self, error: BaseException) -> BaseException:
        """Parsl's error in the words of this room."""
        from parsl.executors.errors import BadStateException
        from parsl.executors.high_throughput import errors

        pool = self._limits.name
        if isinstance(error, errors.ManagerLost):
            return WorkerLost(
                pool,
                f"nothing was heard from its node {error.hostname} for {self._silence_s:g} s, so "
                f"its allocation has ended or the node is down",
            )
        if isinstance(error, errors.WorkerLost):
            return WorkerLost(pool, f"Parsl's own worker died on node {error.hostname}")
        if isinstance(error, BadStateException):
            return BrokenExecutor(f"Pool '{pool}' cannot run tasks: {self.broken}")
        stranger = RemoteError(type(error).__qualname__, str(error))
        stranger.__cause__ = RemoteTraceback("".join(traceback.format_exception(error)))
        return stranger

    def close(self) -> None:
        """End the interchange; nodes that still run end when they miss it."""
        process = self._htex.interchange_proc
        if process is not None:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(INTERCHANGE_LIMIT_S)
            self._htex.shutdown()
        if self._htex.cert_dir is not None:
            shutil.rmtree(self._htex.cert_dir, ignore_errors=True)  # its keys are of no more use
        logging.getLogger("parsl").removeHandler(self._log)
        self._log.close()

    def _ask(self, question: Any) -> Any:
        from parsl.executors.high_throughput.errors import (
            CommandClientBadError,
            CommandClientTimeoutError,
        )

        process = self._htex.interchange_proc
        if process.poll() is not None:
            raise EngineLost(f"Parsl's interchange ended, exit code {process.returncode}")
        try:
            return self._htex.command_client.run(question, timeout_s=COMMAND_LIMIT_S)
        except (CommandClientTimeoutError, CommandClientBadError) as error:
            raise EngineLost(
                f"Parsl's interchange gave no answer in {COMMAND_LIMIT_S:g} s"
            ) from error


def _executor(settings: ParslSettings, folder: Path) -> Any:
    from parsl.executors import HighThroughputExecutor
    from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
    from parsl.providers import LocalProvider

    addresses = _addresses(settings)
    htex = HighThroughputExecutor(
        label="interchange",
        # Blocks are ours: of the provider only the number of nodes is read.
        provider=LocalProvider(nodes_per_block=settings.nodes, init_blocks=0),
        launch_cmd=_launch_command(DEFAULT_LAUNCH_CMD),
        interchange_launch_cmd=_interchange_command(folder),
        address=addresses[0],
        worker_port_range=settings.ports,
        cores_per_worker=_ANY_CORES,
        max_workers_per_node=settings.workers_per_node,
        heartbeat_period=max(1, min(int(settings.heartbeat_limit / 6), LONGEST_BEAT_S)),
        heartbeat_threshold=round(settings.heartbeat_limit),
        drain_period=_drain_period(settings),
        poll_period=POLL_MS,
        block_error_handler=False,
        encrypted=True,
    )
    htex.run_dir = str(folder)
    if len(addresses) > 1:  # listen on all, and let the nodes try each
        htex.address, htex.all_addresses = None, set(addresses)
    return htex


def _launch_command(parsls: str) -> str:
    program, options = parsls.split(" ", 1)
    if program != "process_worker_pool.py":
        raise RuntimeError(
            f"This version of Parsl starts its workers with '{program}', which voltaloop does not "
            f"know. Install the one it was tested with: pip install 'voltaloop[parsl]'"
        )
    for path in ("{cert_dir}", "{logdir}", "{logconf}"):
        options = options.replace(path, f"'{path}'")
    return f"python3 -P -m {_MODULE} manager {options}"


def _interchange_command(folder: Path) -> list[str]:
    log = str(folder / "interchange.out")
    return [sys.executable, "-P", "-m", _MODULE, "interchange", str(os.getpid()), log]


def _drain_period(settings: ParslSettings) -> int | None:
    if settings.drain is None:
        return None
    return max(1, int(settings.walltime_s - settings.drain))


def _addresses(settings: ParslSettings) -> list[str]:
    """Where the nodes may find this machine: what the settings say, or every address it has."""
    import ipaddress
    import socket

    import psutil

    if settings.provider == "local":
        return ["127.0.0.1"]
    if settings.address is not None:
        return [settings.address]
    found = {
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET
        and not ipaddress.ip_address(address.address).is_loopback
    }
    return sorted(found) or ["127.0.0.1"]


def _quiet_log(folder: Path) -> logging.Handler:
    """Let Parsl's messages go to a file of the folder, and not to the user's terminal."""
    parsls = logging.getLogger("parsl")
    parsls.propagate = False
    if parsls.level == logging.NOTSET:
        parsls.setLevel(logging.INFO)
    handler = logging.FileHandler(folder / "parsl.log", encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    parsls.addHandler(handler)
    return handler

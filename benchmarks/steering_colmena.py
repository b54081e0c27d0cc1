"""The Colmena side of the steering benchmark; started by steering.py.

Colmena's own Thinker with its pipe queues, and its task server in a process of its own: the local
one or Parsl's. It keeps nothing on disk.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from colmena.models import Result
from colmena.queue.python import PipeQueues
from colmena.task_server.base import BaseTaskServer
from colmena.thinker import BaseThinker, agent, result_processor
from steering_work import (
    LIMIT_S,
    WORKERS,
    Load,
    Measured,
    Progress,
    answers,
    measured,
    parsl_executor,
    rest,
    serve,
)

TOPIC = "work"
STOP_LIMIT_S = 3.0


class KeepBusy(BaseThinker):
    """Keeps a load's window full: the first tasks from one agent, the others from the results'."""

    def __init__(self, queues: PipeQueues) -> None:
        super().__init__(queues, daemon=True)
        self._asked = threading.Event()
        self._over = threading.Event()
        self._sending = threading.Lock()  # a pipe is no queue: two agents must not write at once
        self._progress = Progress(load=Load(count=0, seconds=0.0, window=1, salt=0))
        self._failure: str | None = None

    def measure(self, load: Load) -> Measured:
        """Steer the load; from the first task sent to the last result received."""
        self._progress, self._failure = Progress(load=load), None
        self._over.clear()
        start = time.perf_counter()
        self._asked.set()
        if not self._over.wait(LIMIT_S):
            raise TimeoutError(f"Colmena gave no end of {load} within {LIMIT_S:g} s")
        wall_s = time.perf_counter() - start
        if self._failure is not None:
            raise RuntimeError(f"A task failed: {self._failure}")
        return measured(self._progress, wall_s)

    @agent
    def begin(self) -> None:
        """Send the first tasks of each load."""
        while not self.done.is_set():
            if self._asked.wait(1.0):
                self._asked.clear()
                self._fill()

    @result_processor(topic=TOPIC)  # type: ignore[untyped-decorator]
    def receive(self, result: Result) -> None:
        """Take a result; send what the window has room for."""
        if not result.success:
            self._failure = str(result.failure_info)
            self._over.set()
            return
        self._progress.take(result.value)
        self._fill()
        if self._progress.over:
            self._over.set()

    def _fill(self) -> None:
        with self._sending:
            for inputs in self._progress.next_inputs():
                self.queues.send_inputs(method="rest", input_kwargs=inputs, topic=TOPIC)


def task_server(executor: str, queues: PipeQueues, folder: Path) -> BaseTaskServer:
    if executor == "local":
        from colmena.task_server.local import LocalTaskServer

        return LocalTaskServer(queues, [rest], threads=False, num_workers=WORKERS)
    from colmena.task_server.parsl import ParslTaskServer
    from parsl import Config

    config = Config(
        executors=[parsl_executor(folder)],
        run_dir=str(folder / "runinfo"),
        strategy="none",
        initialize_logging=False,
    )
    return ParslTaskServer([rest], queues, config)


def main() -> None:
    executor, folder = sys.argv[1], Path(sys.argv[2])
    with answers() as channel:
        queues = PipeQueues(topics=[TOPIC], keep_inputs=False)
        server = task_server(executor, queues, folder)
        server.start()
        thinker = KeepBusy(queues)
        thinker.start()
        try:
            serve(thinker.measure, channel)
        finally:
            thinker.done.set()
            queues.send_kill_signal()  # type: ignore[no-untyped-call]
            server.join(STOP_LIMIT_S)


if __name__ == "__main__":
    main()

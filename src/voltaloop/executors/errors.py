"""How a task that did not return ends, and how its traceback is read.

The class names are what the event log keeps as the reason of a failure, so they never change:
WorkerDied and TaskTimeout and TaskOutOfMemory are held against the task, WorkerLost and
TaskInterrupted are not. RemoteError stands for an error of the task's own.

These do not derive from :class:`voltaloop.core.VoltaloopError`, because importing ``core`` loads
numpy and a worker imports this room first. All survive a process border.
"""

import signal
import traceback


class WorkerDied(RuntimeError):  # noqa: N818 - a named outcome of a task, not a defect of the program
    """The process that ran the task ended before the task did. ``args`` is (pool, pid, exitcode).

    exitcode: as :class:`subprocess.Popen` gives it, the negative signal number when killed.
    """

    def __init__(self, pool: str, pid: int, exitcode: int) -> None:
        super().__init__(pool, pid, exitcode)

    @property
    def exitcode(self) -> int:
        return int(self.args[2])

    def __str__(self) -> str:
        pool, pid, exitcode = self.args
        return f"A worker of pool '{pool}' (pid {pid}) died in this task: {_ending(exitcode)}."


class TaskTimeout(RuntimeError):  # noqa: N818 - a named outcome of a task
    """The task ran longer than its pool allows and was killed. ``args`` is (pool, pid, seconds).

    No TimeoutError, which :meth:`Future.result` raises when only its caller's patience is over.
    """

    def __init__(self, pool: str, pid: int, seconds: float) -> None:
        super().__init__(pool, pid, seconds)

    def __str__(self) -> str:
        pool, pid, seconds = self.args
        return (
            f"The task passed the time limit of {seconds:g} s of pool '{pool}' and its worker "
            f"(pid {pid}) was killed. Raise the pool's limit if such tasks may take longer."
        )


class TaskOutOfMemory(RuntimeError):  # noqa: N818 - a named outcome of a task
    """The task held more memory than its pool allows and was killed.

    ``args`` is (pool, pid, limit_GB, used_GB); 1 GB is 10^9 bytes. No MemoryError, which is what a
    task raises itself when the system refuses it memory.
    """

    def __init__(self, pool: str, pid: int, limit_GB: float, used_GB: float) -> None:
        super().__init__(pool, pid, limit_GB, used_GB)

    def __str__(self) -> str:
        pool, pid, limit, used = self.args
        return (
            f"The task and the programs it started held {used:.3g} GB of memory, more than the "
            f"{limit:.3g} GB that pool '{pool}' allows, and its worker (pid {pid}) was killed. "
            f"Raise the pool's memory limit if such tasks may need more."
        )


class WorkerLost(RuntimeError):  # noqa: N818 - a named outcome of a task
    """What ran the task went away under it: its node, allocation or connection.

    ``args`` is (pool, detail).
    """

    def __init__(self, pool: str, detail: str) -> None:
        super().__init__(pool, detail)

    def __str__(self) -> str:
        pool, detail = self.args
        return (
            f"Pool '{pool}' lost what ran this task: {detail}. Nothing is wrong with the task: "
            f"run it again."
        )


class TaskInterrupted(RuntimeError):  # noqa: N818 - a named outcome of a task
    """The pool was shut down while the task ran. ``args`` is (pool, grace in seconds)."""

    def __init__(self, pool: str, grace_s: float) -> None:
        super().__init__(pool, grace_s)

    def __str__(self) -> str:
        pool, grace_s = self.args
        return (
            f"Pool '{pool}' was shut down and the task had not ended {grace_s:g} s later, so it "
            f"was killed. Nothing is wrong with the task: run it again, or raise grace_s."
        )


class RemoteError(RuntimeError):
    """Stands for an exception that cannot cross the process border. ``args`` is (type, text)."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(kind, text)

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.args[1]}"


class RemoteTraceback(Exception):  # noqa: N818 - the cause of an error, never raised by itself
    """The traceback of an exception as its worker saw it; set as that exception's cause."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def failure_text(error: BaseException) -> str:
    """The traceback of a failed task: as its worker saw it, or the local one if there is none."""
    cause = error.__cause__
    if isinstance(cause, RemoteTraceback):
        return str(cause.args[0])
    return "".join(traceback.format_exception(error))


def _ending(exitcode: int) -> str:
    if exitcode >= 0:
        return f"exit code {exitcode}"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    hint = ", often the system running out of memory" if name == "SIGKILL" else ""
    return f"killed by {name}{hint}"

import pickle
import signal

import pytest

from voltaloop.executors import (
    InlineExecutor,
    RemoteError,
    RemoteTraceback,
    TaskInterrupted,
    TaskOutOfMemory,
    TaskTimeout,
    WorkerDied,
    WorkerLost,
    failure_text,
)

ERRORS = [
    WorkerDied("label", 12, -signal.SIGSEGV),
    TaskTimeout("label", 12, 30.0),
    TaskInterrupted("label", 10.0),
    TaskOutOfMemory("label", 12, 4.0, 4.5678),
    WorkerLost("label", "Slurm ended job 17"),
    RemoteError("ScfError", "no convergence"),
    RemoteTraceback("Traceback ..."),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_survives_a_process_border(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is type(error)
    assert (copy.args, str(copy)) == (error.args, str(error))


@pytest.mark.parametrize(
    ("exitcode", "ending"),
    [
        (3, "exit code 3"),
        (-signal.SIGSEGV, "killed by SIGSEGV"),
        (-signal.SIGKILL, "killed by SIGKILL, often the system running out of memory"),
        (-99, "killed by signal 99"),
    ],
)
def test_a_death_says_how_and_where(exitcode: int, ending: str) -> None:
    error = WorkerDied("label", 12, exitcode)
    assert error.exitcode == exitcode
    assert str(error) == f"A worker of pool 'label' (pid 12) died in this task: {ending}."


def test_a_timeout_says_what_to_do() -> None:
    assert "time limit of 30 s of pool 'label'" in str(ERRORS[1])
    assert "Raise the pool's limit" in str(ERRORS[1])
    assert not isinstance(ERRORS[1], TimeoutError)


def test_too_much_memory_says_how_much_and_what_to_do() -> None:
    assert str(ERRORS[3]) == (
        "The task and the programs it started held 4.57 GB of memory, more than the 4 GB that pool "
        "'label' allows, and its worker (pid 12) was killed. Raise the pool's memory limit if such "
        "tasks may need more."
    )
    assert not isinstance(ERRORS[3], MemoryError)


def test_a_loss_says_that_the_task_is_not_to_blame() -> None:
    assert str(ERRORS[4]) == (
        "Pool 'label' lost what ran this task: Slurm ended job 17. Nothing is wrong with the task: "
        "run it again."
    )


def test_the_text_of_a_failure_prefers_the_traceback_of_the_worker() -> None:
    error = ValueError("here")
    error.__cause__ = RemoteTraceback("as seen there")
    assert failure_text(error) == "as seen there"


def test_the_text_of_a_local_failure_is_its_own_traceback() -> None:
    error = InlineExecutor().submit(int, "x").exception()
    assert error is not None
    assert failure_text(error).startswith("Traceback")
    assert "invalid literal" in failure_text(error)

from concurrent.futures import Future
from typing import Any

import pytest

from voltaloop.executors import WorkerDied, failure_text, seal, settle
from voltaloop.executors.sealed import failure
from voltaloop.executors.worker import _outcome


class Unreadable:
    def __reduce__(self) -> tuple[Any, ...]:
        return (int, ("not a number",))


def ended(ending: bytes) -> Future[Any]:
    future: Future[Any] = Future()
    settle(future, ending)
    return future


def test_a_result_goes_through_a_sealed_call_unchanged() -> None:
    assert ended(_outcome(seal(sorted, [1, 3, 2], reverse=True))).result(0) == [3, 2, 1]


def test_an_error_comes_back_with_its_traceback() -> None:
    error = ended(_outcome(seal(int, "x"))).exception(0)
    assert isinstance(error, ValueError)
    assert failure_text(error).startswith("Traceback")


def test_a_failure_without_a_traceback_has_no_cause() -> None:
    error = ended(failure(WorkerDied("label", 12, 3))).exception(0)
    assert isinstance(error, WorkerDied)
    assert error.__cause__ is None


def test_a_result_that_cannot_be_read_fails_in_the_future() -> None:
    assert isinstance(ended(_outcome(seal(Unreadable))).exception(0), ValueError)


def test_what_cannot_be_pickled_is_refused_at_once() -> None:
    with pytest.raises(Exception, match="lambda"):
        seal(lambda: 0)

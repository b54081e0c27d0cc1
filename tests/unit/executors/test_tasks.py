from collections import deque
from concurrent.futures import BrokenExecutor, Future

from voltaloop.executors.sealed import failure
from voltaloop.executors.tasks import Task, cancel_all, fail_all


def waiting(count: int) -> tuple[deque[Task], list[Future[object]]]:
    futures: list[Future[object]] = [Future() for _ in range(count)]
    return deque(Task(future=future, payload=b"") for future in futures), futures


def test_a_sealed_task_gets_its_ending_as_it_came() -> None:
    ending = failure(ValueError("x"))
    plain, sealed = (
        Task(future=Future(), payload=b""),
        Task(future=Future(), payload=b"", sealed=True),
    )
    plain.settle(ending)
    sealed.settle(ending)
    assert isinstance(plain.future.exception(0), ValueError)
    assert sealed.future.result(0) == ending


def test_cancelled_tasks_are_over_for_whoever_waits() -> None:
    tasks, futures = waiting(2)
    futures[0].cancel()
    cancel_all(tasks)
    assert not tasks
    assert [future.cancelled() for future in futures] == [True, True]


def test_failed_tasks_say_why_and_cancelled_ones_stay_so() -> None:
    tasks, futures = waiting(2)
    futures[0].cancel()
    fail_all(tasks, "no node")
    assert not tasks
    assert futures[0].cancelled()
    assert isinstance(futures[1].exception(0), BrokenExecutor)
    assert str(futures[1].exception(0)) == "no node"

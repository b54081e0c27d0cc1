from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from voltaloop.campaigns.pools import Workers, started_pool
from voltaloop.core import Task
from voltaloop.executors.catalogue import PoolWork


class Waiting(Executor):
    """Takes every task and begins none."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        self.futures.append(Future())
        return self.futures[-1]


class Pool:
    """What a campaign file may name; ``error``: why it cannot be started."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.executor = ThreadPoolExecutor(1)
        self.work: PoolWork | None = None

    def start(self, work: PoolWork) -> Executor:
        self.work = work
        if self.error is not None:
            raise self.error
        return self.executor


def task(number: int = 0) -> Task:
    return Task(function="label", version=1, pool="label", inputs={"n": number}, title="a label")


def test_a_task_under_way_is_not_begun_twice() -> None:
    pool = Waiting()
    workers = Workers({"label": pool}, "root")
    first = workers.submit(task())
    assert workers.submit(task()) is first
    assert workers.submit(task(1)) is not first
    assert len(pool.futures) == 2


@pytest.mark.parametrize(
    "end",
    [
        lambda future: future.set_result(None),
        lambda future: future.set_exception(OSError()),
        lambda future: future.cancel(),
    ],
)
def test_a_task_that_ended_is_begun_again_however_it_ended(
    end: Callable[[Future[Any]], object],
) -> None:
    pool = Waiting()
    workers = Workers({"label": pool}, "root")
    end(workers.submit(task()))
    workers.submit(task())
    assert len(pool.futures) == 2


def test_results_are_not_kept_when_they_are_in() -> None:
    pool = Waiting()
    workers = Workers({"label": pool}, "root")
    for number in range(50):
        workers.submit(task(number)).set_result(None)
    assert workers._under_way == {}


def test_what_has_begun_may_end_and_what_has_not_is_taken_back() -> None:
    begun, go_on = Event(), Event()

    def work() -> None:
        begun.set()
        go_on.wait(30)

    class Busy(ThreadPoolExecutor):
        def submit(self, *_: Any, **__: Any) -> Future[Any]:
            return super().submit(work)

    with Busy(1) as pool:
        workers = Workers({"label": pool}, "root")
        running, waiting = workers.submit(task(0)), workers.submit(task(1))
        begun.wait(30)
        workers.let_end(0.1)
        assert (running.done(), waiting.cancelled()) == (False, True)
        go_on.set()
        workers.let_end(30)
        assert running.done()


@pytest.mark.parametrize("error", [ConnectionError("no answer"), OSError(28, "No space left")])
def test_a_pool_that_cannot_be_started_is_named(tmp_path: Path, error: OSError) -> None:
    with (
        pytest.raises(BrokenExecutor, match="The pool 'label' cannot be started: ") as caught,
        started_pool("label", Pool(error), tmp_path),  # type: ignore[arg-type]
    ):
        pytest.fail("it was started")
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(("name", "fresh"), [("explore", True), ("label", False)])
def test_a_pool_is_told_what_it_is_for_and_ended_with_the_block(
    tmp_path: Path, name: str, fresh: bool
) -> None:
    pool = Pool()
    with started_pool(name, pool, tmp_path) as executor:  # type: ignore[arg-type]
        assert executor.submit(int).result(30) == 0
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.executor.submit(int)
    assert pool.work is not None
    assert (pool.work.name, pool.work.fresh_process_per_task) == (name, fresh)
    assert pool.work.folder == tmp_path.resolve() / name

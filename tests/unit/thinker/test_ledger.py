from typing import Any

import pytest
from toy_campaign import square_task, sum_task

from voltaloop.core import Event, Task
from voltaloop.thinker import MAX_ATTEMPTS, Ledger


class Folding:
    """Numbers the events that a ledger takes."""

    def __init__(self, **capacity: int) -> None:
        self.ledger = Ledger(capacity)
        self.seq = 0

    def take(self, kind: str, time: float = 0.0, **data: Any) -> Ledger:
        self.seq += 1
        self.ledger.fold(Event(seq=self.seq, time=time, kind=kind, data=data))
        return self.ledger

    def submit(self, task: Task, attempt: int = 1) -> Ledger:
        return self.take("submitted", task=task.to_json(), attempt=attempt)

    def finish(self, task: Task) -> Ledger:
        return self.take("finished", id=task.id, result={})

    def fail(self, task: Task, attempt: int) -> Ledger:
        return self.take(
            "failed", id=task.id, attempt=attempt, reason="WorkerDied", detail="code 7"
        )


def test_a_submitted_task_takes_a_slot_of_its_own_pool_only() -> None:
    folding = Folding(square=2, sum=1)
    ledger = folding.submit(square_task(2))
    assert (ledger.free("square"), ledger.free("sum")) == (1, 1)
    ledger = folding.submit(square_task(3))
    assert (ledger.free("square"), ledger.running("square")) == (0, 2)
    assert ledger.running("sum") == 0


def test_a_slot_is_free_again_after_success_and_after_failure() -> None:
    folding = Folding(square=2)
    folding.submit(square_task(2))
    folding.submit(square_task(3))
    assert folding.finish(square_task(2)).free("square") == 1
    assert folding.fail(square_task(3), 1).free("square") == 2


def test_more_tasks_than_workers_leave_no_negative_number_of_free_slots() -> None:
    folding = Folding(square=1)
    for number in range(4):
        folding.submit(square_task(number))
    assert folding.ledger.running("square") == 4
    assert folding.ledger.free("square") == 0


def test_an_unknown_pool_is_an_error_and_not_an_endless_supply_of_workers() -> None:
    with pytest.raises(KeyError, match="square"):
        Ledger({"sum": 1}).free("square")


def test_a_finished_task_stays_known_and_is_no_longer_under_way() -> None:
    folding = Folding(square=1)
    folding.submit(square_task(2))
    ledger = folding.finish(square_task(2))
    assert square_task(2).id in ledger.known
    assert ledger.flights == {}
    assert square_task(3).id not in ledger.known


def test_the_attempt_is_that_of_the_last_submission() -> None:
    folding = Folding(square=1)
    task = square_task(2)
    folding.submit(task)
    folding.fail(task, 1)
    assert folding.submit(task, attempt=2).flights[task.id].attempt == 2
    assert folding.ledger.flights[task.id].task == task


def test_a_task_is_given_up_with_its_reason_after_the_last_attempt_and_not_before() -> None:
    folding = Folding(square=1)
    task = square_task(2)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert folding.ledger.given_up == {}
        folding.submit(task, attempt)
        folding.fail(task, attempt)
    assert folding.ledger.given_up == {task.id: "WorkerDied"}
    assert folding.ledger.flights == {}


def test_failures_in_a_row_are_counted_by_function_and_forgotten_after_a_success() -> None:
    folding = Folding(square=3, sum=1)
    for number in (1, 2):
        folding.submit(square_task(number))
        folding.fail(square_task(number), 1)
    folding.submit(sum_task([1]))
    folding.fail(sum_task([1]), 1)
    assert folding.ledger.failures_in_a_row == {"square": 2, "sum": 1}
    assert folding.ledger.last_failures["square"] == "WorkerDied: code 7"
    folding.submit(square_task(3))
    folding.finish(square_task(3))
    assert folding.ledger.failures_in_a_row == {"square": 0, "sum": 1}


def test_active_time_runs_within_a_session_and_stands_still_between_sessions() -> None:
    folding = Folding(square=1)
    folding.take("opened", 1000.0)
    folding.take("session", 1000.0)
    folding.take("noted", 1030.0)
    assert folding.ledger.active_s == 30.0
    folding.take("session", 9000.0)
    assert folding.ledger.active_s == 30.0
    folding.take("noted", 9005.0)
    assert folding.ledger.active_s == 35.0
    assert folding.ledger.opened_at == 1000.0


def test_active_time_goes_on_after_the_last_event_and_never_runs_backwards() -> None:
    folding = Folding(square=1)
    assert folding.ledger.active_now(5000.0) == 0.0
    folding.take("opened", 1000.0)
    folding.take("noted", 1010.0)
    assert folding.ledger.active_now(1015.0) == 15.0
    folding.take("noted", 1005.0)
    assert folding.ledger.active_s == 10.0
    assert folding.ledger.active_now(1000.0) == 10.0


def test_clock_marks_are_remembered() -> None:
    folding = Folding(square=1)
    assert folding.take("clock", 5.0, mark="wall_time").marks == {"wall_time"}

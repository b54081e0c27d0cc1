"""What interrupts a campaign leaves no trace in its decisions."""

from typing import Any

from toy_campaign import new_mind

from voltaloop.core import Event
from voltaloop.thinker import Ledger, attempts_allowed
from voltaloop.thinker.steering import steady_clock


def failed(task: dict[str, Any], attempt: int, reason: str) -> tuple[str, dict[str, Any]]:
    data = {"id": task["id"], "task": task, "attempt": attempt, "reason": reason, "detail": "x"}
    return "failed", data


def opened() -> tuple[Any, dict[str, Any]]:
    mind = new_mind()
    events = mind.react(("opened", {"numbers": [1, 2, 3]}), 1.0)
    task = next(e.data["task"] for e in events if e.kind == "submitted")
    return mind, task


def test_sessions_and_failed_attempts_do_not_move_the_seed_of_random_choices() -> None:
    mind, task = opened()
    before = mind.ledger.position
    mind.react(("session", {}), 2.0)
    mind.react(failed(task, 1, "WorkerDied"), 3.0)
    mind.react(("restored", {"id": task["id"]}), 4.0)
    assert mind.ledger.position == before


def test_what_is_not_the_task_s_fault_is_tried_far_more_often() -> None:
    mind, task = opened()
    for attempt in range(1, attempts_allowed("WorkerLost")):
        events = mind.react(failed(task, attempt, "WorkerLost"), 2.0)
        assert events[1].kind == "submitted"
        assert events[1].data["attempt"] == attempt + 1
    mind.react(failed(task, attempt + 1, "WorkerLost"), 3.0)
    assert mind.ledger.given_up[task["id"]] == "WorkerLost"


def test_a_time_out_is_tried_once_more_only() -> None:
    mind, task = opened()
    assert attempts_allowed("TaskTimeout") == 2
    mind.react(failed(task, 1, "TaskTimeout"), 2.0)
    mind.react(failed(task, 2, "TaskTimeout"), 3.0)
    assert task["id"] in mind.ledger.given_up


def test_each_kind_of_failure_is_counted_by_itself() -> None:
    mind, task = opened()
    for attempt, reason in enumerate(["WorkerLost", "WorkerDied"] * 2, start=1):
        mind.react(failed(task, attempt, reason), 2.0)
    assert mind.ledger.given_up == {}
    mind.react(failed(task, 5, "WorkerDied"), 3.0)
    assert mind.ledger.given_up == {task["id"]: "WorkerDied"}


def test_the_ledger_forgets_a_streak_of_failures_with_the_session() -> None:
    mind, task = opened()
    mind.react(failed(task, 1, "WorkerDied"), 2.0)
    assert mind.ledger.failures_in_a_row == {"square": 1}
    mind.react(("session", {}), 3.0)
    assert mind.ledger.failures_in_a_row == {}


def test_the_clock_goes_on_from_the_log_when_the_machine_s_clock_was_set_back() -> None:
    last = 4.0e9  # years ahead of any machine this runs on
    clock = steady_clock(last)
    assert last <= clock() <= clock() < last + 60


def test_a_clock_set_back_between_sessions_takes_no_active_time_away() -> None:
    ledger = Ledger({"square": 1})
    for seq, (kind, time) in enumerate([("opened", 100.0), ("a", 110.0), ("session", 50.0)], 1):
        ledger.fold(Event(seq=seq, time=time, kind=kind, data={}))
    ledger.fold(Event(seq=4, time=55.0, kind="a", data={}))
    assert ledger.active_s == 15.0

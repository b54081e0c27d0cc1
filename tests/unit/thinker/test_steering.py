import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from toy_campaign import (
    FACTS,
    ToyPolicy,
    die,
    new_mind,
    outcome,
    perform,
    perform_in_a_while,
    refuse_even,
    square_task,
)

from voltaloop.core import CampaignFolderError, Event, Task
from voltaloop.executors import InlineExecutor, LocalProcesses, failure_text
from voltaloop.store import EventLog
from voltaloop.thinker import MAX_ATTEMPTS, Mind, Outcome, Steering, replay, steering

FIRST = [("opened", FACTS), ("session", {})]
Submit = Callable[[Task], Future[Outcome]]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with EventLog.open(tmp_path / "events.sqlite") as opened:
        yield opened


@pytest.fixture
def pool() -> Iterator[LocalProcesses]:
    with LocalProcesses(workers=1, grace_s=0.0, name="square") as running:
        yield running


def inline(function: Callable[[Task], Outcome] = perform) -> Submit:
    return partial(InlineExecutor().submit, function)


def steer(mind: Mind, log: EventLog, submit: Submit, **options: Any) -> Steering:
    return Steering(mind, log, submit, marks=options.pop("marks", {}), **options)


def read(log: EventLog) -> list[Event]:
    return list(log.read())


def rebuilt(log: EventLog) -> Mind:
    mind = new_mind()
    for event in log.read():
        mind.fold(event)
    return mind


def titles(events: Sequence[Event], kind: str = "submitted") -> list[str]:
    return [e.data["task"]["title"] for e in events if e.kind == kind]


def total(mind: Mind) -> int | None:
    assert isinstance(mind.policy, ToyPolicy)
    return mind.policy.total


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_campaign_runs_to_its_end_and_its_log_can_be_replayed(log: EventLog) -> None:
    mind = new_mind()
    assert steer(mind, log, inline()).run(FIRST)
    assert total(mind) == 4 + 9 + 25 + 49
    assert replay(read(log), new_mind()) == []
    assert read(log)[-1].kind == "finished"


def test_a_campaign_runs_in_local_processes(log: EventLog, pool: Executor) -> None:
    mind = new_mind()
    assert steer(mind, log, partial(pool.submit, perform)).run(FIRST)
    assert total(mind) == 4 + 9 + 25 + 49
    assert replay(read(log), new_mind()) == []


def test_a_task_and_all_events_before_it_are_on_disk_before_it_is_submitted(
    log: EventLog, tmp_path: Path
) -> None:
    started: list[str] = []

    def submit(task: Task) -> Future[Outcome]:
        with EventLog.open(tmp_path / "events.sqlite", read_only=True) as seen_by_others:
            events = list(seen_by_others.read())
        submitted = {e.data["task"]["id"] for e in events if e.kind == "submitted"}
        results = {e.data["id"] for e in events if e.kind == "finished"}
        assert task.id in submitted - results
        if task.function == "sum":
            squares = [e.data["result"]["value"] for e in events if e.kind == "finished"]
            assert sorted(squares) == task.inputs["squares"]
        started.append(task.title)
        return inline()(task)

    assert steer(new_mind(), log, submit).run(FIRST)
    assert started == ["square 2", "square 3", "square 5", "square 7", "add up"]
    assert [e.data["detail"] for e in log.read() if e.kind == "failed"] == []


def test_a_result_is_kept_with_its_times_and_cost(log: EventLog) -> None:
    steer(new_mind(), log, inline()).run(FIRST)
    finished = next(e for e in log.read() if e.kind == "finished")
    assert finished.data == {
        "id": square_task(2).id,
        "result": {"value": 4},
        "started": 1.0,
        "ended": 2.0,
        "cpu_s": 0.5,
    }


def test_a_failure_is_an_event_with_its_traceback_and_ends_no_campaign(
    log: EventLog, pool: Executor
) -> None:
    mind = new_mind()
    submit = partial(pool.submit, refuse_even)
    assert steer(mind, log, submit, describe_failure=failure_text).run(FIRST)
    failures = [e.data for e in log.read() if e.kind == "failed"]
    assert [f["attempt"] for f in failures] == list(range(1, MAX_ATTEMPTS + 1))
    for failure in failures:
        assert failure["id"] == square_task(2).id
        assert failure["task"] == square_task(2).to_json()
        assert failure["reason"] == "ArithmeticError"
        assert failure["detail"] == "cannot square 2"
        assert "in refuse_even" in failure["traceback"]
    assert mind.ledger.given_up == {square_task(2).id: "ArithmeticError"}
    assert total(mind) == 9 + 25 + 49
    assert replay(read(log), new_mind()) == []


def test_a_task_that_fails_once_is_run_again_and_its_result_counts(log: EventLog) -> None:
    calls: list[str] = []

    def fails_first(task: Task) -> Outcome:
        calls.append(task.title)
        if calls.count("square 3") == 1 and task.title == "square 3":
            raise OSError("disk full")
        return perform(task)

    mind = new_mind()
    assert steer(mind, log, inline(fails_first)).run(FIRST)
    assert calls.count("square 3") == 2
    assert mind.ledger.given_up == {}
    assert total(mind) == 4 + 9 + 25 + 49


def test_a_worker_that_dies_fails_its_own_task_only(log: EventLog, pool: Executor) -> None:
    mind = new_mind()
    submit = partial(pool.submit, die)
    assert steer(mind, log, submit, describe_failure=failure_text).run(FIRST)
    failures = [e.data for e in log.read() if e.kind == "failed"]
    assert {f["task"]["title"] for f in failures} == {"square 3"}
    assert {f["reason"] for f in failures} == {"WorkerDied"}
    assert "exit code 7" in failures[0]["detail"]
    assert total(mind) == 4 + 25 + 49


def test_a_pool_that_takes_no_task_fails_the_task_and_not_the_campaign(log: EventLog) -> None:
    closed = InlineExecutor()
    closed.shutdown()
    mind = new_mind()

    def submit(task: Task) -> Future[Outcome]:
        return closed.submit(perform, task) if task.title == "square 5" else inline()(task)

    assert steer(mind, log, submit).run(FIRST)
    failure = next(e.data for e in log.read() if e.kind == "failed")
    assert failure["detail"] == "Cannot submit a task: this executor was shut down."
    assert total(mind) == 4 + 9 + 49


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_a_result_that_no_event_can_hold_is_a_failure_of_its_doer(
    log: EventLog, value: object
) -> None:
    def numerical_accident(task: Task) -> Outcome:
        return outcome(value) if task.title == "square 7" else perform(task)

    mind = new_mind()
    assert steer(mind, log, inline(numerical_accident)).run(FIRST)
    assert mind.ledger.given_up == {square_task(7).id: "ValueError"}
    detail = next(e.data["detail"] for e in log.read() if e.kind == "failed")
    assert "cannot be stored as JSON" in detail
    assert "Expected text, finite numbers" in detail
    assert total(mind) == 4 + 9 + 25


def test_a_stop_request_ends_the_run_and_later_results_can_be_drained(
    log: EventLog, pool: Executor, tmp_path: Path
) -> None:
    (tmp_path / "hold").touch()
    mind = new_mind()
    driver = steer(mind, log, partial(pool.submit, perform_in_a_while, str(tmp_path)))

    def stop_when_begun() -> None:
        eventually(lambda: any(tmp_path.glob("square *")))
        driver.stop()

    threading.Thread(target=stop_when_begun).start()
    assert driver.run(FIRST) is False
    assert titles(read(log)) == ["square 2", "square 3"]
    (tmp_path / "hold").unlink()
    begun = time.monotonic()
    driver.drain(60.0)
    assert time.monotonic() - begun < 20
    events = read(log)
    assert [e.data["id"] for e in events if e.kind == "finished"] == [square_task(2).id]
    assert titles(events) == ["square 2", "square 3", "square 5"]
    assert {f.task.title for f in mind.ledger.flights.values()} == {"square 3", "square 5"}
    assert len(list(tmp_path.glob("square *"))) == 1


def test_draining_waits_no_longer_than_it_was_told(
    log: EventLog, pool: Executor, tmp_path: Path
) -> None:
    (tmp_path / "hold").touch()
    driver = steer(new_mind(), log, partial(pool.submit, perform_in_a_while, str(tmp_path)))
    driver.stop()
    assert driver.run(FIRST) is False
    eventually(lambda: any(tmp_path.glob("square *")))
    begun = time.monotonic()
    driver.drain(1.0)
    assert 0.9 < time.monotonic() - begun < 10
    assert [e.kind for e in log.read()] == ["opened", "submitted", "submitted", "session"]


def test_the_next_session_runs_what_was_under_way_and_nothing_that_is_finished(
    log: EventLog,
) -> None:
    def first_session(task: Task) -> Future[Outcome]:
        return Future() if task.title == "square 3" else inline()(task)

    def stop_when_only_one_is_left(events: Sequence[Event]) -> None:
        del events
        if len(driver_mind.ledger.known) == 4 and len(driver_mind.ledger.flights) == 1:
            driver.stop()

    driver_mind = new_mind()
    driver = steer(driver_mind, log, first_session, watch=stop_when_only_one_is_left)
    assert driver.run(FIRST) is False
    driver.drain(0.5)
    finished = {e.data["id"] for e in log.read() if e.kind == "finished"}
    assert finished == {square_task(number).id for number in (2, 5, 7)}

    mind, started = rebuilt(log), []

    def second_session(task: Task) -> Future[Outcome]:
        started.append(task.title)
        return inline()(task)

    assert steer(mind, log, second_session).run([("session", {})])
    assert started == ["square 3", "add up"]
    assert total(mind) == 4 + 9 + 25 + 49
    assert titles(read(log)) == ["square 2", "square 3", "square 5", "square 7", "add up"]
    assert replay(read(log), new_mind()) == []


def test_what_is_run_again_keeps_its_attempt(log: EventLog) -> None:
    def first_session(task: Task) -> Future[Outcome]:
        if task.title == "square 2" and not any(e.kind == "failed" for e in log.read()):
            return InlineExecutor().submit(refuse_even, task)
        return Future()

    def stop_after_the_failure(events: Sequence[Event]) -> None:
        if any(e.kind == "failed" for e in events):
            driver.stop()

    driver = steer(new_mind(), log, first_session, watch=stop_after_the_failure)
    assert driver.run(FIRST) is False
    mind = rebuilt(log)
    assert mind.ledger.flights[square_task(2).id].attempt == 2
    assert steer(mind, log, inline(refuse_even)).run([("session", {})])
    attempts = [e.data["attempt"] for e in log.read() if e.kind == "failed"]
    assert attempts == list(range(1, MAX_ATTEMPTS + 1))
    assert mind.ledger.given_up == {square_task(2).id: "ArithmeticError"}


def test_a_passed_clock_mark_is_recorded_once_with_the_active_time(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "WAIT_LIMIT_S", 0.01)
    now = [1000.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    waiting: dict[str, tuple[Task, Future[Outcome]]] = {}

    def submit(task: Task) -> Future[Outcome]:
        if mind.ledger.marks:
            return inline()(task)
        waiting[task.id] = (task, Future())
        return waiting[task.id][1]

    def answer_after_the_mark(events: Sequence[Event]) -> None:
        if any(e.kind == "clock" for e in events):
            for task, future in waiting.values():
                future.set_result(perform(task))

    mind = new_mind()
    driver = steer(
        mind,
        log,
        submit,
        marks={"deadline": 20.0, "never": 1e9},
        watch=answer_after_the_mark,
        clock=clock,
    )
    assert driver.run(FIRST)
    marks = [e.data for e in log.read() if e.kind == "clock"]
    assert [m["mark"] for m in marks] == ["deadline"]
    assert 20.0 <= marks[0]["active_s"] < 23.0


def test_a_mark_recorded_in_an_earlier_session_is_not_recorded_again(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "WAIT_LIMIT_S", 0.01)

    def never_done(_: Task) -> Future[Outcome]:
        return Future()

    def stop(events: Sequence[Event]) -> None:
        if any(e.kind == "clock" for e in events):
            driver.stop()

    driver = steer(new_mind(), log, never_done, marks={"deadline": 0.0}, watch=stop)
    assert driver.run(FIRST) is False
    assert steer(rebuilt(log), log, inline(), marks={"deadline": 0.0}).run([("session", {})])
    assert sum(e.kind == "clock" for e in log.read()) == 1


def test_the_watcher_sees_every_event_once_as_it_is_in_the_log(log: EventLog) -> None:
    seen: list[Event] = []
    assert steer(new_mind(), log, inline(), watch=seen.extend).run(FIRST)
    assert seen == read(log)


def test_a_second_writer_of_the_log_is_noticed(log: EventLog) -> None:
    def intrude(task: Task) -> Future[Outcome]:
        log.append([("noted", {"by": "another process"})], 0.0)
        return inline()(task)

    with pytest.raises(CampaignFolderError, match="Another run has written to it"):
        steer(new_mind(), log, intrude).run(FIRST)


def test_a_campaign_that_is_over_runs_nothing(log: EventLog) -> None:
    assert steer(new_mind(), log, inline()).run(FIRST)
    mind = rebuilt(log)

    def never(task: Task) -> Future[Outcome]:
        raise AssertionError(task.title)

    assert steer(mind, log, never).run([("session", {})])
    assert [e.kind for e in log.read()][-1] == "session"

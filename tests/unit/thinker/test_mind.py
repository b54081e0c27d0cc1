from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from toy_campaign import CAPACITY, FACTS, ToyPolicy, new_mind, square_task, value_of

from voltaloop.core import Event, Task
from voltaloop.thinker import MAX_ATTEMPTS, Mind, replay


def finished(task: Task) -> tuple[str, dict[str, Any]]:
    return "finished", {"id": task.id, "result": {"value": value_of(task)}}


def failed(task: Task, attempt: int) -> tuple[str, dict[str, Any]]:
    failure = {"reason": "ValueError", "detail": "odd", "traceback": "Traceback ..."}
    return "failed", {"id": task.id, "task": task.to_json(), "attempt": attempt, **failure}


def full_log() -> list[Event]:
    """A campaign from its opening to its sum, with one failure on the way."""
    mind = new_mind()
    events = mind.react(("opened", FACTS), 0.0) + mind.react(("session", {}), 0.0)
    events += mind.react(failed(square_task(2), 1), 1.0)
    while not mind.policy.over():
        flight = list(mind.ledger.flights.values())[-1]
        events += mind.react(finished(flight.task), events[-1].time + 1)
    return events


def doctored(change: Callable[[Event], Event | None]) -> list[Event]:
    changed = [change(event) for event in full_log()]
    kept = [event for event in changed if event is not None]
    return [replace(event, seq=seq) for seq, event in enumerate(kept, start=1)]


def test_an_external_event_is_followed_by_all_decisions_it_leads_to() -> None:
    events = new_mind().react(("opened", FACTS), 5.0)
    assert [e.kind for e in events] == ["opened", "submitted", "submitted"]
    assert [e.seq for e in events] == [1, 2, 3]
    assert {e.time for e in events} == {5.0}
    assert events[1].data == {"task": square_task(2).to_json(), "attempt": 1}


def test_a_decision_is_folded_before_the_next_one_is_made() -> None:
    mind = new_mind()
    mind.react(("opened", FACTS), 0.0)
    policy = mind.policy
    assert isinstance(policy, ToyPolicy)
    assert policy.asked == CAPACITY["square"]
    events = mind.react(finished(square_task(3)), 1.0)
    assert [e.kind for e in events] == ["finished", "noted", "submitted"]
    assert events[1].data == {"position": 4, "known": 1}
    assert events[2].data["task"]["inputs"] == {"number": 5}


def test_events_hold_what_a_reader_of_the_log_would_see() -> None:
    event = new_mind().react(("clock", {"mark": "x", "pair": (1, 2), "by": {3: "a"}}), 0.0)[0]
    assert event.data == {"mark": "x", "pair": [1, 2], "by": {"3": "a"}}


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        new_mind().react(("clock", {"mark": float("nan")}), 0.0)


def test_events_must_be_folded_in_order_and_without_gaps() -> None:
    mind = new_mind()
    with pytest.raises(ValueError, match="Event 2 cannot follow event 0"):
        mind.fold(Event(seq=2, time=0.0, kind="opened", data=FACTS))
    mind.fold(Event(seq=1, time=0.0, kind="opened", data=FACTS))
    with pytest.raises(ValueError, match="Event 1 cannot follow event 1"):
        mind.fold(Event(seq=1, time=0.0, kind="opened", data=FACTS))


def test_folding_alone_decides_nothing_and_gives_the_same_state_as_reacting() -> None:
    log = full_log()
    mind = new_mind()
    for event in log:
        mind.fold(event)
    assert mind.seq == len(log)
    assert mind.policy.over()
    assert isinstance(mind.policy, ToyPolicy)
    assert mind.policy.total == 4 + 9 + 25 + 49


def test_the_policy_learns_which_task_an_event_ended() -> None:
    seen: list[Task | None] = []

    class Curious(ToyPolicy):
        def fold(self, event: Event, flight_task: Task | None, *, given_up: bool) -> None:
            super().fold(event, flight_task, given_up=given_up)
            seen.append(flight_task)

    mind = Mind(Curious(), CAPACITY)
    mind.react(("opened", FACTS), 0.0)
    mind.react(finished(square_task(2)), 1.0)
    assert [task for task in seen if task is not None] == [square_task(2)]


def test_a_policy_that_submits_a_task_twice_is_stopped() -> None:
    class Forgetful(ToyPolicy):
        def decide(self, *_: Any) -> list[Task]:
            return [square_task(2)]

    with pytest.raises(ValueError, match="Task 'square 2' was submitted before"):
        Mind(Forgetful(), CAPACITY).react(("opened", FACTS), 0.0)


def test_a_failed_task_is_submitted_again_at_once_until_its_attempts_are_used_up() -> None:
    mind = new_mind()
    mind.react(("opened", FACTS), 0.0)
    task = square_task(2)
    for attempt in range(1, MAX_ATTEMPTS):
        events = mind.react(failed(task, attempt), float(attempt))
        assert events[1].kind == "submitted"
        assert events[1].data == {"task": task.to_json(), "attempt": attempt + 1}
        assert len(events) == 2
    events = mind.react(failed(task, MAX_ATTEMPTS), 9.0)
    assert task.id in mind.ledger.given_up
    assert [e.data["task"]["title"] for e in events if e.kind == "submitted"] == ["square 5"]


def test_a_replay_of_a_log_decides_the_same() -> None:
    log = full_log()
    assert {"opened", "session", "submitted", "failed", "finished", "noted"} == {
        e.kind for e in log
    }
    assert replay(log, new_mind()) == []


def test_a_replay_by_another_policy_names_the_first_event_that_differs() -> None:
    log = full_log()
    noted = next(e for e in log if e.kind == "noted")
    (mismatch,) = replay(log, new_mind(bias=1))
    assert mismatch.seq == noted.seq
    assert mismatch.logged == f'noted {{"known":1,"position":{noted.data["position"]}}}'
    assert mismatch.replayed == f'noted {{"known":2,"position":{noted.data["position"]}}}'


def test_a_decision_with_doctored_data_is_found() -> None:
    def change(event: Event) -> Event:
        return replace(event, data={**event.data, "known": 99}) if event.seq == target else event

    target = [e.seq for e in full_log() if e.kind == "noted"][1]
    (mismatch,) = replay(doctored(change), new_mind())
    assert mismatch.seq == target
    assert '"known":99' in mismatch.logged
    assert '"known":2' in mismatch.replayed


def test_a_decision_that_was_cut_out_of_the_log_is_found() -> None:
    log = full_log()
    cut = [e.seq for e in log if e.kind == "noted"][-1]
    mismatches = replay(doctored(lambda e: None if e.seq == cut else e), new_mind())
    assert mismatches[0].seq == cut
    assert mismatches[0].logged.startswith("submitted ")
    assert mismatches[0].replayed.startswith("noted ")


def test_a_decision_that_was_cut_out_before_a_result_is_found() -> None:
    log = full_log()
    cut = next(
        e.seq for e, after in pairwise(log) if e.kind == "noted" and after.kind == "finished"
    )
    mismatches = replay(doctored(lambda e: None if e.seq == cut else e), new_mind())
    assert (mismatches[0].seq, mismatches[0].logged) == (cut, "nothing")
    assert mismatches[0].replayed.startswith("noted ")


def test_a_decision_missing_at_the_end_of_the_log_is_found() -> None:
    log = full_log()
    end = max(e.seq for e in log if e.kind == "submitted")
    (mismatch,) = replay(log[: end - 1], new_mind())
    assert (mismatch.seq, mismatch.logged) == (end, "nothing")
    assert mismatch.replayed.startswith("submitted ")


def test_a_decision_that_nobody_made_is_found() -> None:
    log = full_log()
    extra = Event(seq=len(log) + 1, time=0.0, kind="noted", data={"known": 5})
    (mismatch,) = replay([*log, extra], new_mind())
    assert mismatch.seq == len(log) + 1
    assert mismatch.logged == 'noted {"known":5}'
    assert mismatch.replayed == "nothing"


def test_a_doctored_result_changes_what_is_decided_from_it() -> None:
    def change(event: Event) -> Event:
        if event.kind == "finished" and event.data["result"]["value"] == 49:
            return replace(event, data={**event.data, "result": {"value": 48}})
        return event

    (mismatch,) = replay(doctored(change), new_mind())
    assert '"squares":[4,9,25,49]' in mismatch.logged
    assert '"squares":[4,9,25,48]' in mismatch.replayed

import io
from typing import Any

import pytest
from rich.console import Console

from voltaloop.cli.progress import STOPPING, BarProgress, LineProgress, Tally
from voltaloop.core import Event, Task


def task(function: str, number: int) -> Task:
    return Task(
        function=function,
        version=1,
        pool="label",
        inputs={"number": number},
        title=f"{function} {number}",
    )


def events(*drafts: tuple[str, dict[str, Any]]) -> list[Event]:
    return [Event(seq=i, time=0.0, kind=k, data=d) for i, (k, d) in enumerate(drafts, start=1)]


def course(function: str, number: int, role: str, result: Any) -> list[tuple[str, dict[str, Any]]]:
    one = task(function, number)
    return [
        ("purpose", {"task": one.id, "role": role}),
        ("submitted", {"task": one.to_json(), "attempt": 1}),
        ("finished", {"id": one.id, "result": result}),
    ]


CAMPAIGN = events(
    *course("label", 1, "start", {}),
    *course("label", 2, "random", {}),
    *course("label", 3, "uncertain", {"refused": {"reason": "not_converged"}}),
    *course("label", 4, "audit", {}),
    *course("explore", 5, "explore", {}),
    *course("train", 6, "train", {"held_out": {"energy": 0.0041, "force": 0.109}}),
    *course("label", 7, "start", {})[:2],
    ("stopped", {"reason": "labels"}),
)


def tallied() -> Tally:
    tally = Tally()
    for event in CAMPAIGN:
        tally.take(event)
    return tally


def test_labels_audit_and_refusals_are_counted_apart() -> None:
    tally = tallied()
    assert (tally.labels, tally.audit, tally.refused, tally.explored) == (2, 1, 1, 1)
    assert tally.generation == 0
    assert tally.stopped == "labels"
    assert list(tally.flights.values()) == ["label 7"]


def test_a_failed_task_is_under_way_no_longer() -> None:
    tally = tallied()
    (failed,) = events(("failed", {"id": task("label", 7).id}))
    tally.take(failed)
    assert tally.flights == {}


def test_one_line_says_where_the_campaign_stands() -> None:
    assert Tally().line() == "0 MD runs, 0 labels refused, 0 in quarantine"
    assert tallied().line() == (
        "generation 0, held out 4.1 meV/atom 0.109 eV/Å, 1 MD runs, 1 labels refused, "
        "0 in quarantine"
    )


def test_plain_lines_show_budgets_and_are_not_repeated_within_seconds() -> None:
    out = io.StringIO()
    with LineProgress(Console(file=out, width=200), 16, 6) as shown:
        for event in CAMPAIGN:
            shown.watch([event])
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert "labels 2/16  audit 1/6  generation 0" in lines[-1]


def test_an_error_is_not_followed_by_a_line_of_progress() -> None:
    out = io.StringIO()
    with pytest.raises(ZeroDivisionError), LineProgress(Console(file=out), 16, 6):
        raise ZeroDivisionError
    assert out.getvalue() == ""


def test_bars_show_budgets_and_what_is_running() -> None:
    out = io.StringIO()
    console = Console(file=out, width=160, force_terminal=True)
    with BarProgress(console, 16, 6) as shown:
        shown.watch(CAMPAIGN)
        shown.stopping()
    text = out.getvalue()
    for part in ("labels", "2/16", "audit", "1/6", "label 7", STOPPING):
        assert part in text


def test_a_stop_request_is_answered_at_once() -> None:
    out = io.StringIO()
    with LineProgress(Console(file=out, width=200), 16, 6) as shown:
        shown.stopping()
        assert STOPPING in out.getvalue()

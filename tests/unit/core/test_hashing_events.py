import json
from dataclasses import FrozenInstanceError, replace

import pytest

from voltaloop.core import Event, Task, canonical_json, digest_of

TASK = Task(
    function="label",
    version=2,
    pool="label",
    inputs={"frame": "abc", "reference": {"engine": "chgnet"}},
    title="label x=0.5",
)


def test_canonical_json_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": [1.0, None]}) == '{"a":[1.0,null],"b":1}'
    assert digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1})


def test_the_order_of_lists_and_the_kind_of_numbers_matter() -> None:
    assert digest_of([1, 2]) != digest_of([2, 1])
    assert digest_of(1) != digest_of(1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_has_no_identity(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_of({"energy": value})


def test_the_digest_is_the_sha_256_that_other_tools_give() -> None:
    # printf '{"a":1}' | sha256sum
    expected = "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    assert digest_of({"a": 1}) == expected


def test_a_tasks_id_is_what_it_computes_and_not_how_or_where() -> None:
    assert replace(TASK, title="another", pool="train").id == TASK.id
    for other in (
        replace(TASK, function="relax"),
        replace(TASK, version=3),
        replace(TASK, inputs={**TASK.inputs, "frame": "abd"}),
    ):
        assert other.id != TASK.id


def test_a_task_survives_json() -> None:
    stored = json.loads(json.dumps(TASK.to_json()))
    again = Task.from_json(stored)
    assert again == TASK
    assert again.id == stored["id"] == TASK.id


def test_tasks_and_events_cannot_be_changed() -> None:
    event = Event(seq=1, time=0.0, kind="started", data={})
    with pytest.raises(FrozenInstanceError):
        event.seq = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        TASK.version = 9  # type: ignore[misc]

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from puppet import Puppet

from voltaloop.campaigns.healing import heal, is_worn
from voltaloop.campaigns.opening import opening_facts
from voltaloop.core import ArtifactError, Event, Task
from voltaloop.store import find_names
from voltaloop.thinker import Outcome

Json = dict[str, Any]


class Trained(Puppet):
    """Committees keep their numbers in an artifact of their own, as real ones do."""

    def training(self, task: Task) -> Json:
        arrays = self.store.put_arrays(coefficients=self.rng.normal(size=8))
        committee = self.store.put_json({"arrays": arrays, "meta": {"size": 4}})
        return {**super().training(task), "committee": committee}


class Workshop:
    """A campaign that ran to its answer, and workers that give the same bytes as they did."""

    def __init__(self, root: Path) -> None:
        self.puppet = Trained(root).open()
        first, *_ = self.puppet.under_way("label")
        kept = {"log.txt": self.puppet.store.put_bytes(b"SCF did not converge", "txt")}
        self.puppet.refuse(first, "not_converged", files=kept)
        self.puppet.run()
        self.store = self.puppet.store
        self.events = self.puppet.events
        self.told: list[str] = []
        self.run: list[Task] = []
        self.changed: Callable[[Json], Json] = dict
        self._content = {
            file.name: file.read_bytes() for file in self.store.root.glob("[0-9a-f][0-9a-f]/*")
        }
        self._results = {e.data["id"]: e.data["result"] for e in self.events if "result" in e.data}

    def heal(self) -> list[Json]:
        """The data of the "restored" events."""
        drafts = heal(self.events, self.store, self.reopen, self.again, self.told.append)
        assert {kind for kind, _ in drafts} <= {"restored"}
        return [dict(data) for _, data in drafts]

    def reopen(self) -> Json:
        puppet = self.puppet
        return opening_facts(puppet.campaign, puppet.folder.root, puppet.store)

    def again(self, task: Task) -> Outcome:
        self.run.append(task)
        return Outcome(result=self.changed(self.made(task)), started=0, ended=1, cpu_s=1)

    def made(self, task: Task) -> Json:
        """The first result, with all that belongs to it."""
        result = self._results[task.id]
        for name in find_names(result):
            self.put(name)
            if name.endswith(".json"):
                for inner in find_names(self.store.get_json(name)) - {name}:
                    self.put(inner)
        return dict(result)

    def put(self, name: str) -> None:
        assert self.store.put_bytes(self._content[name], name.partition(".")[2]) == name

    def results(self, function: str) -> list[tuple[str, Json]]:
        """Ids and results of the finished tasks of a function."""
        functions = {task.id: task.function for task in map(task_of, self.events) if task}
        return [(one, r) for one, r in self._results.items() if functions[one] == function]


def task_of(event: Event) -> Task | None:
    return Task.from_json(event.data["task"]) if event.kind == "submitted" else None


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "campaign")


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def remove(file: Path) -> None:
    file.unlink()


DAMAGES = [truncate, flip, remove]


def committee_arrays(workshop: Workshop, result: Json) -> str:
    return str(workshop.store.get_json(result["committee"])["arrays"])


KINDS: list[tuple[str, Callable[[Workshop, Json], str]]] = [
    ("label", lambda _, result: str(result["label"])),
    ("train", lambda _, result: str(result["committee"])),
    ("train", committee_arrays),
    ("train", lambda _, result: str(result["examples"])),
    ("explore", lambda _, result: str(result["samples"])),
    ("explore", lambda _, result: str(result["descriptors"])),
    ("relax_committee", lambda _, result: str(result["frame"])),
    ("score", lambda _, result: str(result["records"])),
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("function", "name_in"), KINDS)
def test_a_damaged_artifact_is_made_again_by_the_task_that_made_it_first(
    workshop: Workshop,
    function: str,
    name_in: Callable[[Workshop, Json], str],
    damage: Callable[[Path], None],
) -> None:
    task_id, result = workshop.results(function)[-1]
    name = name_in(workshop, result)
    damage(workshop.store.path(name))
    assert is_worn(workshop.events, workshop.store)
    assert workshop.heal() == [{"id": task_id, "lost": [name], "replaced": {}}]
    assert [task.id for task in workshop.run] == [task_id]
    assert workshop.store.verify(name)
    aside = [file.name for file in workshop.store.root.glob("damaged/*")]
    assert aside == ([] if damage is remove else [f"{name}.1"])
    title = workshop.run[0].title
    assert workshop.told == [f"1 artifact is damaged or missing and made again: {title}"]
    assert not is_worn(workshop.events, workshop.store)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_frame_of_the_opening_is_made_again_without_any_task(
    workshop: Workshop, damage: Callable[[Path], None]
) -> None:
    facts = workshop.events[0].data
    names = [facts["starting"][0]["frame"], facts["orderings"][0]["frame"], facts["lithium_metal"]]
    for name in names:
        damage(workshop.store.path(name))
    assert workshop.heal() == []
    assert workshop.run == []
    assert workshop.store.damaged(names) == []
    assert workshop.told == ["3 artifacts are damaged or missing and made again: the opening"]


def test_where_nothing_is_damaged_nothing_is_done(workshop: Workshop) -> None:
    assert not is_worn(workshop.events, workshop.store)
    assert (workshop.heal(), workshop.run, workshop.told) == ([], [], [])


def test_everything_can_be_made_again_in_the_order_in_which_it_was_made(
    workshop: Workshop,
) -> None:
    for file in workshop.store.root.glob("[0-9a-f][0-9a-f]/*"):
        file.unlink()
    restored = workshop.heal()
    order = [e.data["id"] for e in workshop.events if e.kind == "finished"]
    assert [one["id"] for one in restored] == sorted(
        (one["id"] for one in restored), key=order.index
    )
    assert not is_worn(workshop.events, workshop.store)


def timed(workshop: Workshop, label: str) -> str:
    """A label with the same numbers and another wall time."""
    data = workshop.store.get_json(label)
    return workshop.store.put_json({**data, "details": {"seconds": 2.5}})


def test_a_label_with_other_bytes_stands_in_for_the_lost_one(workshop: Workshop) -> None:
    task_id, result = workshop.results("label")[-1]
    old = result["label"]
    before = workshop.store.get_json(old)
    new = timed(workshop, old)
    truncate(workshop.store.path(old))

    def changed(made: Json) -> Json:
        workshop.store.path(old).unlink()
        return {**made, "label": new}

    workshop.changed = changed
    assert workshop.heal() == [{"id": task_id, "lost": [old], "replaced": {old: new}}]
    assert workshop.store.get_json(old) == {**before, "details": {"seconds": 2.5}}
    assert not is_worn(workshop.events, workshop.store)
    assert (workshop.heal(), len(workshop.run)) == ([], 1)


def test_what_stands_in_may_be_lost_too(workshop: Workshop) -> None:
    _, result = workshop.results("label")[-1]
    old = result["label"]
    new = timed(workshop, old)
    latest = workshop.store.put_json({**workshop.store.get_json(old), "details": {"seconds": 9}})
    for made_now in (new, latest):
        workshop.store.path(old).unlink()

        def changed(made: Json, made_now: str = made_now) -> Json:
            (workshop.store.root / old[:2] / old).unlink()
            return {**made, "label": made_now}

        workshop.changed = changed
        assert workshop.heal()[0]["replaced"] == {old: made_now}
    assert workshop.store.get_json(old)["details"] == {"seconds": 9}


def test_numbers_of_a_committee_with_other_bytes_stand_in_inside_the_old_committee(
    workshop: Workshop,
) -> None:
    task_id, result = workshop.results("train")[0]
    committee = workshop.store.get_json(result["committee"])
    old = committee["arrays"]
    workshop.store.path(old).unlink()

    def changed(made: Json) -> Json:
        workshop.store.path(old).unlink()
        arrays = workshop.store.put_arrays(coefficients=np.ones(8))
        return {**made, "committee": workshop.store.put_json({**committee, "arrays": arrays})}

    workshop.changed = changed
    (restored,) = workshop.heal()
    assert (restored["id"], restored["lost"], list(restored["replaced"])) == (task_id, [old], [old])
    assert workshop.store.get_json(result["committee"]) == committee
    assert workshop.store.get_arrays(old)["coefficients"].tolist() == [1.0] * 8
    assert not is_worn(workshop.events, workshop.store)


def test_a_calculation_that_is_refused_this_time_cannot_be_made_again(workshop: Workshop) -> None:
    _, result = workshop.results("label")[-1]
    lost = result["label"]
    workshop.store.path(lost).unlink()

    def changed(made: Json) -> Json:
        workshop.store.path(lost).unlink()
        return {"frame": made["frame"], "refused": {"reason": "not_converged", "detail": ""}}

    workshop.changed = changed
    with pytest.raises(ArtifactError) as caught:
        workshop.heal()
    assert lost in str(caught.value)
    assert "could not be made again: the calculation gave something else" in str(caught.value)
    assert "Restore the files from a copy" in str(caught.value)


def test_a_run_of_another_length_does_not_stand_in(workshop: Workshop) -> None:
    _, result = workshop.results("explore")[0]
    lost = result["samples"]
    workshop.store.path(lost).unlink()

    def changed(made: Json) -> Json:
        workshop.store.path(lost).unlink()
        shorter = workshop.store.put_json([])
        return {**made, "samples": shorter, "force_sigma": made["force_sigma"][:-1]}

    workshop.changed = changed
    with pytest.raises(ArtifactError, match="could not be made again"):
        workshop.heal()


def test_an_opening_that_gives_other_frames_is_not_used(workshop: Workshop) -> None:
    facts = workshop.events[0].data
    workshop.store.path(facts["starting"][0]["frame"]).unlink()
    other = facts["starting"][1]["frame"]

    def reopen() -> Json:
        first, *more = facts["starting"]
        return {**facts, "starting": [{**first, "frame": other}, *more]}

    with pytest.raises(ArtifactError) as caught:
        heal(workshop.events, workshop.store, reopen, workshop.again, workshop.told.append)
    assert "the opening of the campaign gives other frames than it did" in str(caught.value)
    assert "Bring back the structure file as it was" in str(caught.value)


def test_what_an_engine_wrote_about_a_failure_is_not_computed_again(workshop: Workshop) -> None:
    refused = [r["refused"] for _, r in workshop.results("label") if "refused" in r]
    workshop.store.path(refused[0]["files"]["log.txt"]).unlink()
    assert not is_worn(workshop.events, workshop.store)
    assert (workshop.heal(), workshop.run) == ([], [])


def test_a_repair_changes_no_decision(tmp_path: Path) -> None:
    puppet = Trained(tmp_path / "other").open()
    puppet.finish_all("label")
    positions = puppet.mind.ledger.position
    (done, *_) = [e.data["id"] for e in puppet.events if e.kind == "finished"]
    data = {"id": done, "lost": [], "replaced": {}}
    assert [event.kind for event in puppet.react("restored", data)] == ["restored"]
    assert puppet.mind.ledger.position == positions

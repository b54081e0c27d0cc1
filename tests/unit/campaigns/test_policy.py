from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from puppet import FLOOR, SESSION, Puppet

from voltaloop.campaigns import new_mind
from voltaloop.campaigns.policy import ATTEMPTS_TO_PAUSE, FRAMES_TO_PAUSE
from voltaloop.core import Event, Task
from voltaloop.thinker import replay
from voltaloop.uncertainty.selection import LOWER_IN_FLOORS, MIN_UPPER

MakePuppet = Callable[..., Puppet]


@pytest.fixture
def make(tmp_path: Path) -> MakePuppet:
    def made(**options: object) -> Puppet:
        return Puppet(tmp_path / "campaign", **options).open()  # type: ignore[arg-type]  # passed on

    return made


def trained(puppet: Puppet) -> Puppet:
    """Up to the first committee."""
    puppet.finish_all("label")
    puppet.finish_all("train")
    assert puppet.state.generation == 0
    return puppet


def picked(events: list[Event]) -> list[str]:
    """Roles of the frames that these events send to the reference."""
    return [e.data["role"] for e in events if e.kind == "purpose" and "reason" in e.data]


def promised(puppet: Puppet) -> int:
    """Labels in training and those on their way there."""
    under_way = [t for t in puppet.under_way("label") if puppet.role(t) != "audit"]
    return len(puppet.state.labels) + len(under_way)


def training_sets(puppet: Puppet) -> list[list[list[str]]]:
    return [task.inputs["new"] for task in puppet.submitted("train")]


# -- opening ------------------------------------------------------------------------------------


def test_a_campaign_opens_with_lithium_metal_and_all_starting_frames(make: MakePuppet) -> None:
    puppet = make()
    roles = Counter(puppet.role(task) for task in puppet.under_way())
    assert roles == {"lithium": 1, "start": 6}
    contents = Counter(p["x"] for p in puppet.state.purposes.values() if p["role"] == "start")
    assert contents == {1.0: 2, 0.5: 2, 0.0: 2}


def test_the_session_that_follows_the_opening_opens_nothing_again(make: MakePuppet) -> None:
    puppet = make()
    assert [e.kind for e in puppet.react("session", {})] == ["session"]


def test_a_purpose_comes_before_its_task(make: MakePuppet) -> None:
    puppet = make()
    puppet.run()
    purposes: set[str] = set()
    for event in puppet.events:
        if event.kind == "purpose":
            purposes.add(event.data["task"])
        if event.kind == "submitted":
            assert event.data["task"]["id"] in purposes


# -- training -----------------------------------------------------------------------------------


def test_the_first_training_waits_for_every_starting_frame(make: MakePuppet) -> None:
    puppet = make()
    labels = puppet.under_way("label")
    for task in labels[:-1]:
        puppet.finish(task)
        assert puppet.under_way("train") == []
    puppet.finish(labels[-1])
    assert len(puppet.under_way("train")) == 1
    assert len(training_sets(puppet)[0]) == 6


def test_exploration_begins_with_the_first_committee_and_not_before(make: MakePuppet) -> None:
    puppet = make()
    puppet.finish_all("label")
    assert puppet.under_way("explore") == []
    puppet.finish_all("train")
    assert len(puppet.under_way("explore")) == 1


def test_as_many_runs_are_under_way_as_there_are_workers(make: MakePuppet) -> None:
    puppet = trained(make(resources={"explore": 3}))
    assert len(puppet.under_way("explore")) == 3
    assert len({task.inputs["plan"]["seed"] for task in puppet.under_way("explore")}) == 3
    orderings = {puppet.state.purposes[t.id]["ordering"] for t in puppet.under_way("explore")}
    assert len(orderings) == 3


def with_labels_under_way(puppet: Puppet, count: int) -> list[Task]:
    """Finish runs until so many selected frames are at the reference."""
    while len(puppet.under_way("label")) < count:
        puppet.finish(puppet.under_way("explore")[0])
    return puppet.under_way("label")


def test_a_training_waits_until_its_batch_is_complete(make: MakePuppet) -> None:
    puppet = trained(make(select={"batch": 4}))
    labels = with_labels_under_way(puppet, 4)
    for task in labels[:3]:
        puppet.finish(task)
        assert puppet.under_way("train") == []
    puppet.finish(labels[3])
    assert len(puppet.under_way("train")) == 1
    assert len(training_sets(puppet)[-1]) == 4


def test_a_smaller_batch_is_trained_on_when_no_further_label_is_under_way(
    make: MakePuppet,
) -> None:
    puppet = trained(make(select={"batch": 4}))
    first, second = with_labels_under_way(puppet, 2)
    puppet.finish(first)
    assert puppet.under_way("train") == []
    puppet.finish(second)
    assert len(training_sets(puppet)[-1]) == 2


def test_each_label_enters_training_exactly_once_in_the_order_of_arrival(make: MakePuppet) -> None:
    puppet = make()
    state = puppet.run()
    entered = [pair for new in training_sets(puppet) for pair in new]
    assert entered == [[one.frame, one.label] for one in state.labels]


def test_a_training_continues_from_the_one_before(make: MakePuppet) -> None:
    puppet = make()
    state = puppet.run()
    trainings = puppet.submitted("train")
    assert trainings[0].inputs["previous"] is None
    for task, before in zip(trainings[1:], state.trainings, strict=False):
        assert task.inputs["previous"]["committee"] == before["committee"]
        assert task.inputs["previous"]["calibrations"] == before["calibrations"]


# -- selection ----------------------------------------------------------------------------------


def test_only_frames_between_the_trust_levels_are_uncertain(make: MakePuppet) -> None:
    puppet = trained(make(select={"batch": 8, "random_share": 0.1}))
    trust = puppet.policy.trust()
    assert (trust.lower, trust.upper) == (LOWER_IN_FLOORS * FLOOR, MIN_UPPER)
    puppet.finish_all("explore")
    chosen = [puppet.state.purposes[t.id] for t in puppet.under_way("label", "uncertain")]
    assert [c["sigma"] for c in chosen] != []
    assert all(trust.lower <= c["sigma"] <= trust.upper for c in chosen)
    assert all(f"eV/Å above {trust.lower:.2f}" in c["reason"] for c in chosen)


def test_frames_above_the_upper_trust_level_are_never_labelled(make: MakePuppet) -> None:
    puppet = make(select={"random_share": 1.0})
    puppet.run()
    sigmas = [
        p["sigma"] for p in puppet.state.purposes.values() if p["role"] in {"random", "uncertain"}
    ]
    assert len(sigmas) >= 10
    assert max(sigmas) <= 1.0


def test_trust_levels_of_the_file_win_over_the_noise_floor(make: MakePuppet) -> None:
    levels = {"lower_trust_eV_per_A": 0.35, "upper_trust_eV_per_A": 0.45}
    puppet = trained(make(select={**levels, "random_share": 0.1}))
    assert puppet.policy.trust().lower == 0.35
    assert puppet.under_way("explore")[0].inputs["limits"]["force_sigma"] == 0.45
    puppet.sigma = (0.02, 0.2, 0.36, 0.4, 0.44, 0.5, 5.0)
    puppet.finish_all("explore")
    chosen = [puppet.state.purposes[t.id] for t in puppet.under_way("label", "uncertain")]
    assert chosen
    assert all(0.35 <= c["sigma"] <= 0.45 for c in chosen)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 1.0])
def test_the_random_share_is_kept_from_the_first_selection_on(
    make: MakePuppet, share: float
) -> None:
    puppet = make(select={"random_share": share, "batch": 4}, stop={"labels": 40})
    chosen: Counter[str] = Counter()
    while not puppet.policy.over():
        for event in puppet.finish(puppet.oldest().task):
            if event.kind == "purpose" and event.data["role"] in {"random", "uncertain"}:
                chosen[event.data["role"]] += 1
        if chosen.total():
            assert chosen["random"] >= share * chosen.total() - 1e-9
    assert chosen.total() >= 30
    assert chosen["random"] <= share * chosen.total() + 5


def test_a_potential_that_is_sure_of_everything_goes_on_being_examined(make: MakePuppet) -> None:
    puppet = make()
    puppet.sigma = (0.01, 0.02, 0.01, 0.02, 0.01)
    puppet.learn_until()
    assert len(puppet.state.labels) == 16
    chosen = Counter(one.origin for one in puppet.state.labels)
    assert chosen == {"start": 6, "random": 10}


def test_half_a_batch_at_most_is_selected_at_once_and_a_batch_is_under_way(
    make: MakePuppet,
) -> None:
    puppet = trained(make(select={"batch": 6}, stop={"labels": 60}))
    while explore := puppet.under_way("explore"):
        assert len(picked(puppet.finish(explore[0]))) <= 3
        under_way = [t for t in puppet.under_way("label") if puppet.role(t) != "lithium"]
        untrained = len(puppet.state.labels) - puppet.state.trained_count
        assert len(under_way) + untrained <= 6
    assert len(under_way) == 6


def test_a_run_that_finds_no_room_waits_for_it_and_no_other_is_started(make: MakePuppet) -> None:
    puppet = trained(make(select={"batch": 2}, stop={"labels": 60}))
    while puppet.under_way("explore"):
        late = puppet.under_way("explore")[0]
        events = puppet.finish(late)
    assert [e for e in events if e.kind == "selected"] == []
    assert [run.task for run in puppet.state.fresh_runs] == [late.id]
    puppet.finish_all("label")
    events = puppet.finish(puppet.under_way("train")[0])
    assert [e.data["runs"] for e in events if e.kind == "selected"] == [[late.id]]
    assert picked(events)
    assert len(puppet.under_way("explore")) == 1


@pytest.mark.parametrize("labels", [7, 9, 16])
@pytest.mark.parametrize("batch", [1, 4, 8])
@pytest.mark.parametrize("estimates", [None, 0.001])
def test_the_label_budget_is_used_up_and_never_exceeded(
    make: MakePuppet, labels: int, batch: int, estimates: float | None
) -> None:
    puppet = make(
        select={"batch": batch},
        stop={"labels": labels, "volume_change_percent": estimates},
        resources={"label": 3, "explore": 2},
    )
    while not puppet.policy.over():
        assert promised(puppet) <= labels
        puppet.finish(puppet.oldest().task)
    assert len(puppet.state.labels) == labels
    assert puppet.state.stopped == "labels"


def test_a_refused_label_costs_nothing_of_the_budget_and_is_counted(make: MakePuppet) -> None:
    puppet = make()
    refused = 0
    while puppet.state.stopped is None:
        task = puppet.oldest().task
        if task.function == "label" and puppet.role(task) == "uncertain" and refused < 3:
            puppet.refuse(task)
            refused += 1
        else:
            puppet.finish(task)
    answer = puppet.run().answer
    assert answer is not None
    assert (answer["labels"], answer["labels_refused"]) == (16, 3)


# -- stopping -----------------------------------------------------------------------------------


def test_the_wall_time_ends_learning_but_not_the_campaign(make: MakePuppet) -> None:
    puppet = trained(make(stop={"labels": 100}))
    puppet.react("clock", {"mark": "wall_time", "active_s": 600.0})
    assert puppet.state.stopped == "wall_time"
    state = puppet.run()
    assert state.answer is not None
    assert state.answer["stopped_because"] == "wall_time"


def test_a_wall_time_that_passes_before_the_first_training_waits_for_it(make: MakePuppet) -> None:
    puppet = make()
    puppet.react("clock", {"mark": "wall_time", "active_s": 600.0})
    assert puppet.state.stopped is None
    trained(puppet)
    assert puppet.state.stopped == "wall_time"
    assert puppet.under_way("explore", "explore") == []
    assert puppet.run().answer is not None


def test_two_estimates_below_the_thresholds_in_a_row_end_learning(make: MakePuppet) -> None:
    thresholds = {"volume_change_percent": 100.0, "voltage_V": 10.0, "labels": 400}
    puppet = make(stop=thresholds)
    puppet.learn_until()
    assert puppet.state.stopped == "certain"
    assert len(puppet.state.estimates) == 2
    first, second = (e["labels"] for e in puppet.state.estimates)
    assert second >= first + 3 * puppet.campaign.select.batch
    assert puppet.run().answer is not None


def test_estimates_above_one_threshold_do_not_end_learning(make: MakePuppet) -> None:
    puppet = make(stop={"volume_change_percent": 100.0, "voltage_V": 1e-6, "labels": 60})
    puppet.learn_until()
    assert len(puppet.state.estimates) >= 3
    assert puppet.state.stopped == "labels"


def test_without_thresholds_no_estimate_is_computed(make: MakePuppet) -> None:
    puppet = make(stop={"labels": 60})
    puppet.learn_until()
    assert puppet.state.estimates == []
    assert puppet.submitted("relax_committee") == []


def test_relaxed_structures_of_an_estimate_are_labelled_and_trained_on(make: MakePuppet) -> None:
    puppet = make(stop={"volume_change_percent": 1e-6, "voltage_V": None, "labels": 60})
    puppet.learn_until()
    origins = Counter(one.origin for one in puppet.state.labels)
    assert origins["relaxed"] >= len(puppet.state.facts["orderings"])
    entered = {label for new in training_sets(puppet) for _, label in new}
    relaxed = {one.label for one in puppet.state.labels if one.origin == "relaxed"}
    assert relaxed <= entered


# -- pausing ------------------------------------------------------------------------------------


def test_refused_labels_in_a_row_pause_the_campaign_with_the_common_reason(
    make: MakePuppet,
) -> None:
    puppet = make(material={"starting": {"frames": 12}})
    labels = puppet.under_way("label")
    for task in labels[: FRAMES_TO_PAUSE - 1]:
        puppet.refuse(task, "not_converged")
        assert not puppet.policy.over()
    events = puppet.refuse(labels[FRAMES_TO_PAUSE - 1], "not_converged")
    assert [e.kind for e in events] == ["finished", "quarantined", "paused"]
    assert puppet.state.paused == (
        "the last 6 frames all got no label (not_converged 6 times), "
        "the latest with not_converged: 99 eV/Å on atom 3"
    )
    assert puppet.policy.over()
    assert puppet.state.failed is None


def test_after_a_pause_the_frames_that_failed_are_computed_anew(make: MakePuppet) -> None:
    puppet = make(material={"starting": {"frames": 12}})
    labels = puppet.under_way("label")
    for task in labels[:FRAMES_TO_PAUSE]:
        puppet.refuse(task, "engine_failed")
    events = puppet.react("session", SESSION)
    assert not puppet.policy.over()
    begun = [Task.from_json(e.data["task"]) for e in events if e.kind == "submitted"]
    assert [puppet.case(task) for task in begun] == [task.id for task in labels[:FRAMES_TO_PAUSE]]
    assert len({task.id for task in [*labels, *begun]}) == 12 + FRAMES_TO_PAUSE
    assert puppet.run().answer is not None
    assert puppet.state.answer["labels_refused"] == 0
    assert puppet.state.answer["labels_start"] == 12


def test_a_frame_that_fails_while_a_paused_session_ends_is_begun_anew_too(make: MakePuppet) -> None:
    puppet = make(material={"starting": {"frames": 12}})
    labels = puppet.under_way("label")
    for task in labels[: FRAMES_TO_PAUSE + 1]:
        puppet.refuse(task, "engine_failed")
    puppet.react("session", SESSION)
    anew = {puppet.case(task) for task in puppet.under_way("label")}
    assert {task.id for task in labels[: FRAMES_TO_PAUSE + 1]} <= anew


def test_one_good_label_among_refused_ones_keeps_the_campaign_going(make: MakePuppet) -> None:
    puppet = make(material={"starting": {"frames": 15}})
    labels = puppet.under_way("label")
    for task in labels[: FRAMES_TO_PAUSE - 1]:
        puppet.refuse(task, "not_converged")
    puppet.finish(labels[FRAMES_TO_PAUSE - 1])
    for task in labels[FRAMES_TO_PAUSE : 2 * FRAMES_TO_PAUSE - 1]:
        puppet.refuse(task, "not_converged")
    assert puppet.state.paused is None
    puppet.finish_all("label")
    assert puppet.run().answer is not None


def test_broken_frames_say_less_against_the_engine_than_its_own_failures(make: MakePuppet) -> None:
    puppet = make(material={"starting": {"frames": 12}})
    for task in puppet.under_way("label")[: FRAMES_TO_PAUSE + 1]:
        puppet.refuse(task, "force_too_large")
    assert puppet.state.paused is None


def test_workers_that_die_in_every_label_pause_the_campaign_too(make: MakePuppet) -> None:
    puppet = make()
    for task in puppet.under_way("label"):
        puppet.fail_for_good(task)
    assert puppet.state.paused is not None
    assert "crashed: WorkerDied: exit code 7" in puppet.state.paused


def test_too_few_starting_frames_pause_the_campaign_and_are_tried_again(make: MakePuppet) -> None:
    puppet = make()
    labels = puppet.under_way("label")
    for task in labels[:3]:
        puppet.finish(task)
    for task in labels[3:]:
        puppet.refuse(task)
    assert puppet.state.paused == (
        "too few starting frames could be labelled (force_too_large 3 times)"
    )
    puppet.react("session", SESSION)
    assert len(puppet.under_way("label")) == 3
    assert puppet.run().answer is not None


def test_a_training_that_fails_for_good_pauses_the_campaign_and_is_run_again(
    make: MakePuppet,
) -> None:
    puppet = make()
    puppet.finish_all("label")
    (train,) = puppet.under_way("train")
    puppet.fail_for_good(train, "MemoryError")
    assert puppet.state.paused == "train generation 0 failed for good: MemoryError: exit code 7"
    puppet.react("session", SESSION)
    assert puppet.under_way("train") == [train]
    assert puppet.run().answer is not None


def test_runs_that_all_fail_pause_the_campaign_long_before_the_wall_time(make: MakePuppet) -> None:
    puppet = trained(make())
    while puppet.state.paused is None:
        puppet.fail_for_good(puppet.under_way("explore")[0], "ImportError")
    assert puppet.state.paused == (
        f"the last {ATTEMPTS_TO_PAUSE} attempts at 'explore' all failed, the latest with "
        "ImportError: exit code 7"
    )


# -- the ladder and the quarantine -----------------------------------------------------------------

LADDER = [
    {"name": "slower mixing", "reasons": ["not_converged"], "options": {"parameters": {"a": 1}}},
    {"name": "other start", "reasons": ["moments_jumped"], "options": {"parameters": {"b": 2}}},
    {
        "name": "both",
        "reasons": ["not_converged", "crashed"],
        "options": {"parameters": {"a": 2, "b": 2}},
    },
]


def with_ladder(make: MakePuppet, **sections: object) -> Puppet:
    return make(reference={"ladder": LADDER}, **sections)


def options_of(task: Task) -> object:
    return task.inputs["reference"]["options"].get("parameters")


def climbing(puppet: Puppet, case: Task) -> Task:
    (task,) = [t for t in puppet.under_way() if puppet.case(t) == case.id]
    return task


def test_a_refused_label_climbs_the_rungs_that_help_against_its_reason(make: MakePuppet) -> None:
    puppet = with_ladder(make)
    first = puppet.under_way("label")[0]
    puppet.refuse(first, "not_converged")
    second = climbing(puppet, first)
    assert options_of(second) == {"a": 1}
    assert second.title == f"{first.title} (slower mixing)"
    puppet.refuse(second, "not_converged")
    third = climbing(puppet, first)
    assert options_of(third) == {"a": 2, "b": 2}
    events = puppet.refuse(third, "not_converged")
    assert [e.kind for e in events] == ["finished", "quarantined"]
    (case,) = puppet.state.cases.quarantine
    assert (case.id, [one.rung for one in case.tries]) == (first.id, ["", "slower mixing", "both"])
    assert puppet.run().answer is not None


def test_a_label_from_a_higher_rung_counts_like_any_other(make: MakePuppet) -> None:
    puppet = with_ladder(make)
    first = puppet.under_way("label")[0]
    puppet.refuse(first, "not_converged")
    puppet.finish(climbing(puppet, first))
    assert [one.case for one in puppet.state.labels] == [first.id]
    assert puppet.state.cases.quarantine == []
    answer = puppet.run().answer
    assert answer is not None
    assert (answer["labels"], answer["labels_start"], answer["labels_refused"]) == (16, 6, 0)


def test_a_crash_that_is_given_up_climbs_the_ladder(make: MakePuppet) -> None:
    puppet = with_ladder(make)
    first = puppet.under_way("label")[0]
    puppet.fail_for_good(first, "WorkerDied")
    assert options_of(climbing(puppet, first)) == {"a": 2, "b": 2}


def test_a_reason_that_no_rung_helps_against_goes_into_quarantine_at_once(
    make: MakePuppet,
) -> None:
    puppet = with_ladder(make)
    first = puppet.under_way("label")[0]
    puppet.refuse(first, "atoms_too_close")
    assert [case.id for case in puppet.state.cases.quarantine] == [first.id]


def test_lithium_metal_that_fails_everywhere_leaves_an_answer_without_a_voltage(
    make: MakePuppet,
) -> None:
    puppet = with_ladder(make)
    (lithium,) = puppet.under_way("relax_reference")
    puppet.refuse_for_good(lithium, "not_converged")
    assert puppet.state.lithium is not None
    assert puppet.state.lithium["refused"]["reason"] == "not_converged"
    assert puppet.run().answer is not None


def test_a_quarantined_label_is_computed_again_when_a_person_asks(make: MakePuppet) -> None:
    puppet = with_ladder(make)
    first = puppet.under_way("label")[0]
    puppet.refuse_for_good(first, "not_converged")
    asked = {"request": "r1", "what": "retry", "case": first.id}
    puppet.react("asked", asked)
    task = climbing(puppet, first)
    assert options_of(task) is None
    assert task.id != first.id
    puppet.react("asked", asked)
    puppet.react("asked", {**asked, "request": "r2"})
    assert climbing(puppet, first) == task
    puppet.refuse(task, "not_converged")
    assert options_of(climbing(puppet, first)) == {"a": 1}


def test_a_refused_label_that_a_person_accepts_enters_training(make: MakePuppet) -> None:
    puppet = make()
    first = puppet.under_way("label")[0]
    good = puppet.label(first)
    kept = {"label": good["label"], "energy_per_atom": good["energy_per_atom"]}
    puppet.refuse(first, "force_too_large", **kept)
    puppet.react("asked", {"request": "r1", "what": "accept", "case": first.id})
    assert [one.label for one in puppet.state.labels] == [good["label"]]
    assert puppet.state.cases.quarantine == []


def test_a_label_that_is_not_there_cannot_be_accepted(make: MakePuppet) -> None:
    puppet = make()
    first = puppet.under_way("label")[0]
    puppet.refuse(first, "engine_failed")
    puppet.react("asked", {"request": "r1", "what": "accept", "case": first.id})
    puppet.react("asked", {"request": "r2", "what": "accept", "case": "0" * 64})
    assert puppet.state.labels == []
    assert len(puppet.state.cases.quarantine) == 1


def with_moment(puppet: Puppet, task: Task, moment: float) -> dict[str, object]:
    return {**puppet.label(task), "moment_per_metal": moment}


def test_a_magnetic_state_that_jumps_is_taken_back_before_training(make: MakePuppet) -> None:
    puppet = make(
        material={"lithium": [1.0, 0.0], "starting": {"frames": 12}},
        reference={"ladder": [LADDER[1]]},
    )
    full = [t for t in puppet.under_way("label") if puppet.state.purposes[t.id]["x"] == 1.0]
    flipped = full[1]
    for task in full:
        puppet.finish(task, with_moment(puppet, task, 0.0 if task is flipped else 1.0))
    (withdrawn,) = [e for e in puppet.events if e.kind == "withdrawn"]
    assert withdrawn.data["task"] == flipped.id
    assert withdrawn.data["reason"] == "moments_jumped"
    assert len(puppet.state.labels) == len(full) - 1
    again = climbing(puppet, flipped)
    assert options_of(again) == {"b": 2}
    puppet.finish(again, with_moment(puppet, again, 1.0))
    assert len(puppet.state.labels) == len(full)


def test_the_same_geometry_must_have_the_same_energy(make: MakePuppet) -> None:
    puppet = make()
    first, second = puppet.under_way("label")[:2]
    result = puppet.label(first)
    puppet.finish(first, result)
    other = {**result, "energy_per_atom": result["energy_per_atom"] + 0.002}
    puppet.finish(second, other)
    (withdrawn,) = [e for e in puppet.events if e.kind == "withdrawn"]
    assert withdrawn.data["task"] in {first.id, second.id}
    assert withdrawn.data["reason"] == "energy_inconsistent"


# -- one bad job never ends a campaign ------------------------------------------------------------


@pytest.mark.parametrize("role", ["lithium", "uncertain", "explore", "audit"])
def test_one_task_that_fails_for_good_ends_no_campaign(make: MakePuppet, role: str) -> None:
    puppet = make()
    hit: Task | None = None
    while not puppet.policy.over():
        task = puppet.oldest().task
        if hit is None and puppet.role(task) == role:
            hit = task
            puppet.fail_for_good(task)
        else:
            puppet.finish(task)
    assert hit is not None
    assert puppet.state.answer is not None


@pytest.mark.parametrize("function", ["relax_committee", "relax_reference"])
def test_relaxations_that_all_fail_leave_gaps_in_the_answer_and_no_campaign_without_one(
    make: MakePuppet, function: str
) -> None:
    puppet = make(stop={"volume_change_percent": 0.5, "labels": 30})
    while not puppet.policy.over():
        task = puppet.oldest().task
        if task.function == function:
            refusal = {"reason": "relaxation_failed", "detail": "it ran away"}
            puppet.finish(task, {"refused": refusal})
        else:
            puppet.finish(task)
    answer = puppet.state.answer
    assert answer is not None
    if function == "relax_committee":
        assert answer["x"] == []
        assert answer["volume_change_percent"] is None
    else:
        assert answer["x"] == [1.0, 0.5, 0.0]
        assert answer["average_voltage_V"] is None
        assert answer["voltage_steps"] == []
        assert answer["reference_volume_A3_per_fu"] == [None, None, None]


# -- the audit ----------------------------------------------------------------------------------


def test_the_audit_begins_when_the_final_committee_knows_every_label(make: MakePuppet) -> None:
    puppet = make()
    while not puppet.under_way(role="audit"):
        puppet.finish(puppet.oldest().task)
    assert puppet.state.trained_count == len(puppet.state.labels)
    audit = puppet.under_way("explore", "audit")
    assert len(audit) == 3
    for task in audit:
        assert task.inputs["committee"] == puppet.state.trainings[-1]["committee"]
        assert task.inputs["limits"] == {"force_sigma": None}
        assert task.inputs["plan"]["steps"] == puppet.campaign.explore.steps
    ordered = [puppet.state.purposes[t.id]["ordering"] for t in audit]
    assert [puppet.state.facts["orderings"][i]["x"] for i in ordered] == [1.0, 0.5, 0.0]


def test_audit_frames_are_spread_evenly_and_never_enter_training(make: MakePuppet) -> None:
    puppet = make(audit={"labels": 9})
    state = puppet.run()
    assert Counter(one.x for one in state.audit) == {1.0: 3, 0.5: 3, 0.0: 3}
    audited = {one.frame for one in state.audit}
    assert len(audited) == 9
    trained_on = {frame for new in training_sets(puppet) for frame, _ in new}
    assert audited.isdisjoint(trained_on)
    assert audited.isdisjoint(one.frame for one in state.labels)
    (score,) = puppet.submitted("score")
    assert {entry["frame"] for entry in score.inputs["audit"]} == audited
    last = puppet.submitted("train")[-1]
    order = [e.data["task"]["id"] for e in puppet.events if e.kind == "submitted"]
    first_audit_label = next(t for t in puppet.submitted("label") if puppet.role(t) == "audit")
    assert order.index(last.id) < order.index(first_audit_label.id)


def test_an_audit_asks_for_no_more_frames_than_its_runs_gave(make: MakePuppet) -> None:
    puppet = make(audit={"labels": 100})
    state = puppet.run()
    assert len(state.audit) == 3 * len(puppet.sigma)


def test_refused_audit_labels_are_left_out_of_the_score(make: MakePuppet) -> None:
    puppet = make()
    refused: list[Task] = []
    while not puppet.policy.over():
        task = puppet.oldest().task
        if task.function == "label" and puppet.role(task) == "audit" and len(refused) < 2:
            refused.append(task)
            puppet.refuse(task)
        else:
            puppet.finish(task)
    (score,) = puppet.submitted("score")
    assert len(score.inputs["audit"]) == 4
    assert puppet.state.answer is not None
    assert puppet.state.answer["labels_audit"] == 4


def test_an_audit_without_a_single_frame_pauses_and_is_begun_anew(make: MakePuppet) -> None:
    puppet = make()
    while not puppet.policy.over():
        task = puppet.oldest().task
        if task.function == "explore" and puppet.role(task) == "audit":
            puppet.fail_for_good(task)
        else:
            puppet.finish(task)
    assert puppet.state.paused == (
        "no audit run gave a single frame (crashed 3 times, the latest: WorkerDied: exit code 7)"
    )
    puppet.react("session", SESSION)
    assert len(puppet.under_way("explore")) == 3
    assert puppet.run().answer is not None


def test_an_audit_whose_labels_are_all_refused_pauses_the_campaign(make: MakePuppet) -> None:
    puppet = make(audit={"labels": 3})
    while not puppet.policy.over():
        task = puppet.oldest().task
        if task.function == "label" and puppet.role(task) == "audit":
            puppet.refuse(task)
        else:
            puppet.finish(task)
    assert puppet.state.paused == "every audit label was refused (force_too_large 3 times)"
    puppet.react("session", SESSION)
    assert puppet.run().answer is not None


# -- whole campaigns ------------------------------------------------------------------------------


def unruly_campaign(puppet: Puppet, seed: int) -> None:
    """Results come in any order; some labels are refused, some workers die."""
    rng = np.random.default_rng(seed)
    while not puppet.policy.over():
        assert puppet.under_way(), "nothing is under way and the campaign is not over"
        task = puppet.under_way()[int(rng.integers(len(puppet.under_way())))]
        luck = rng.random()
        if task.function == "label" and puppet.role(task) != "start" and luck < 0.15:
            puppet.refuse(task)
        elif task.function in {"label", "explore", "relax_committee"} and luck > 0.95:
            puppet.fail_for_good(task)
        else:
            puppet.finish(task)
        assert promised(puppet) <= puppet.campaign.stop.labels


@pytest.mark.parametrize("seed", range(12))
def test_a_campaign_ends_in_whatever_order_its_results_come(make: MakePuppet, seed: int) -> None:
    puppet = make(
        seed=seed,
        select={"batch": 1 + seed % 5},
        stop={"labels": 30, "volume_change_percent": None if seed % 2 else 1e-6},
        resources={"explore": 1 + seed % 3, "label": 1 + seed % 4, "train": 1 + seed % 2},
    )
    unruly_campaign(puppet, seed)
    assert puppet.state.answer is not None or puppet.state.failed is not None
    assert puppet.mind.ledger.flights == {} or puppet.state.failed is not None
    audited = {one.frame for one in puppet.state.audit}
    trained_on = {frame for new in training_sets(puppet) for frame, _ in new}
    assert audited.isdisjoint(trained_on)
    assert replay(puppet.events, new_mind(puppet.campaign, puppet.folder)) == []


def test_another_seed_of_the_campaign_is_noticed_by_a_replay(make: MakePuppet) -> None:
    puppet = make()
    puppet.run()
    other = puppet.campaign.model_copy(update={"seed": 2})
    mismatches = replay(puppet.events, new_mind(other, puppet.folder))
    explored = next(e.seq for e in puppet.events if e.data.get("role") == "explore")
    assert mismatches[0].seq == explored


def test_two_trainers_never_train_the_same_label(make: MakePuppet) -> None:
    puppet = make(stop={"labels": 40}, resources={"train": 2, "label": 4})
    rng = np.random.default_rng(0)
    while not puppet.policy.over():
        tasks = [t for t in puppet.under_way() if t.function != "train"]
        tasks = tasks if tasks and rng.random() < 0.9 else puppet.under_way()
        puppet.finish(tasks[int(rng.integers(len(tasks)))])
    entered = [label for new in training_sets(puppet) for _, label in new]
    assert len(entered) == len(set(entered))

from collections import Counter
from pathlib import Path

import pytest
from puppet import SESSION, Puppet

from voltaloop.campaigns import campaign_history
from voltaloop.report import render_report, status_lines


@pytest.fixture
def puppet(tmp_path: Path) -> Puppet:
    return Puppet(tmp_path / "campaign").open()


def test_a_finished_campaign_is_told_in_full(puppet: Puppet) -> None:
    refused = puppet.under_way("label")[0]
    puppet.refuse(refused)
    puppet.run()
    history = campaign_history(puppet.write())
    assert (history.name, history.state, history.formula) == ("puppet", "finished", "LiNiO2")
    assert history.answer is not None
    assert history.answer["labels"] == len(history.labels) == 16
    assert history.versions == {"python": "3.11", "voltaloop": "0.1.0"}
    assert len(history.rounds) == len(puppet.submitted("train"))
    assert [r.reason for r in history.refusals] == ["force_too_large"]
    assert history.campaign_text == puppet.text


def test_each_label_is_told_with_its_origin_and_the_errors_before_it_was_learned(
    puppet: Puppet,
) -> None:
    puppet.run()
    history = campaign_history(puppet.write())
    assert [one.index for one in history.labels] == list(range(1, 17))
    origins = Counter(one.origin for one in history.labels)
    assert origins["start"] == 6
    assert origins["random"] == sum(one.origin == "random" for one in puppet.state.labels)
    for one in history.labels:
        scored = one.origin != "start"
        assert (one.energy_error_eV_per_atom is not None) == scored
        assert (one.force_sigma_max is not None) == scored
        assert one.reason


def test_a_campaign_that_was_stopped_is_shown_as_paused(puppet: Puppet) -> None:
    puppet.finish_all("label")
    history = campaign_history(puppet.write())
    assert history.state == "paused"
    assert any(task.outcome == "waiting" for task in history.tasks)
    lines = status_lines(history, label_budget=16, folder="runs/puppet")
    assert lines[0].startswith("puppet: paused (LiNiO2, 8 atoms, seed 1)")
    assert "continues where it stopped" in lines[-1]


def test_the_end_of_a_session_is_not_told_as_running(puppet: Puppet) -> None:
    folder = puppet.write()
    with folder.held(puppet.campaign, puppet.text):
        assert campaign_history(folder).state == "paused"


def test_a_paused_campaign_is_told_with_its_reason(puppet: Puppet) -> None:
    for task in puppet.under_way("label"):
        puppet.refuse(task, "engine_failed")
    history = campaign_history(puppet.write())
    assert history.state == "paused"
    assert "engine_failed: 99 eV/Å" in history.notes[0]
    assert history.notes[1] == (
        "6 calculations are in quarantine (engine_failed 6 times); `voltaloop quarantine` lists "
        "them."
    )
    assert "99 eV/Å" in render_report(history)


def test_a_task_that_failed_and_was_run_again_is_told_twice(puppet: Puppet) -> None:
    task = puppet.under_way("label")[0]
    failure = {"reason": "WorkerDied", "detail": "killed", "traceback": "..."}
    puppet.react("failed", {"id": task.id, "task": task.to_json(), "attempt": 1, **failure})
    puppet.finish(task)
    history = campaign_history(puppet.write())
    assert [t.outcome for t in history.tasks if t.id == task.id] == ["failed", "done"]


def test_time_between_sessions_does_not_count(puppet: Puppet) -> None:
    puppet.finish_all("label")
    puppet.pause_s = 1e6
    puppet.react("session", SESSION)
    puppet.run()
    history = campaign_history(puppet.write())
    assert puppet.events[-1].time - puppet.events[0].time > 1e6
    assert history.answer is not None
    assert 0.5 * len(puppet.events) < history.answer["wall_s"] <= len(puppet.events)


def test_audit_runs_that_did_not_complete_are_noted(puppet: Puppet) -> None:
    while not puppet.policy.over():
        task = puppet.oldest().task
        if task.function == "explore" and puppet.role(task) == "audit":
            result = puppet.invented(task)
            puppet.finish(task, {**result, "outcome": "cell_ran_away", "detail": "volume 1.6"})
        else:
            puppet.finish(task)
    notes = campaign_history(puppet.write()).notes
    assert sum("ended as cell_ran_away" in note for note in notes) == 3
    assert any("against bcc Li from the same reference (ase" in note for note in notes)

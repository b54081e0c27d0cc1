"""Campaigns whose log an older release wrote: they can be looked at, judged and gone on with."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from voltaloop.campaigns import CampaignFolder, campaign_history, quarantined
from voltaloop.campaigns.minds import state_of
from voltaloop.core import Event
from voltaloop.report import render_report, status_lines
from voltaloop.store import SCHEMA_VERSION

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(params=range(1, SCHEMA_VERSION + 1))
def old(request: pytest.FixtureRequest, tmp_path: Path) -> CampaignFolder:
    """A campaign folder with the stored log, whose artifacts nobody kept."""
    root = tmp_path / "old"
    root.mkdir()
    shutil.copy(DATA / f"events-schema-{request.param}.yaml", root / "campaign.yaml")
    shutil.copy(DATA / f"events-schema-{request.param}.sqlite", root / "events.sqlite")
    return CampaignFolder(root)


def events_of(folder: CampaignFolder) -> list[Event]:
    with folder.read_log() as log:
        return list(log.read())


def test_an_old_log_folds_into_the_state_that_it_tells_of(old: CampaignFolder) -> None:
    events, state = events_of(old), state_of(old)
    (answered,) = [e.data["answer"] for e in events if e.kind == "answered"]
    assert state.answer == answered
    assert len(state.labels) == answered["labels"]
    assert len(state.audit) == answered["labels_audit"]
    origins = Counter(one.origin for one in state.labels)
    assert (origins["start"], origins["random"]) == (
        answered["labels_start"],
        answered["labels_random"],
    )
    trained = [e for e in events if e.kind == "finished" and "committee" in e.data["result"]]
    assert len(state.trainings) == len(trained)
    assert state.trained_count == len(state.labels)
    assert state.stopped == "labels"
    assert (state.cases.quarantine, state.paused, state.failed) == ([], None, None)


def test_status_and_report_need_no_artifacts(old: CampaignFolder) -> None:
    history = campaign_history(old)
    assert history.state == "finished"
    assert history.answer is not None
    assert len(history.labels) == history.answer["labels"]
    assert history.versions["voltaloop"] == "0.1.0"
    assert [task.outcome for task in history.tasks].count("failed") == 1
    assert all(task.outcome in {"done", "failed"} for task in history.tasks)
    (note,) = [note for note in history.notes if "audit cannot be shown" in note]
    assert "is not in" in note
    lines = status_lines(history, label_budget=20, folder="runs/old")
    assert lines[0].startswith("old: finished (LiNiO2, 16 atoms, seed 1)")
    assert "<title>" in render_report(history)


def test_nothing_of_an_old_campaign_is_in_quarantine(old: CampaignFolder) -> None:
    assert quarantined(old) == []


def test_an_old_folder_has_no_id_and_passes(old: CampaignFolder) -> None:
    campaign, text = old.campaign()
    assert "folder" not in events_of(old)[0].data
    old.refuse_other_campaign(text)
    with old.held(campaign, text) as log:
        assert log.count() > 0

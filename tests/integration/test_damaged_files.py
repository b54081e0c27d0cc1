"""A disk that loses bytes, a folder that somebody tidied up: the campaign makes it again."""

import json
import signal
from collections import Counter
from pathlib import Path

import pytest
from small_campaign import call, events_of, finished_tasks, start, wait_for, write_campaign

from voltaloop.campaigns import CampaignFolder, new_mind
from voltaloop.core import Event
from voltaloop.thinker import replay

SMALL = {
    "material": {"lithium": [1.0, 0.0], "starting": {"frames": 8}},
    "stop": {"labels": 14},
    "audit": {"labels": 2},
}


def results(events: list[Event], function: str) -> list[dict[str, str]]:
    ids = finished_tasks(events, function)
    return [e.data["result"] for e in events if e.kind == "finished" and e.data["id"] in ids]


def test_damaged_artifacts_are_put_aside_and_made_again(tmp_path: Path) -> None:
    write_campaign(tmp_path, "worn", **SMALL)
    folder = tmp_path / "runs" / "worn"
    running = start(tmp_path, "run", "worn.yaml")
    wait_for(running, folder, lambda events: len(finished_tasks(events, "explore")) >= 1)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    before = events_of(folder)
    store = CampaignFolder(folder).artifacts
    label, *_, other = [one["label"] for one in results(before, "label")]
    committee = results(before, "train")[0]["committee"]
    truncated = store.path(label)
    truncated.write_bytes(truncated.read_bytes()[:-7])
    store.path(other).unlink()
    arrays = store.path(store.get_json(committee)["arrays"])
    content = bytearray(arrays.read_bytes())
    content[len(content) // 2] ^= 1
    arrays.write_bytes(bytes(content))

    done = call(tmp_path, "run", "worn.yaml")
    assert done.returncode == 0, done.stderr
    assert "1 artifact is damaged or missing and made again" in done.stderr
    assert "Traceback" not in done.stderr
    events = events_of(folder)
    restored = [e.data for e in events if e.kind == "restored"]
    assert {name for one in restored for name in one["lost"]} == {label, other, arrays.name}
    assert store.verify(label)
    assert store.verify(other)
    assert store.verify(arrays.name)
    assert sorted(p.name.split(".")[0] for p in (folder / "artifacts" / "damaged").iterdir()) == (
        sorted(name.split(".")[0] for name in (label, arrays.name))
    )
    assert set(Counter(e.data["id"] for e in events if e.kind == "finished").values()) == {1}
    campaign_folder = CampaignFolder(folder)
    campaign, _ = campaign_folder.campaign()
    assert replay(events, new_mind(campaign, campaign_folder)) == []
    report = call(tmp_path, "report", "runs/worn", "--out", "worn.html")
    assert report.returncode == 0
    assert "were made again" in (tmp_path / "worn.html").read_text()

    answer = (folder / "answer.json").read_bytes()
    (folder / "answer.json").unlink()
    truncated.write_bytes(b"")
    mended = call(tmp_path, "run", "worn.yaml")
    assert mended.returncode == 0, mended.stderr
    assert "1 artifact is damaged or missing and made again" in mended.stderr
    assert store.verify(label)
    assert json.loads((folder / "answer.json").read_bytes())["a_A"] == json.loads(answer)["a_A"]


@pytest.mark.parametrize("what", ["committee", "descriptors"])
def test_damage_that_a_running_campaign_meets_is_mended_by_the_same_run(
    tmp_path: Path, what: str
) -> None:
    """The next training reads the committee in its worker, the next selection the descriptors."""
    write_campaign(tmp_path, "bad", **SMALL)
    folder = tmp_path / "runs" / "bad"
    running = start(tmp_path, "run", "bad.yaml")
    events = wait_for(running, folder, lambda events: len(finished_tasks(events, "train")) == 1)
    store = CampaignFolder(folder).artifacts
    name = results(events, "train")[0][what]
    place = store.root / name[:2] / name
    place.write_bytes(place.read_bytes()[:-1])
    _, err = running.communicate(timeout=250)
    assert running.returncode == 0, err
    assert f"Artifact {name} is damaged" in err
    assert "1 artifact is damaged or missing and made again: train generation 0" in err
    assert "Traceback" not in err
    events = events_of(folder)
    assert [e.data["lost"] for e in events if e.kind == "restored"] == [[name]]
    assert sum(e.kind == "session" for e in events) == 2
    assert set(Counter(e.data["id"] for e in events if e.kind == "finished").values()) == {1}
    assert [e.data for e in events if e.kind == "failed"] == []
    campaign_folder = CampaignFolder(folder)
    campaign, _ = campaign_folder.campaign()
    assert replay(events, new_mind(campaign, campaign_folder)) == []


def test_a_scratch_folder_that_is_removed_is_made_again(tmp_path: Path) -> None:
    write_campaign(tmp_path, "tidy", **SMALL)
    folder, scratch = tmp_path / "runs" / "tidy", tmp_path / "scratch"
    scratch.mkdir()
    running = start(tmp_path, "run", "tidy.yaml", TMPDIR=str(scratch))
    wait_for(running, folder, lambda events: len(finished_tasks(events, "label")) >= 1)
    for entry in scratch.iterdir():
        if entry.is_file():
            entry.unlink()
    if not list(scratch.iterdir()):
        scratch.rmdir()
    _, err = running.communicate(timeout=200)
    assert running.returncode == 0, err

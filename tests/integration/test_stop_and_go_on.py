"""The machine is switched off, the job is ended, the user presses Ctrl-C: the same command goes on
where the campaign was, and nothing is computed twice."""

import json
import os
import signal
from collections import Counter
from itertools import pairwise
from pathlib import Path

import psutil
from small_campaign import call, events_of, finished_tasks, start, wait_for, write_campaign

from voltaloop.campaigns import CampaignFolder, new_mind
from voltaloop.core import Event
from voltaloop.thinker import replay

SMALL = {
    "material": {"lithium": [1.0, 0.0], "starting": {"frames": 8}},
    "stop": {"labels": 14},
    "audit": {"labels": 2},
}


def labels(events: list[Event]) -> int:
    return len(finished_tasks(events, "label"))


def sessions(events: list[Event]) -> int:
    return sum(event.kind == "session" for event in events)


def test_a_campaign_survives_kill_termination_and_ctrl_c(tmp_path: Path) -> None:
    write_campaign(tmp_path, "torn", **SMALL)
    folder = tmp_path / "runs" / "torn"
    command = ("run", "torn.yaml")

    killed = start(tmp_path, *command)
    wait_for(killed, folder, lambda events: labels(events) >= 2)
    workers = psutil.Process(killed.pid).children(recursive=True)
    killed.kill()
    killed.communicate(timeout=60)
    psutil.wait_procs(workers, timeout=30)
    assert not any(worker.is_running() for worker in workers)
    after_kill = events_of(folder)

    ended = start(tmp_path, *command)
    wait_for(ended, folder, lambda events: len(finished_tasks(events, "explore")) >= 1)
    ended.send_signal(signal.SIGTERM)
    out, err = ended.communicate(timeout=60)
    assert ended.returncode == 130
    assert "Go on with: voltaloop run torn.yaml\n" in out
    assert "Stopping: running tasks have a moment to end" in err
    assert "Traceback" not in err
    after_end = events_of(folder)
    assert after_end[: len(after_kill)] == after_kill
    assert not (folder / "answer.json").exists()
    assert (folder / "report.html").exists()
    status = call(tmp_path, "status", "runs/torn")
    assert status.stdout.startswith("torn: paused")

    interrupted = start(tmp_path, *command)
    wait_for(interrupted, folder, lambda events: sessions(events) == 3)
    os.killpg(interrupted.pid, signal.SIGINT)
    out, err = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130
    assert "Traceback" not in err

    done = call(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    events = events_of(folder)
    assert sessions(events) == 4
    assert events[: len(after_end)] == after_end
    results = Counter(event.data["id"] for event in events if event.kind == "finished")
    assert set(results.values()) == {1}
    first_attempts = Counter(e.data["task"]["id"] for e in events if e.kind == "submitted")
    assert set(first_attempts.values()) == {1}
    assert [event for event in events if event.kind == "failed"] == []
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["labels"] == 14
    assert answer["labels"] + answer["labels_audit"] == labels(events)
    pauses = [after.time - last.time for last, after in pairwise(events) if after.kind == "session"]
    assert answer["wall_s"] <= events[-1].time - events[0].time - sum(pauses) + 0.2
    campaign_folder = CampaignFolder(folder)
    campaign, _ = campaign_folder.campaign()
    assert replay(events, new_mind(campaign, campaign_folder)) == []
    assert list(folder.rglob("*.tmp")) == []

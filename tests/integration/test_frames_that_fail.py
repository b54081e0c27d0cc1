"""Some frames do not converge: each is tried in other ways, and what still fails waits for a
person while the campaign goes on."""

import json
import signal
import time
from pathlib import Path

from small_campaign import call, events_of, start, wait_for, write_campaign

from voltaloop.core import Event

LADDER = [
    {"name": "gently", "reasons": ["engine_failed"], "options": {"parameters": {"gently": True}}}
]

TAKEN_UP_WITHIN_S = 3.0
"""At most, on a busy machine; the inbox is looked at twice a second."""


def quarantined(events: list[Event]) -> list[str]:
    return [e.data["case"] for e in events if e.kind == "quarantined"]


def test_failing_frames_climb_the_ladder_and_end_in_quarantine(tmp_path: Path) -> None:
    reference = {"calculator": "pair_oxide:Moody", "ladder": LADDER, "relax": False}
    smaller = {"stop": {"labels": 16}, "audit": {"labels": 3}}
    write_campaign(tmp_path, "moody", reference=reference, **smaller)
    folder = tmp_path / "runs" / "moody"
    running = start(tmp_path, "run", "moody.yaml")
    events = wait_for(running, folder, lambda events: bool(quarantined(events)))
    first = quarantined(events)[0]

    (folder / "requests").mkdir()
    (folder / "requests" / "0bad.json").write_text('{"what": "retry"')
    asked = call(tmp_path, "quarantine", "runs/moody", "--retry", first[:8])
    asked_at = time.time()
    assert asked.returncode == 0
    assert "at once if the campaign is running" in asked.stdout
    events = wait_for(running, folder, lambda events: quarantined(events).count(first) == 2)
    (taken_up,) = [e for e in events if e.kind == "asked"]
    assert taken_up.time - asked_at < TAKEN_UP_WITHIN_S

    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "0bad.unreadable cannot be read" in err
    assert "Traceback" not in err
    assert [path.name for path in (folder / "requests").iterdir()] == ["0bad.unreadable"]

    listed = call(tmp_path, "quarantine", "runs/moody")
    assert listed.returncode == 0
    assert first[:8] in listed.stdout
    assert "as asked: engine_failed: RuntimeError: mood 0" in listed.stdout
    assert "gently: engine_failed: RuntimeError: mood 0" in listed.stdout

    refused = call(tmp_path, "quarantine", "runs/moody", "--accept", first[:8])
    assert refused.returncode == 2
    assert "has no label to accept: it ended with engine_failed" in refused.stderr
    unknown = call(tmp_path, "quarantine", "runs/moody", "--retry", "zzzz")
    assert unknown.returncode == 2
    assert "fits 0 of the" in unknown.stderr
    retried = call(tmp_path, "quarantine", "runs/moody", "--retry", first[:8])
    assert retried.returncode == 0
    assert f"{first[:8]} will be computed again" in retried.stdout

    done = call(tmp_path, "run", "moody.yaml")
    assert done.returncode == 0, done.stderr
    events = events_of(folder)
    assert [e.data["what"] for e in events if e.kind == "asked"] == ["retry", "retry"]
    assert quarantined(events).count(first) == 3
    assert [path.name for path in (folder / "requests").iterdir()] == ["0bad.unreadable"]
    gentle = [e for e in events if e.kind == "purpose" and e.data.get("rung") == "gently"]
    assert len(gentle) > 2
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["labels"] == 16
    assert answer["labels_refused"] == len(set(quarantined(events)))
    late = call(tmp_path, "quarantine", "runs/moody", "--retry", first[:8])
    assert late.returncode == 2
    assert "has its answer" in late.stderr

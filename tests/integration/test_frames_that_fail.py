"""Some frames do not converge: each is tried in other ways, and what still fails waits for a
person while the campaign goes on."""

import json
import signal
from pathlib import Path

from small_campaign import call, events_of, start, wait_for, write_campaign

LADDER = [
    {"name": "gently", "reasons": ["engine_failed"], "options": {"parameters": {"gently": True}}}
]


def test_failing_frames_climb_the_ladder_and_end_in_quarantine(tmp_path: Path) -> None:
    reference = {"calculator": "pair_oxide:Moody", "ladder": LADDER, "relax": False}
    write_campaign(tmp_path, "moody", reference=reference)
    folder = tmp_path / "runs" / "moody"
    running = start(tmp_path, "run", "moody.yaml")
    wait_for(running, folder, lambda events: any(e.kind == "quarantined" for e in events))
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    (first, *_) = [e.data["case"] for e in events_of(folder) if e.kind == "quarantined"]

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
    assert [e.data["what"] for e in events if e.kind == "asked"] == ["retry"]
    assert [e.data["case"] for e in events if e.kind == "quarantined"].count(first) == 2
    assert list((folder / "requests").iterdir()) == []
    gentle = [e for e in events if e.kind == "purpose" and e.data.get("rung") == "gently"]
    assert len(gentle) > 2
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["labels"] == 20
    assert answer["labels_refused"] == len(
        {e.data["case"] for e in events if e.kind == "quarantined"}
    )
    late = call(tmp_path, "quarantine", "runs/moody", "--retry", first[:8])
    assert late.returncode == 2
    assert "has its answer" in late.stderr

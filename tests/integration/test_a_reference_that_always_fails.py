"""The licence server is down on Friday night: the campaign pauses within a minute, says why, and
goes on when it is back."""

import json
import time
from collections import Counter
from pathlib import Path

from small_campaign import call, events_of, write_campaign

REASON = "engine_failed: RuntimeError: the licence server does not answer"


def test_a_campaign_whose_every_label_fails_pauses_with_the_reason(tmp_path: Path) -> None:
    licence = tmp_path / "licence"
    reference = {"calculator": "pair_oxide:Licensed", "parameters": {"licence": str(licence)}}
    write_campaign(tmp_path, "broken", reference=reference)
    begun = time.monotonic()
    told = call(tmp_path, "run", "broken.yaml")
    assert time.monotonic() - begun < 60
    assert told.returncode == 3
    assert "Paused: the last 6 frames all got no label (engine_failed 6 times)" in told.stderr
    assert REASON in told.stderr
    assert "Mend it, then go on with: voltaloop run broken.yaml" in told.stderr
    assert "Traceback" not in told.stderr
    folder = tmp_path / "runs" / "broken"
    assert "the licence server does not answer" in (folder / "report.html").read_text()
    assert not (folder / "answer.json").exists()
    kinds = Counter(event.kind for event in events_of(folder))
    assert (kinds["paused"], kinds["failed"], kinds["halted"]) == (1, 0, 0)

    status = call(tmp_path, "status", "runs/broken")
    assert status.returncode == 0
    assert status.stdout.startswith("broken: paused")
    assert REASON in status.stdout

    again = call(tmp_path, "run", "broken.yaml")
    assert again.returncode == 3
    assert REASON in again.stderr

    licence.touch()
    mended = call(tmp_path, "run", "broken.yaml")
    assert mended.returncode == 0, mended.stderr
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["labels"] == 20
    assert answer["labels_start"] == 12
    assert answer["labels_refused"] == 0

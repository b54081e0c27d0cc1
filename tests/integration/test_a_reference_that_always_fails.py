"""The licence server is down on Friday night: the campaign ends within a minute and says why."""

import time
from collections import Counter
from pathlib import Path

from small_campaign import call, events_of, write_campaign

REASON = "engine_failed: RuntimeError: the licence server does not answer"


def test_a_campaign_whose_every_label_fails_ends_with_the_reason(tmp_path: Path) -> None:
    write_campaign(tmp_path, "broken", reference={"calculator": "pair_oxide:Broken"})
    begun = time.monotonic()
    told = call(tmp_path, "run", "broken.yaml")
    assert time.monotonic() - begun < 60
    assert told.returncode == 1
    assert "The campaign ended without an answer: the last 6 labels all failed" in told.stderr
    assert REASON in told.stderr
    assert "Traceback" not in told.stderr
    folder = tmp_path / "runs" / "broken"
    assert f"Report: {folder.relative_to(tmp_path)}/report.html" in told.stderr
    assert "the licence server does not answer" in (folder / "report.html").read_text()
    assert not (folder / "answer.json").exists()
    kinds = Counter(event.kind for event in events_of(folder))
    assert kinds["halted"] == 1
    assert kinds["failed"] == 0

    status = call(tmp_path, "status", "runs/broken")
    assert status.returncode == 0
    assert status.stdout.startswith("broken: failed")
    assert REASON in status.stdout

    again = call(tmp_path, "run", "broken.yaml")
    assert again.returncode == 1
    assert REASON in again.stderr
    assert Counter(event.kind for event in events_of(folder)) == kinds

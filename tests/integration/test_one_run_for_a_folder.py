"""Two people start the same campaign in the same folder: the second is told who has it."""

import signal
from pathlib import Path

from small_campaign import call, events_of, finished_tasks, start, wait_for, write_campaign


def test_a_held_folder_can_be_read_by_all_and_run_by_no_other(tmp_path: Path) -> None:
    file = write_campaign(tmp_path, "shared", stop={"labels": 1000})
    folder = tmp_path / "runs" / "shared"
    first = start(tmp_path, "run", "shared.yaml")
    wait_for(first, folder, lambda events: len(finished_tasks(events, "label")) >= 1)

    second = call(tmp_path, "run", "shared.yaml")
    assert second.returncode == 2
    assert f"is held by another voltaloop run: process {first.pid} on " in second.stderr
    assert "Reading it (status, report, export) is allowed" in second.stderr
    assert "Traceback" not in second.stderr
    assert second.stdout == ""

    status = call(tmp_path, "status", "runs/shared")
    assert status.returncode == 0
    assert status.stdout.startswith("shared: running (LiNiO2, 16 atoms, seed 1)")
    report = call(tmp_path, "report", "runs/shared", "--out", "now.html")
    assert report.returncode == 0
    assert "Still running" in (tmp_path / "now.html").read_text()

    file.write_text(file.read_text() + "seed: 2\n")
    changed = call(tmp_path, "run", "shared.yaml")
    assert changed.returncode == 2
    assert "holds another campaign, or an earlier version of this one" in changed.stderr

    assert first.poll() is None
    first.send_signal(signal.SIGTERM)
    out, err = first.communicate(timeout=60)
    assert first.returncode == 130, err
    assert "Go on with: voltaloop run shared.yaml" in out
    events = events_of(folder)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert sum(e.kind == "session" for e in events) == 1

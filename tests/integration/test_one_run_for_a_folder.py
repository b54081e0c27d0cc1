"""Two people start the same campaign in the same folder: the second is told who has it."""

import signal
from pathlib import Path

from small_campaign import call, events_of, finished_tasks, start, wait_for, write_campaign


def test_a_second_run_of_a_held_folder_is_refused_and_reading_it_is_not(tmp_path: Path) -> None:
    write_campaign(tmp_path, "shared")
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

    assert first.poll() is None
    first.send_signal(signal.SIGTERM)
    out, err = first.communicate(timeout=60)
    assert first.returncode == 130, err
    assert "Go on with: voltaloop run shared.yaml" in out
    events = events_of(folder)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert sum(e.kind == "session" for e in events) == 1


def test_another_campaign_of_the_same_name_is_refused(tmp_path: Path) -> None:
    write_campaign(tmp_path, "shared")
    running = start(tmp_path, "run", "shared.yaml")
    folder = tmp_path / "runs" / "shared"
    wait_for(running, folder, lambda events: len(events) > 0)
    write_campaign(tmp_path, "shared", audit={"labels": 7})
    other = call(tmp_path, "run", "shared.yaml")
    assert other.returncode == 2
    assert "holds another campaign, or an earlier version of this one" in other.stderr
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == 130

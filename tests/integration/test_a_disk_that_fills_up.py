"""The disk is full on Saturday: the campaign pauses and says so; with room again it goes on."""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_campaign import SUPPORT, call, events_of, finished_tasks, start, wait_for, write_campaign

from voltaloop.campaigns import CampaignFolder
from voltaloop.core import Event, Frame

SIZE_MB, LARGER_MB = 24, 96


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own; the test is skipped where mounting is not allowed."""
    folder, program = tmp_path / "disk", shutil.which("mount")
    if os.geteuid() != 0 or program is None:
        pytest.skip("only root may mount a disk")
    folder.mkdir()
    options = ("-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder))
    done = subprocess.run([program, *options], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> None:
    """Take all the room that is left, to the last block."""
    with (disk / "somebody-elses-film.mkv").open("wb", buffering=0) as file:
        for size in (65536, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:  # full for this size
                continue


def finished_labels(folder: Path, events: list[Event]) -> dict[str, str]:
    """Ids of the labels in the log, and the geometries that were computed for them."""
    ids = finished_tasks(events, "label")
    frames = {e.data["id"]: e.data["result"]["frame"] for e in events if e.kind == "finished"}
    return {one: geometry_of(folder, frames[one]) for one in ids}


def geometry_of(folder: Path, frame: str) -> str:
    from pair_oxide import geometry

    store = CampaignFolder(folder).artifacts
    return str(geometry(Frame.from_json(store.get_json(frame)).to_atoms()))


def test_a_full_disk_pauses_the_campaign_and_loses_nothing(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(SUPPORT)
    counts = tmp_path / "counts"
    write_campaign(
        disk,
        "film",
        material={"lithium": [1.0, 0.0], "starting": {"frames": 8}},
        reference={
            "calculator": "pair_oxide:Counted",
            "parameters": {"file": str(counts), "seconds": 0.3},
        },
        stop={"labels": 14},
        audit={"labels": 2},
    )
    folder = disk / "runs" / "film"
    running = start(disk, "run", "film.yaml")
    wait_for(running, folder, lambda events: len(finished_tasks(events, "label")) >= 3)
    fill(disk)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 3, err
    assert "Paused: Cannot write " in err
    assert "No space left on device. Make room on that disk" in err
    assert "Mend it, then go on with: voltaloop run film.yaml" in err
    assert "Traceback" not in err

    before = events_of(folder)
    labels = finished_labels(folder, before)
    assert len(labels) >= 3
    still_full = call(disk, "run", "film.yaml")
    assert still_full.returncode == 3, still_full.stderr
    assert "No space left on device" in still_full.stderr
    assert "Traceback" not in still_full.stderr
    status = call(disk, "status", "runs/film")
    assert status.stdout.startswith("film: paused"), status.stderr

    report = call(disk, "report", "runs/film")
    assert report.returncode == 2
    assert "Error: No space left on device: " in report.stderr
    assert "Traceback" not in report.stderr

    remount = ["mount", "-o", f"remount,size={LARGER_MB}m", str(disk)]
    subprocess.run(remount, check=True)
    done = call(disk, "run", "film.yaml")
    assert done.returncode == 0, done.stderr
    events = events_of(folder)
    assert events[: len(before)] == before
    assert set(Counter(e.data["id"] for e in events if e.kind == "finished").values()) == {1}
    begun = Counter(line.split()[1] for line in counts.read_text().splitlines() if "begin" in line)
    assert {begun[geometry] for geometry in labels.values()} == {1}
    assert (folder / "answer.json").exists()
    assert not list(folder.rglob("*.tmp"))

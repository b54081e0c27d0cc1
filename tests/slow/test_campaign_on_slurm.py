"""A campaign whose labels are computed in jobs of a real Slurm; the Thinker is killed, the job is
cancelled, and nothing is lost."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import psutil
import pytest
from small_campaign import call, end_all, events_of, finished_tasks, start, wait_for, write_campaign

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

ON_SLURM = {
    "executor": "parsl",
    "provider": "slurm",
    "partition": "debug",
    "walltime": "10m",
    "workers_per_node": 1,
    "address": "127.0.0.1",
    "heartbeat_limit": "6s",
    "status_every": "2s",
    "task_limit": "1m",
    "memory_GB": 2,
}


def jobs(state: str) -> list[str]:
    listed = subprocess.run(
        ["squeue", "--noheader", f"--states={state}", "--format=%i"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return listed.stdout.split()


@pytest.mark.usefixtures("slurm")
def test_a_campaign_on_slurm_survives_the_thinker_and_its_job(tmp_path: Path) -> None:
    reference = {
        "calculator": "pair_oxide:Counted",
        "parameters": {"file": str(tmp_path / "computations.txt"), "seconds": 0.3},
    }
    write_campaign(tmp_path, "remote", reference=reference, resources={"label": ON_SLURM})
    folder = tmp_path / "runs" / "remote"

    checked = call(tmp_path, "check", "remote.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "label: Parsl: up to 1 job of slurm (debug), 1 node with 1 worker" in checked.stdout

    try:
        killed = start(tmp_path, "run", "remote.yaml")
        wait_for(killed, folder, lambda events: len(finished_tasks(events, "label")) >= 2)
        children = psutil.Process(killed.pid).children(recursive=True)
        killed.kill()
        killed.communicate(timeout=30)
        psutil.wait_procs(children, timeout=30)

        running = start(tmp_path, "run", "remote.yaml")
        wait_for(running, folder, lambda events: len(finished_tasks(events, "label")) >= 5)
        subprocess.run(["scancel", *jobs("RUNNING")], check=True, timeout=30)
        _, err = running.communicate(timeout=200)
    finally:
        end_all()
    assert running.returncode == 0, err
    events = events_of(folder)
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["labels"] == 20
    assert answer["labels_refused"] == 0
    assert {e.data["reason"] for e in events if e.kind == "failed"} <= {"WorkerLost"}
    finished = Counter(e.data["id"] for e in events if e.kind == "finished")
    assert set(finished.values()) == {1}
    assert jobs("RUNNING") == []

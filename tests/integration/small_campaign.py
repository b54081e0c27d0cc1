"""A campaign for user stories, and the program as a user starts it."""

import fcntl
import json
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from voltaloop.campaigns import CampaignFolder
from voltaloop.core import Event

SUPPORT = Path(__file__).parents[1] / "support"
sys.path.append(str(SUPPORT))

from pair_campaign import campaign  # noqa: E402 - from the folder above

PROGRAM = str(Path(sysconfig.get_path("scripts")) / "voltaloop")


def write_campaign(folder: Path, name: str, **sections: Mapping[str, Any]) -> Path:
    """The campaign's file; the run's folder will be runs/NAME beside it."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(campaign(name, **sections)))
    return path


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(SUPPORT),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }


_started: list[subprocess.Popen[str]] = []


def start(folder: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """The program, running in a process group of its own, with its output in pipes.

    :func:`end_all` ends it at the latest when the test is over.
    """
    running = subprocess.Popen(
        [PROGRAM, *arguments],
        cwd=folder,
        env={**environment(), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    _started.append(running)
    return running


def end_all() -> None:
    """Kill what a failed test left running."""
    while _started:
        with _started.pop() as running:
            running.kill()


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program, run to its end."""
    return subprocess.run(
        [PROGRAM, *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def finished_campaign(folder: Path) -> Path:
    """A folder in which the campaign "pair" was run to its answer, once for all test processes."""
    folder.mkdir(exist_ok=True)
    with (folder / "building").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done.json").exists():
            write_campaign(folder, "pair")
            done = call(folder, "run", "pair.yaml")
            told = {"code": done.returncode, "out": done.stdout, "err": done.stderr}
            (folder / "done.json").write_text(json.dumps(told))
    return folder


def events_of(folder: Path) -> list[Event]:
    """The log of a campaign as it is now; nothing where there is none yet."""
    if not (folder / "events.sqlite").exists():
        return []
    with CampaignFolder(folder).read_log() as log:
        return list(log.read())


def wait_for(
    running: subprocess.Popen[str], folder: Path, reached: Callable[[list[Event]], bool]
) -> list[Event]:
    """Look at the log until it has come so far; the program must still be running then."""
    until = time.monotonic() + 120
    while not reached(events := events_of(folder)):
        assert time.monotonic() < until, "the campaign does not get on"
        assert running.poll() is None, running.communicate()
        time.sleep(0.1)
    return events


def finished_tasks(events: list[Event], function: str) -> list[str]:
    """Ids of the tasks of a function that gave a result, one for every result."""
    functions = {
        e.data["task"]["id"]: e.data["task"]["function"] for e in events if e.kind == "submitted"
    }
    ids = [e.data["id"] for e in events if e.kind == "finished"]
    return [one for one in ids if functions[one] == function]

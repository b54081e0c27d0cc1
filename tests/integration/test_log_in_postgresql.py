"""The event log in the group's database, artifacts in the folder: nothing else changes."""

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from postgresql import PostgresqlServer, programs, running_server
from small_campaign import call, finished_tasks, start, write_campaign

from voltaloop.campaigns import CampaignFolder, new_mind
from voltaloop.core import CampaignFolderError, Event
from voltaloop.thinker import replay

VARIABLE = "VOLTALOOP_TEST_DATABASE"
SMALL = {
    "material": {"lithium": [1.0, 0.0], "starting": {"frames": 8}},
    "stop": {"labels": 14},
    "audit": {"labels": 2},
    "store": {"url": f"${VARIABLE}"},
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresqlServer]:
    """A server whose URL, with its password, stands in the variable that the campaign names."""
    if programs() is None:
        pytest.skip("PostgreSQL's server is not installed (on Debian: apt install postgresql)")
    if find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed (pip install 'voltaloop[postgresql]')")
    with running_server() as server:
        monkeypatch.setenv(VARIABLE, server.url())
        yield server


def events_of(folder: CampaignFolder) -> list[Event]:
    try:
        with folder.read_log() as log:
            return list(log.read())
    except CampaignFolderError:  # it has not begun
        return []


def wait_for_labels(folder: CampaignFolder, count: int) -> list[Event]:
    until = time.monotonic() + 120
    while len(finished_tasks(events := events_of(folder), "label")) < count:
        assert time.monotonic() < until, "the campaign does not get on"
        time.sleep(0.1)
    return events


def test_a_campaign_keeps_its_log_in_a_database(tmp_path: Path, server: PostgresqlServer) -> None:
    said = []
    file = write_campaign(tmp_path, "shared", **SMALL)
    folder = CampaignFolder(tmp_path / "runs" / "shared")

    running = start(tmp_path, "run", "shared.yaml")
    before = wait_for_labels(folder, 2)
    rival = call(tmp_path, "run", "shared.yaml", "--out", "runs/rival")
    assert rival.returncode == 2
    assert f"process {running.pid} on " in rival.stderr
    status = call(tmp_path, "status", "runs/shared")
    assert status.stdout.startswith("shared: running (LiNiO2, 16 atoms, seed 1)")
    running.send_signal(signal.SIGTERM)
    out, err = running.communicate(timeout=90)
    assert running.returncode == 130, err
    said += [rival.stdout, rival.stderr, status.stdout, status.stderr, out, err]

    status = call(tmp_path, "status", "runs/shared")
    assert status.stdout.startswith("shared: paused")
    done = call(tmp_path, "run", "shared.yaml")
    assert done.returncode == 0, done.stderr
    report = call(tmp_path, "report", "runs/shared", "--out", "shared.html")
    export = call(tmp_path, "export", "runs/shared", "--out", "labels.extxyz")
    quarantine = call(tmp_path, "quarantine", "runs/shared")
    check = call(tmp_path, "check", "shared.yaml")
    last = (status, done, report, export, quarantine, check)
    assert [one.returncode for one in last] == [0] * len(last), [one.stderr for one in last]
    said += [text for one in last for text in (one.stdout, one.stderr)]

    events = events_of(folder)
    assert events[: len(before)] == before
    assert set(Counter(e.data["id"] for e in events if e.kind == "finished").values()) == {1}
    campaign, _ = folder.campaign()
    assert replay(events, new_mind(campaign, folder)) == []
    answer = json.loads(folder.answer_path.read_text())
    assert answer["labels"] == 14
    assert not folder.log_path.exists()
    assert (tmp_path / "labels.extxyz").read_text().count("Lattice=") == 16

    other = call(tmp_path, "run", "shared.yaml", "--out", "runs/rival")
    assert other.returncode == 2
    assert "The schema voltaloop_shared of the database holds a campaign that was begun in" in (
        other.stderr
    )
    assert "another name or store.schema" in other.stderr
    assert call(tmp_path, "status", "runs/rival").returncode == 2
    file.write_text(file.read_text().replace("url:", "schema: rival_1\n  url:"))
    rival_run = start(tmp_path, "run", "shared.yaml", "--out", "runs/rival")
    wait_for_labels(CampaignFolder(tmp_path / "runs" / "rival"), 1)
    rival_run.send_signal(signal.SIGTERM)
    out, err = rival_run.communicate(timeout=90)
    assert rival_run.returncode == 130, err
    said += [other.stdout, other.stderr, out, err]

    assert not [text for text in said if server.password in text or "Traceback" in text]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if server.password.encode() in path.read_bytes()] == []


def test_a_variable_that_is_not_set_and_a_server_that_is_away_are_said(
    tmp_path: Path, server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_campaign(tmp_path, "alone", **SMALL)
    wrong = "wrong-password"
    monkeypatch.setenv(VARIABLE, server.url(password=wrong))
    refused = call(tmp_path, "run", "alone.yaml")
    assert refused.returncode == 2
    assert "password authentication failed" in refused.stderr
    assert wrong not in refused.stderr
    server.stop()
    monkeypatch.setenv(VARIABLE, server.url())
    away = call(tmp_path, "run", "alone.yaml")
    assert away.returncode == 2
    assert "cannot be reached" in away.stderr
    assert server.password not in away.stderr
    monkeypatch.delenv(VARIABLE)
    unset = call(tmp_path, "run", "alone.yaml")
    assert unset.returncode == 2
    assert f"store.url is ${VARIABLE}, but the environment variable {VARIABLE} is not set" in (
        unset.stderr
    )
    assert "Traceback" not in refused.stderr + away.stderr + unset.stderr
    server.start()

"""Before a campaign spends a week, it is tried in a minute, where it would run."""

import time
from pathlib import Path

import psutil
from small_campaign import call, write_campaign

LINES = ["label", "relax_reference", "train", "explore", "relax_committee", "score"]


def verdicts(text: str) -> dict[str, str]:
    """Task → works or fails, from the table."""
    rows = [line.split() for line in text.splitlines()]
    return {row[1]: row[2] for row in rows if len(row) > 2 and row[2] in {"works", "fails"}}


def test_a_campaign_that_can_run_is_said_to_be_ready(tmp_path: Path) -> None:
    parameters = {"file": str(tmp_path / "counts")}
    write_campaign(
        tmp_path,
        "ready",
        reference={"calculator": "pair_oxide:Counted", "parameters": parameters},
    )
    told = call(tmp_path, "check", "ready.yaml")
    assert told.returncode == 0, told.stdout + told.stderr
    assert verdicts(told.stdout) == dict.fromkeys(LINES, "works")
    assert f"  reference: pair_oxide:Counted(file={str(tmp_path / 'counts')!r})" in told.stdout
    assert "Ready. Go on with: voltaloop run ready.yaml" in told.stdout
    assert (tmp_path / "counts").read_text().count("begin") > 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counts", "ready.yaml"]
    assert_nobody_works_in(tmp_path)


def assert_nobody_works_in(folder: Path) -> None:
    """Shortly after the program: who ends its workers outlives it by a moment."""
    until = time.monotonic() + 20
    while left := [one for one in psutil.process_iter() if is_in(one, folder)]:
        assert time.monotonic() < until, left
        time.sleep(0.2)


def is_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(folder)
    except psutil.Error:
        return False


def test_a_reference_that_cannot_label_is_found_and_the_rest_is_tried(tmp_path: Path) -> None:
    reference = {"calculator": "pair_oxide:Licensed", "parameters": {"licence": "/no/licence"}}
    write_campaign(tmp_path, "broken", reference=reference)
    told = call(tmp_path, "check", "broken.yaml")
    assert told.returncode == 1
    broken = {"label": "fails", "relax_reference": "fails"}
    assert verdicts(told.stdout) == {**dict.fromkeys(LINES, "works"), **broken}
    assert "label in pool label: engine_failed: RuntimeError: the licence server does not" in (
        told.stdout
    )
    assert "Ready" not in told.stdout
    assert "Traceback" not in told.stdout + told.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["broken.yaml"]


def test_a_task_that_takes_longer_than_the_patience_is_ended(tmp_path: Path) -> None:
    parameters = {"file": str(tmp_path / "counts"), "seconds": 120.0}
    reference = {"calculator": "pair_oxide:Counted", "parameters": parameters}
    write_campaign(tmp_path, "slow", reference=reference)
    told = call(tmp_path, "check", "slow.yaml", "--patience", "20s")
    assert told.returncode == 1
    assert verdicts(told.stdout)["label"] == "fails"
    assert verdicts(told.stdout)["train"] == "works"
    assert "relax_reference in pool label: not tried: the pool is not free" in told.stdout
    assert "label in pool label: no result within 20 s" in told.stdout
    assert_nobody_works_in(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counts", "slow.yaml"]

"""Somebody compares potentials, of which some cannot be used, and comes back for more."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_campaign import SUPPORT, call

sys.path.append(str(SUPPORT))

from labelled_oxide import TINY, compare_data
from odd_potentials import make_known


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_known(tmp_path / "site")
    path = os.pathsep.join([str(SUPPORT), str(tmp_path / "site")])
    monkeypatch.setattr("small_campaign.SUPPORT", path)
    return tmp_path


def outcomes(folder: Path) -> dict[str, tuple[str, str]]:
    runs = json.loads((folder / "runs/mixed/compare.json").read_text())["runs"]
    return {run["potential"]: (run["outcome"], run["reason"]) for run in runs}


def test_labels_of_a_campaign_compare_what_works_and_say_why_the_rest_does_not(
    folder: Path, finished: Path
) -> None:
    potentials: list[dict[str, Any]] = [
        TINY,
        {"engine": "dying"},
        {"engine": "refusing"},
        {"engine": "absent"},
        {"engine": "sleepy", "task_limit": "2s"},
    ]
    data = compare_data(
        "mixed",
        labels={"campaign": str(finished / "runs/pair"), "origins": "all"},
        train_sizes="all",
        potentials=potentials,
    )
    (folder / "mixed.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    done = call(folder, "compare", "mixed.yaml")
    assert done.returncode == 0, done.stderr
    assert "Odd potentials are for tests only." in done.stderr
    found = outcomes(folder)
    assert found["pod"] == ("finished", "")
    assert found["dying"][0] == "failed"
    assert "exit code 7" in found["dying"][1]
    assert found["refusing"] == ("failed", "ValueError: these frames are not to its taste")
    assert found["absent"][0] == "not installed"
    assert found["absent"][1].endswith("pip install absent")
    assert "time limit of 2 s" in found["sleepy"][1]
    for words in ("dying failed:", "absent not installed:", "Trained on", "compare.html"):
        assert words in done.stdout
    assert not (folder / "runs/mixed/scratch").exists()


def test_finished_runs_are_kept_when_a_potential_is_added(folder: Path) -> None:
    from labelled_oxide import write_labelled

    write_labelled(folder / "labels.xyz", 24)
    seconds = []
    for potentials in ([TINY], [TINY, {"engine": "refusing"}]):
        data = compare_data("mixed", train_sizes=[12], potentials=potentials)
        (folder / "mixed.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
        done = call(folder, "compare", "mixed.yaml")
        assert done.returncode == 0, done.stderr
        runs = json.loads((folder / "runs/mixed/compare.json").read_text())["runs"]
        seconds.append(runs[0]["train_s"])
    assert seconds[0] == seconds[1]
    assert outcomes(folder)["refusing"][0] == "failed"

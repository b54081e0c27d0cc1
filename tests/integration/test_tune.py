"""Somebody searches for a better basis, is interrupted, goes on, and uses what was found."""

import signal
import sys
import time
from pathlib import Path

import pytest
import yaml
from small_campaign import SUPPORT, call, start

sys.path.append(str(SUPPORT))

from labelled_oxide import tune_data, write_labelled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_labelled(tmp_path / "labels.xyz", 24)
    return tmp_path


def trials(folder: Path, name: str) -> list[dict[str, float]]:
    import json

    found = json.loads((folder / f"runs/{name}/tune.json").read_text())
    return [trial["values"] for trial in found["trials"]]


def write(folder: Path, name: str) -> None:
    text = yaml.safe_dump(tune_data(name, trials=3), sort_keys=False)
    (folder / f"{name}.yaml").write_text(text)


def test_a_search_that_was_stopped_gives_what_it_would_have_given(folder: Path) -> None:
    for name in ("whole", "parts"):
        write(folder, name)
    done = call(folder, "tune", "whole.yaml")
    assert done.returncode == 0, done.stderr
    running = start(folder, "tune", "parts.yaml")
    assert running.stderr is not None
    until = time.monotonic() + 120
    while "trial 1:" not in running.stderr.readline():
        assert time.monotonic() < until
    running.send_signal(signal.SIGTERM)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130, told
    assert "Go on with: voltaloop tune parts.yaml" in told
    again = call(folder, "tune", "parts.yaml")
    assert again.returncode == 0, again.stderr
    assert trials(folder, "parts") == trials(folder, "whole")
    section = (folder / "runs/parts/best.yaml").read_text()
    (folder / "next.yaml").write_text(
        "name: next\nmaterial: {structure: LiNiO2}\n"
        "reference: {engine: ase, calculator: 'pair_oxide:PairOxide'}\n" + section
    )
    assert call(folder, "validate", "next.yaml").returncode == 0

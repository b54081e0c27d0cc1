"""Somebody searches for a better basis, is interrupted, goes on, and uses what was found."""

import json
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


def test_a_search_that_was_stopped_goes_on_and_gives_a_section_to_use(folder: Path) -> None:
    text = yaml.safe_dump(tune_data("basis", trials=2), sort_keys=False)
    (folder / "basis.yaml").write_text(text)
    running = start(folder, "tune", "basis.yaml")
    assert running.stderr is not None
    until = time.monotonic() + 200
    while "trial 1:" not in (line := running.stderr.readline()):
        assert time.monotonic() < until
    running.send_signal(signal.SIGTERM)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130, told
    assert "Go on with: voltaloop tune basis.yaml" in told
    again = call(folder, "tune", "basis.yaml")
    assert again.returncode == 0, again.stderr
    first, second = json.loads((folder / "runs/basis/tune.json").read_text())["trials"]
    assert f"(basis.rcut {first['values']['basis.rcut']})" in line
    assert second["failed"] == ""
    section = (folder / "runs/basis/best.yaml").read_text()
    (folder / "next.yaml").write_text(
        "name: next\nmaterial: {structure: LiNiO2}\n"
        "reference: {engine: ase, calculator: 'pair_oxide:PairOxide'}\n" + section
    )
    assert call(folder, "validate", "next.yaml").returncode == 0

"""Somebody wants to see how the potential learned, and where it is wrong."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from voltaloop.cli.app import app


def plot(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, ["plot", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def folder(finished: Path) -> Path:
    return finished / "runs" / "pair"


def test_training_curves_are_those_of_the_latest_committee(folder: Path, tmp_path: Path) -> None:
    page, data = tmp_path / "page.html", tmp_path / "curves.json"
    plot("training", folder, "--out", page, "--json", data)
    (curve,) = json.loads(data.read_text())
    assert curve["axis"] == "try"
    assert {"force", "held_out_force", "held_out_energy"} <= set(curve["columns"])
    assert all(value > 0 for value in curve["columns"]["held_out_force"])
    for key in ("plot-training", "plot-learning"):
        assert f'id="{key}"' in page.read_text(encoding="utf-8")


def test_parity_is_that_of_the_audit_by_species(folder: Path, tmp_path: Path) -> None:
    page, data = tmp_path / "page.html", tmp_path / "parity.json"
    plot("parity", folder, "--out", page, "--json", data)
    records = json.loads(data.read_text())
    answer = json.loads((folder / "answer.json").read_text())
    assert len(records) == answer["labels_audit"]
    errors = [
        (predicted - truth) ** 2
        for record in records
        for truth, predicted in zip(
            record["reference_forces"], record["predicted_forces"], strict=True
        )
    ]
    rmse = (sum(errors) / len(errors)) ** 0.5
    assert rmse == pytest.approx(answer["heldout_force_rmse_eV_per_A"])
    assert {symbol for record in records for symbol in record["species"]} == {"Li", "Ni", "O"}
    text = page.read_text(encoding="utf-8")
    assert "Force errors by species" in text
    assert 'id="plot-parity-species"' in text

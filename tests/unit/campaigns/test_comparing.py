import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from inline_bench import InlineBench
from labelled_oxide import TINY, compare_data, write_labelled

from voltaloop.campaigns.comparing import (
    Plan,
    compare,
    notices,
    plan_comparison,
    runs_planned,
    shuffled,
    write_comparison,
)
from voltaloop.campaigns.study_file import ComparedPotential, CompareFile, read_compare_file
from voltaloop.core import CampaignFileError, Frame, Label, MissingDependencyError
from voltaloop.core.training import Example
from voltaloop.report.comparison import ComparedRun

MEASURED = {
    "energy_rmse_meV_per_atom": 5.0,
    "force_rmse_eV_per_A": 0.1,
    "stress_rmse_GPa": None,
    "train_s": 2.0,
    "train_cpu_s": 1.0,
    "notes": [],
}


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("oxide") / "labels.xyz", 24)


@pytest.fixture
def folder(labels: Path, tmp_path: Path) -> Path:
    shutil.copy(labels, tmp_path)
    return tmp_path


def planned(folder: Path, **sections: Any) -> tuple[CompareFile, Plan]:
    path = folder / "one.yaml"
    path.write_text(yaml.safe_dump(compare_data("one", **sections), sort_keys=False))
    compared, _ = read_compare_file(path)
    return compared, plan_comparison(compared, folder)


def test_sizes_are_parts_of_each_other_and_nothing_is_trained_that_is_tested(
    folder: Path,
) -> None:
    compared, plan = planned(folder, splits=3, train_sizes=[5, "all"])
    assert runs_planned(compared, plan) == 6
    for split in range(3):
        small, large = (part for part in plan.parts if part.split == split)
        assert (len(small.train), len(large.train), len(large.test)) == (5, 16, 6)
        assert large.train[:5] == small.train
        assert small.test == large.test
        for part in (small, large):
            places = [*part.train, *part.more, *part.test]
            assert len(set(places)) == len(places)
            assert len(part.more) == 2
    assert sorted([*large.train, *large.more, *large.test]) == list(range(24))
    tests = {tuple(part.test) for part in plan.parts}
    assert len(tests) == 3


def test_splits_derive_from_the_seed(folder: Path) -> None:
    first, again, other = (planned(folder, seed=seed)[1].parts for seed in (1, 1, 2))
    assert first == again != other


def test_a_test_set_of_its_own_is_the_same_for_all_splits(folder: Path) -> None:
    write_labelled(folder / "test.xyz", 7, seed=9)
    _, plan = planned(folder, test={"labels": {"extxyz": "test.xyz"}}, splits=2)
    assert all(sorted(part.test) == list(range(24, 31)) for part in plan.parts)
    assert plan.test == "7 labelled frames of Li-O-Ni, 4 atoms each (7 with stress), from test.xyz"


def test_more_frames_than_there_are_cannot_be_had(folder: Path) -> None:
    with pytest.raises(
        CampaignFileError,
        match="train_sizes: 17 frames are wanted, but 24 labels, less 6 for the test and 2 for "
        "retraining, leave 16",
    ):
        planned(folder, train_sizes=[8, 17])
    with pytest.raises(CampaignFileError, match="1 frames to examine on are too few"):
        planned(folder, test={"share": 0.03})


def test_single_atoms_are_learned_from_first_and_never_tested() -> None:
    frames = [
        Frame(numbers=[8] * n, positions=np.zeros((n, 3)), cell=np.eye(3) * 20)
        for n in (3, 1, 3, 3, 1, 3)
    ]
    examples = [
        Example(key=str(i), frame=frame, label=Label(energy=0, forces=np.zeros((len(frame), 3))))
        for i, frame in enumerate(frames)
    ]
    learned, tested = shuffled(examples, 0.5, np.random.default_rng(1))
    assert learned[:2] == [1, 4]
    assert sorted([*learned[2:], *tested]) == [0, 2, 3, 5]
    assert len(tested) == 2


def run(
    folder: Path, answer: Any, **sections: Any
) -> tuple[list[ComparedRun], InlineBench, CompareFile]:
    """The rows as they were watched, for made-up measurements."""
    compared, plan = planned(folder, **sections)
    bench = InlineBench(folder / "study", answer)
    watched: list[ComparedRun] = []
    comparison = compare(compared, "name: one\n", plan, bench, watch=watched.append)
    assert sorted(map(repr, watched)) == sorted(map(repr, comparison.runs))
    paths = write_comparison(comparison, bench.folder)
    assert json.loads(paths["json"].read_text())["runs"][0]["potential"] == "pod"
    return list(comparison.runs), bench, compared


TWO = [TINY, {**TINY, "name": "other", "members": 4, "task_limit": "1m"}]


def test_every_potential_gets_the_same_frames_and_all_its_options(folder: Path) -> None:
    def answer(_: str, function: str, __: Any) -> Any:
        return {} if function == "is_installed" else MEASURED

    runs, bench, _ = run(folder, answer, potentials=TWO)
    assert [(one.potential, one.n_train) for one in runs] == [
        ("pod", 8),
        ("pod", 12),
        ("other", 8),
        ("other", 12),
    ]
    asked = [one for one in bench.asked if one.function == "compare"]
    for one, other in (asked[:2], asked[2:]):
        for part in ("examples", "species", "train", "more", "test"):
            assert one.inputs[part] == other.inputs[part]
    assert asked[0].inputs["potential"]["options"]["basis"]["inverse_degree"] == 8
    assert [one.task_limit_s for one in asked[:2]] == [None, 60.0]


def test_an_engine_that_is_not_there_is_a_row_that_says_how_to_get_it(folder: Path) -> None:
    def answer(_: str, function: str, inputs: Any) -> Any:
        if inputs["potential"]["options"]["members"] == 4:
            raise MissingDependencyError("Install it with: pip install other")
        return {} if function == "is_installed" else MEASURED

    runs, bench, _ = run(folder, answer, potentials=TWO)
    assert [one.outcome for one in runs] == ["finished"] * 2 + ["not installed"] * 2
    assert runs[-1].reason == "Install it with: pip install other"
    assert len(bench.asked) == 4


def test_a_run_that_fails_is_a_row_and_the_others_go_on(folder: Path) -> None:
    def answer(_: str, function: str, inputs: Any) -> Any:
        if function == "compare" and len(inputs["train"]) == 8:
            raise ValueError("too few frames")
        return {} if function == "is_installed" else MEASURED

    runs, _, _ = run(folder, answer)
    assert [(one.outcome, one.reason) for one in runs] == [
        ("failed", "ValueError: too few frames"),
        ("finished", ""),
    ]


def test_a_comparison_of_real_runs_is_not_computed_twice(folder: Path) -> None:
    compared, plan = planned(folder, train_sizes=[12])
    bench = InlineBench(folder / "study")
    first = compare(compared, "", plan, bench)
    (done,) = first.runs
    assert done.outcome == "finished", done.reason
    assert done.force_rmse_eV_per_A is not None
    assert done.force_rmse_eV_per_A < 0.5
    asked = len(bench.asked)
    again = compare(compared, "", plan, bench)
    assert [one.function for one in bench.asked[asked:]] == ["is_installed"]
    assert again.runs == first.runs


def test_a_notice_is_told_once() -> None:
    section = ComparedPotential(engine="pod")
    assert notices([section, section]) == []
    both = [ComparedPotential(engine="gap", name=name) for name in "ab"]
    (notice,) = notices(both)
    assert "non-commercial" in notice

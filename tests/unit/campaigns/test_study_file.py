import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from voltaloop.campaigns.study_file import (
    read_compare_file,
    read_tune_file,
    with_values,
)
from voltaloop.core import CampaignFileError

sys.path.append(str(Path(__file__).parents[2] / "support"))

from labelled_oxide import TINY, compare_data, tune_data


def written(folder: Path, data: Any) -> Path:
    path = folder / "study.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data, sort_keys=False))
    return path


def compare_refusal(folder: Path, **sections: Any) -> str:
    with pytest.raises(CampaignFileError) as caught:
        read_compare_file(written(folder, compare_data("one", **sections)))
    return str(caught.value)


def tune_refusal(folder: Path, **sections: Any) -> str:
    with pytest.raises(CampaignFileError) as caught:
        read_tune_file(written(folder, tune_data("one", **sections)))
    return str(caught.value)


def test_potentials_are_called_by_their_engine_unless_they_have_a_name(tmp_path: Path) -> None:
    potentials = [TINY, {**TINY, "name": "other", "task_limit": "5m"}]
    compared, _ = read_compare_file(written(tmp_path, compare_data("c", potentials=potentials)))
    assert [one.title for one in compared.potentials] == ["pod", "other"]
    assert [one.task_limit for one in compared.potentials] == [None, 300.0]


@pytest.mark.parametrize(
    ("sizes", "read"), [("all", ["all"]), (50, [50]), ([25, "all"], [25, "all"])]
)
def test_sizes_are_numbers_of_frames_or_all(tmp_path: Path, sizes: Any, read: list[Any]) -> None:
    compared, _ = read_compare_file(written(tmp_path, compare_data("c", train_sizes=sizes)))
    assert compared.train_sizes == read


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"potentials": [TINY, TINY]}, "two potentials are called 'pod'"),
        ({"potentials": [{"engine": "gup"}]}, "Unknown potential 'gup'. Did you mean 'gap'?"),
        (
            {"potentials": [{**TINY, "membrs": 3}]},
            "unknown key 'potentials.0.membrs'. Did you mean 'members'?",
        ),
        ({"train_sizes": [8, 0]}, "expected numbers of frames or all, got [8, 0]"),
        ({"train_sizes": [8, 8]}, "a size stands twice in [8, 8]"),
        ({"test": {"share": 0.2, "labels": {"extxyz": "a"}}}, "expected either share or labels"),
        ({"labels": {}}, "expected one of campaign, extxyz, ase_db, deepmd, got none of them"),
        ({"labels": {"campaign": "a", "extxyz": "b"}}, "got campaign and extxyz"),
        (
            {"labels": {"deepmd": "a", "box_A": 40}},
            "'box_A' goes with extxyz and ase_db, not with deepmd",
        ),
        ({"splits": 0}, "splits: Input should be greater than 0, got 0"),
        ({"sedd": 1}, "unknown key 'sedd'. Did you mean 'seed'?"),
    ],
)
def test_a_comparison_says_what_is_wrong(
    tmp_path: Path, sections: dict[str, Any], words: str
) -> None:
    assert words in compare_refusal(tmp_path, **sections)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        (
            {"search": {"basis.rcutt": {"low": 3.0, "high": 4.0}}},
            "unknown option 'search.basis.rcutt'. Did you mean 'rcut'?",
        ),
        (
            {"search": {"member": {"low": 3, "high": 4}}},
            "unknown option 'search.member'. Did you mean 'members'?",
        ),
        (
            {"search": {"members.most": {"low": 3, "high": 4}}},
            "'members' is a value and has no option 'most' inside",
        ),
        (
            {"search": {"members": {"low": 1, "high": 4}}},
            "search.members tries 1:\n  - search.members: Input should be greater than or equal",
        ),
        ({"search": {"basis": {"choices": ["small", "huge"]}}}, "search.basis tries 'huge'"),
        (
            {"potential": {"engine": "pod", "basis": "small"}},
            "search.basis.rcut: potential gives 'small' where this option would lie",
        ),
        ({"search": {"basis.rcut": {"low": 4, "high": 3}}}, "low (4) must be below high (3)"),
        ({"search": {"basis.rcut": {"low": 0, "high": 3, "log": True}}}, "log needs a low above 0"),
        (
            {"search": {"basis.rcut": {"low": 3, "high": 5, "step": 0.5}}},
            "step of whole numbers must be one",
        ),
        (
            {"search": {"basis.rcut": {"low": 3.0, "high": 5.0, "step": 0.7}}},
            "steps of 0.7 do not lead from 3.0 to 5.0",
        ),
        ({"search": {"basis.rcut": 4.0}}, "expected {low: ..., high: ...}"),
        ({"search": {}}, "search: Dictionary should have at least 1 item"),
        ({"validation": {}}, "expected either folds or share"),
        ({"sampler": "tpes"}, "sampler: Input should be 'tpe', 'nsga2' or 'random'"),
    ],
)
def test_a_search_says_what_is_wrong(tmp_path: Path, sections: dict[str, Any], words: str) -> None:
    assert words in tune_refusal(tmp_path, **sections)


def test_what_only_some_settings_break_is_left_to_the_trials(tmp_path: Path) -> None:
    search = {"basis.twobody": {"low": 1, "high": 5}, "basis.threebody": {"low": 1, "high": 5}}
    tuned, _ = read_tune_file(written(tmp_path, tune_data("t", search=search)))
    assert list(tuned.search) == ["basis.twobody", "basis.threebody"]


def test_whole_numbers_are_those_of_whole_limits(tmp_path: Path) -> None:
    search = {"members": {"low": 3, "high": 9}, "basis.rcut": {"low": 3.0, "high": 9}}
    tuned, _ = read_tune_file(written(tmp_path, tune_data("t", search=search)))
    assert [one.whole for one in tuned.search.values()] == [True, False]


def test_what_is_no_mapping_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(CampaignFileError, match=r"expected keys such as name, labels and search"):
        read_tune_file(written(tmp_path, "- a\n"))
    with pytest.raises(CampaignFileError, match="There is no file"):
        read_tune_file(tmp_path / "none.yaml")


def test_dotted_names_set_nested_options_and_leave_the_others() -> None:
    options = {"basis": {"rcut": 4.0, "twobody": 3}, "members": 8}
    changed = with_values(options, {"basis.rcut": 5.0, "input.loss.start": 1})
    assert changed == {
        "basis": {"rcut": 5.0, "twobody": 3},
        "members": 8,
        "input": {"loss": {"start": 1}},
    }
    assert options["basis"] == {"rcut": 4.0, "twobody": 3}

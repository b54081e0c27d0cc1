import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from inline_bench import InlineBench
from labelled_oxide import tune_data, write_labelled

from voltaloop.campaigns import parse_campaign
from voltaloop.campaigns.measuring import key_of
from voltaloop.campaigns.study_file import TuneFile, read_tune_file
from voltaloop.campaigns.tuning import (
    GIVE_UP_AFTER,
    TunePlan,
    best_section,
    plan_tuning,
    tune,
    write_tuning,
)
from voltaloop.core import CampaignFileError, MissingDependencyError
from voltaloop.report.tuning import Trial, Tuning

SEARCH = {
    "basis.rcut": {"low": 3.0, "high": 5.0},
    "basis.twobody": {"low": 2, "high": 6},
    "members": {"choices": [3, 4]},
}


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("oxide") / "labels.xyz", 24)


@pytest.fixture
def folder(labels: Path, tmp_path: Path) -> Path:
    shutil.copy(labels, tmp_path)
    return tmp_path


def planned(folder: Path, **sections: Any) -> tuple[TuneFile, TunePlan]:
    path = folder / "one.yaml"
    data = tune_data("one", **{"search": SEARCH, **sections})
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    tuned, _ = read_tune_file(path)
    return tuned, plan_tuning(tuned, folder)


class Valley:
    """Made-up errors: energies are best at rcut 4.5, forces at 3.5; two-body 5 breaks.

    ``stop_after``: measurements until somebody presses Ctrl-C.
    """

    def __init__(self, stop_after: int = 1000) -> None:
        self.left = stop_after
        self.bench: InlineBench | None = None

    def __call__(self, _: str, function: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        basis = inputs["potential"]["options"]["basis"]
        if basis["twobody"] == 5:
            raise ValueError("five is not to be")
        found = {
            "energy_rmse_meV_per_atom": 2 + 10 * abs(basis["rcut"] - 4.5),
            "force_rmse_eV_per_A": 0.1 + abs(basis["rcut"] - 3.5),
            "stress_rmse_GPa": None,
            "train_s": 1.0,
            "train_cpu_s": 1.0,
        }
        assert self.bench is not None
        self.bench.store.results_put(key_of(function, inputs), found)
        return found


def bench_of(folder: Path, valley: Valley) -> InlineBench:
    valley.bench = InlineBench(folder, valley)
    return valley.bench


def search(folder: Path, place: str, valley: Valley | None = None, **sections: Any) -> Tuning:
    tuned, plan = planned(folder, **sections)
    return tune(tuned, "the file", plan, bench_of(folder / place, valley or Valley()))


def settings(tuning: Tuning) -> list[Mapping[str, Any]]:
    return [trial.values for trial in tuning.trials]


def test_the_search_never_sees_the_test(folder: Path) -> None:
    _, plan = planned(folder, validation={"folds": 3})
    assert len(plan.test) == 5
    scored = [index for _, own in plan.parts for index in own]
    assert sorted(scored) == sorted(plan.search)
    assert not set(plan.search) & set(plan.test)
    for learned, own in plan.parts:
        assert not set(learned) & set(own)
        assert sorted([*learned, *own]) == sorted(plan.search)
    assert plan.scoring == "3-fold cross-validation over 19 frames"


def test_a_held_out_share_is_one_part(folder: Path) -> None:
    _, plan = planned(folder, validation={"share": 0.3})
    ((learned, own),) = plan.parts
    assert (len(learned), len(own)) == (13, 6)
    assert plan.scoring == "a held-out share of 6 frames, trained on 13 others"


def test_a_test_set_of_its_own_leaves_all_labels_to_the_search(folder: Path) -> None:
    write_labelled(folder / "test.xyz", 3, seed=5)
    _, plan = planned(folder, test={"labels": {"extxyz": "test.xyz"}})
    assert sorted(plan.search) == list(range(24))
    assert plan.test == [24, 25, 26]


def test_too_few_frames_for_the_folds_are_refused(folder: Path) -> None:
    write_labelled(folder / "labels.xyz", 4)
    with pytest.raises(CampaignFileError, match="3 frames of the search are too few"):
        planned(folder, validation={"folds": 5})


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_the_same_seed_gives_the_same_trials(folder: Path, sampler: str) -> None:
    first, again, other = (
        search(folder, place, sampler=sampler, trials=14, seed=seed)
        for place, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert settings(first) == settings(again) != settings(other)


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(folder: Path) -> None:
    whole = search(folder, "whole", trials=14)
    for left in (4, 5, 1000):
        try:
            resumed = search(folder, "parts", Valley(stop_after=left), trials=14)
        except KeyboardInterrupt:
            continue
    assert settings(resumed) == settings(whole)
    assert resumed.best == whole.best


def test_more_trials_go_on_from_those_there_are(folder: Path) -> None:
    few = search(folder, "study", trials=3)
    more = search(folder, "study", trials=6)
    assert settings(more)[:3] == settings(few)
    assert len(more.trials) == 6


def test_another_search_in_the_same_folder_begins_anew(folder: Path) -> None:
    search(folder, "study", trials=3)
    other = search(folder, "study", trials=2, search={"basis.rcut": {"low": 3.0, "high": 4.0}})
    assert [set(one) for one in settings(other)] == [{"basis.rcut"}] * 2


def test_values_are_what_the_file_allows_and_what_is_written_down(folder: Path) -> None:
    search_for = {
        **SEARCH,
        "basis.rin": {"low": 0.01, "high": 1.0, "log": True},
        "basis.inverse_degree": {"low": 2, "high": 10, "step": 4},
        "basis.bessel_degree": {"low": 1, "high": 8, "log": True},
    }
    tuning = search(folder, "study", trials=12, search=search_for, sampler="random")
    for values in settings(tuning):
        assert 3.0 <= values["basis.rcut"] <= 5.0
        assert float(f"{values['basis.rcut']:.4g}") == values["basis.rcut"]
        assert type(values["basis.twobody"]) is int
        assert values["members"] in (3, 4)
        assert 0.01 <= values["basis.rin"] <= 1.0
        assert values["basis.inverse_degree"] in (2, 6, 10)
        assert values["basis.bessel_degree"] in range(1, 9)


def test_choices_may_be_sections(folder: Path) -> None:
    choices = ["small", {"rcut": 4.0, "twobody": 2, "threebody": 0, "fourbody": 0}]
    tuned, plan = planned(
        folder,
        potential={"engine": "pod", "members": 3},
        search={"basis": {"choices": choices}},
        trials=6,
    )
    seen: list[Any] = []

    def answer(_: str, __: str, inputs: Any) -> Any:
        seen.append(inputs["potential"]["options"].get("basis", "the default"))
        quantities = ("energy_rmse_meV_per_atom", "force_rmse_eV_per_A", "stress_rmse_GPa")
        return dict.fromkeys(quantities, 1.0)

    tune(tuned, "", plan, InlineBench(folder / "study", answer))
    assert all(one in [*choices, "the default"] for one in seen)
    assert {type(one) for one in seen} == {str, dict}


def test_a_failed_trial_keeps_its_reason_also_in_the_next_session(folder: Path) -> None:
    first = search(folder, "study", trials=14)
    failed = [trial for trial in first.trials if trial.failed]
    assert failed
    assert all(trial.values["basis.twobody"] == 5 for trial in failed)
    assert {trial.failed for trial in failed} == {"ValueError: five is not to be"}
    again = search(folder, "study", trials=14)
    assert [trial.failed for trial in again.trials] == [trial.failed for trial in first.trials]


def test_a_search_in_which_nothing_works_gives_up_and_says_why(folder: Path) -> None:
    only_five = {"basis.twobody": {"choices": [5, 5.0]}}
    with pytest.raises(
        CampaignFileError,
        match=f"The first {GIVE_UP_AFTER} settings all failed, the last one with: ValueError: five",
    ):
        search(folder, "study", trials=20, search=only_five)


def test_the_wall_time_ends_the_search(folder: Path) -> None:
    assert search(folder, "study", trials=14, wall_time="0.001s").trials == []


def test_the_present_setting_is_measured_first_and_may_win(folder: Path) -> None:
    watched: list[Trial] = []
    tuned, plan = planned(
        folder,
        potential={
            "engine": "pod",
            "members": 3,
            "basis": {"rcut": 4.5, "twobody": 4, "threebody": 2, "fourbody": 0},
        },
        search={"basis.inverse_degree": {"low": 2, "high": 8}},
        trials=3,
    )
    bench = bench_of(folder / "study", Valley())
    tuning = tune(tuned, "", plan, bench, watch=watched.append)
    assert [trial.number for trial in watched] == [None, 0, 1, 2]
    assert tuning.best is tuning.present
    assert tuning.examined["best"] == tuning.examined["present"]


def test_the_best_and_the_present_setting_are_examined_on_the_test_alone(folder: Path) -> None:
    tuned, plan = planned(folder, trials=14)
    bench = bench_of(folder / "study", Valley())
    tuning = tune(tuned, "", plan, bench)
    on_test = [one for one in bench.asked if one.inputs["parts"] == [[plan.search, plan.test]]]
    assert len(on_test) == 2
    assert bench.asked[-2:] == on_test
    assert tuning.best is not None
    assert tuning.best.product == min(one.product for one in tuning.candidates)


def test_an_engine_that_is_not_installed_ends_the_search_at_once(folder: Path) -> None:
    def answer(*_: Any) -> Any:
        raise MissingDependencyError("Install it with: pip install it")

    tuned, plan = planned(folder)
    with pytest.raises(MissingDependencyError, match="pip install it"):
        tune(tuned, "", plan, InlineBench(folder / "study", answer))


def test_a_real_search_writes_a_section_that_a_campaign_takes(folder: Path) -> None:
    tuned, plan = planned(folder, trials=3, search={"basis.rcut": {"low": 3.0, "high": 5.0}})
    bench = InlineBench(folder / "study")
    tuning = tune(tuned, "the file", plan, bench)
    assert not any(trial.failed for trial in tuning.trials), tuning.trials
    paths = write_tuning(tuning, bench.folder)
    found = yaml.safe_load(paths["best"].read_text())
    assert found == {"potential": best_section(tuning)}
    campaign = parse_campaign(
        "name: next\nmaterial: {structure: LiNiO2}\n" + paths["best"].read_text(), "next"
    )
    assert tuning.best is not None
    rcut = campaign.potential.options["basis"]["rcut"]
    assert rcut == tuning.best.values.get("basis.rcut", 4.5)
    told = json.loads(paths["json"].read_text())
    assert told["examined"]["best"]["force_rmse_eV_per_A"] > 0
    assert len(told["trials"]) == 3

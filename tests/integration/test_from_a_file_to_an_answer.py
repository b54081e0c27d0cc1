"""A battery scientist writes a campaign file, runs it and gets an answer with error bars."""

import json
import math
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from small_campaign import SUPPORT, call, events_of

from voltaloop.campaigns import CampaignFolder, new_mind
from voltaloop.thinker import replay

Json = dict[str, Any]


@pytest.fixture
def folder(finished: Path) -> Path:
    return finished / "runs" / "pair"


@pytest.fixture
def answer(folder: Path) -> Json:
    found: Json = json.loads((folder / "answer.json").read_text())
    return found


def is_number(value: object) -> bool:
    return isinstance(value, float | int) and math.isfinite(value)


def is_list_of(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and len(value) == 3 and all(map(check, value))


def is_share(value: object) -> bool:
    return isinstance(value, float | int) and 0 <= value <= 1


def is_step(value: object) -> bool:
    keys = {"x_from", "x_to", "voltage_V", "err"}
    return isinstance(value, dict) and set(value) == keys and all(map(is_number, value.values()))


PROMISED: dict[str, Callable[[object], bool]] = {
    "campaign": lambda value: value == "pair",
    "reference": lambda value: isinstance(value, dict) and value["engine"] == "ase",
    "potential": lambda value: isinstance(value, dict) and value["engine"] == "pod",
    "x": lambda value: value == [1.0, 0.5, 0.0],
    "volume_A3_per_fu": is_list_of(is_number),
    "volume_err": is_list_of(is_number),
    "a_A": is_list_of(is_number),
    "c_A": is_list_of(is_number),
    "reference_volume_A3_per_fu": is_list_of(is_number),
    "voltage_steps": lambda value: isinstance(value, list) and all(map(is_step, value)),
    "average_voltage_V": is_number,
    "average_voltage_err": is_number,
    "reference_average_voltage_V": is_number,
    "volume_change_percent": is_number,
    "volume_change_err": is_number,
    "reference_volume_change_percent": is_number,
    "labels": lambda value: value == 20,
    "labels_random": lambda value: isinstance(value, int) and value >= 1,
    "labels_refused": lambda value: value == 0,
    "heldout_energy_rmse_meV_per_atom": is_number,
    "heldout_force_rmse_eV_per_A": is_number,
    "coverage95_energy": is_share,
    "coverage95_force": is_share,
    "coverage95_energy_raw": is_share,
    "coverage95_force_raw": is_share,
    "wall_s": is_number,
    "stopped_because": lambda value: value == "labels",
}


def test_the_run_ends_well_and_says_the_answer_and_where_it_is(finished: Path) -> None:
    told = json.loads((finished / "done.json").read_text())
    assert told["code"] == 0, told["err"]
    assert "When all its lithium leaves, LiNiO₂ loses " in told["out"]
    assert "Answer: runs/pair/answer.json\nReport: runs/pair/report.html\n" in told["out"]
    assert "labels 20/20  audit 6/6" in told["err"]
    assert "Warning" not in told["err"]


@pytest.mark.parametrize("key", PROMISED)
def test_the_answer_holds_every_promised_value(answer: Json, key: str) -> None:
    assert PROMISED[key](answer[key]), answer[key]


def test_the_answer_agrees_with_the_reference_s_own(answer: Json) -> None:
    for own, found in zip(
        answer["reference_volume_A3_per_fu"], answer["volume_A3_per_fu"], strict=True
    ):
        assert found == pytest.approx(own, rel=0.02)
    assert answer["reference_volume_change_percent"] < -5
    assert answer["volume_change_percent"] == pytest.approx(
        answer["reference_volume_change_percent"], abs=1.5
    )
    assert answer["average_voltage_V"] == pytest.approx(
        answer["reference_average_voltage_V"], abs=0.1
    )
    assert answer["heldout_energy_rmse_meV_per_atom"] < 20
    assert answer["coverage95_force"] > answer["coverage95_force_raw"]


def test_values_of_the_answer_belong_together(answer: Json) -> None:
    full, _, empty = answer["volume_A3_per_fu"]
    assert answer["volume_change_percent"] == pytest.approx(100 * (empty / full - 1))
    steps = answer["voltage_steps"]
    weighted = sum(s["voltage_V"] * (s["x_from"] - s["x_to"]) for s in steps)
    assert weighted == pytest.approx(answer["average_voltage_V"])
    assert all(a["voltage_V"] <= b["voltage_V"] for a, b in pairwise(steps))
    for volume, a, c in zip(answer["volume_A3_per_fu"], answer["a_A"], answer["c_A"], strict=True):
        assert volume == pytest.approx(math.sqrt(3) / 2 * a * a * c / 3, rel=1e-3)
    assert all(err > 0 for err in answer["volume_err"])


def test_the_report_is_one_page_that_opens_offline(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    outside = re.findall(r"""(?:src|href)=["']?(?:https?:)?//[^"' >]+""", page.split("<script")[0])
    assert outside == []
    assert not re.search(r"""<(?:script|link|img)[^>]+(?:src|href)=["']?(?:https?:)?//""", page)
    assert "PairOxide" in page


def test_the_status_says_that_it_is_finished(finished: Path) -> None:
    told = call(finished, "status", "runs/pair")
    assert told.returncode == 0
    assert told.stdout.startswith("pair: finished (LiNiO2, 16 atoms, seed 1)")
    assert "labels (budget 20)" in told.stdout
    assert "answer: When all its lithium leaves" in told.stdout


def test_running_again_computes_nothing_and_gives_the_same_answer(
    finished: Path, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    again = tmp_path / "copy" / "runs" / "pair"
    before = events_of(again)
    begun = time.monotonic()
    told = call(tmp_path / "copy", "run", "pair.yaml")
    assert time.monotonic() - begun < 30
    assert told.returncode == 0
    assert events_of(again) == before
    for name in ("answer.json", "campaign.yaml"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    assert "Answer: runs/pair/answer.json" in told.stdout


def test_a_replay_of_the_log_makes_the_same_decisions(folder: Path) -> None:
    campaign_folder = CampaignFolder(folder)
    campaign, _ = campaign_folder.campaign()
    assert replay(events_of(folder), new_mind(campaign, campaign_folder)) == []


def test_a_doctored_log_is_noticed(folder: Path) -> None:
    campaign_folder = CampaignFolder(folder)
    campaign, _ = campaign_folder.campaign()
    events = events_of(folder)
    place = next(i for i, e in enumerate(events) if e.kind == "stopped")
    events[place] = replace(events[place], data={"reason": "certain"})
    (mismatch,) = replay(events, new_mind(campaign, campaign_folder))
    assert mismatch.seq == place + 1
    assert mismatch.logged == 'stopped {"reason":"certain"}'
    assert mismatch.replayed == 'stopped {"reason":"labels"}'


def test_every_result_is_there_once_and_nothing_failed(folder: Path) -> None:
    events = events_of(folder)
    ended = Counter(e.data["id"] for e in events if e.kind == "finished")
    submitted = Counter(e.data["task"]["id"] for e in events if e.kind == "submitted")
    assert ended == submitted
    assert set(ended.values()) == {1}
    assert [e for e in events if e.kind == "failed"] == []


def test_exploring_and_training_overlap_with_other_work(folder: Path) -> None:
    under_way: Counter[str] = Counter()
    pools: dict[str, str] = {}
    together = 0
    for event in events_of(folder):
        if event.kind == "submitted":
            pools[event.data["task"]["id"]] = event.data["task"]["pool"]
            under_way[event.data["task"]["pool"]] += 1
        if event.kind == "finished":
            under_way[pools[event.data["id"]]] -= 1
        together = max(together, sum(count > 0 for count in under_way.values()))
    assert together >= 2


def test_exported_labels_are_what_the_reference_says(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(SUPPORT), *sys.path])
    from pair_oxide import PairOxide

    told = call(finished, "export", "runs/pair", "--out", str(tmp_path / "labels.xyz"))
    assert told.returncode == 0
    assert "Wrote 26 labelled frames to " in told.stdout
    found = ase.io.read(tmp_path / "labels.xyz", index=":")
    assert Counter(atoms.info["origin"] for atoms in found)["audit"] == 6
    for atoms in found:
        own = atoms.copy()
        own.calc = PairOxide()
        assert atoms.get_potential_energy() == pytest.approx(own.get_potential_energy(), abs=1e-5)
        np.testing.assert_allclose(atoms.get_forces(), own.get_forces(), atol=1e-5)
        np.testing.assert_allclose(atoms.get_stress(), own.get_stress(), atol=1e-7)

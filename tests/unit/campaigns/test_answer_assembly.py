import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from puppet import Puppet, campaign_text

from voltaloop.campaigns import parse_campaign
from voltaloop.campaigns.answer import build_answer, estimate
from voltaloop.campaigns.cases import Cases
from voltaloop.campaigns.state import CampaignState, Labelled, Origin
from voltaloop.core import Task

UNITS = 4
LITHIUM = -1.9
Z95 = 1.959963984540054
CALIBRATIONS = {
    "energy": {"slope": 3.0, "floor": 0.002},
    "force": {"slope": 2.0, "floor": 0.1},
    "stress": {"slope": 4.0, "floor": 0.001},
}
VOLUMES = {1.0: 34.0, 0.5: 33.0, 0.0: 31.0}
ENERGIES = {1.0: -22.0, 0.5: -19.3, 0.0: -16.0}
MEMBERS = {"energy": (-0.008, 0.0, 0.008), "volume": (-0.4, 0.0, 0.4)}
COMPRESSIBILITY = 120.0


def relaxed(
    x: float, *, above: float = 0.0, layered: bool = True, **changes: Any
) -> dict[str, Any]:
    """What a committee relaxation of the whole cell gives; ``above`` in eV per formula unit."""
    energy = UNITS * (ENERGIES[x] + above)
    volume = UNITS * VOLUMES[x]
    lengths = {"a": 2.88, "c": 14.2} if layered else {"a": None, "c": None}
    members = [
        {"energy": energy + e, "volume": volume + v, **lengths, "steps": 9, "converged": True}
        for e, v in zip(MEMBERS["energy"], MEMBERS["volume"], strict=True)
    ]
    return {
        "energy": energy,
        "volume": volume,
        **lengths,
        "compressibility": COMPRESSIBILITY,
        "members": members,
        **changes,
    }


def own(x: float, *, shift: float = 0.0, converged: bool = True) -> dict[str, Any]:
    """What the reference's own relaxation gives."""
    return {
        "energy": UNITS * (ENERGIES[x] + shift),
        "volume": UNITS * VOLUMES[x] * 1.01,
        "a": 2.89,
        "c": 14.3,
        "converged": converged,
    }


def labelled(origin: Origin, number: int) -> Labelled:
    name = f"{number:064x}.json"
    return Labelled(
        task=label_task(number),
        case=str(number),
        frame=name,
        label=name,
        origin=origin,
        x=1.0,
        temperature=None,
        energy_per_atom=-5.0,
        moment_per_metal=None,
        spin_alignment=None,
    )


def label_task(number: int) -> Task:
    inputs = {"frame": f"{number:064x}.json"}
    return Task(function="label", version=1, pool="label", inputs=inputs, title="label")


def one_in_quarantine() -> Cases:
    cases = Cases()
    refusal = {"refused": {"reason": "not_converged", "detail": ""}}
    cases.refuse(label_task(7), {"role": "uncertain"}, refusal)
    (case,) = cases.by_id.values()
    case.status = "quarantined"
    return cases


def state(**changes: Any) -> CampaignState:
    """Two orderings at x = 0.5 (the second lies higher), one each at 1 and 0."""
    contents = [1.0, 0.5, 0.5, 0.0]
    built = CampaignState(
        facts={
            "formula": "LiNiO2",
            "formula_units": UNITS,
            "orderings": [{"x": x, "n_atoms": round(UNITS * (3 + x))} for x in contents],
        },
        labels=[
            labelled(origin, i)
            for i, origin in enumerate(("start", "start", "relaxed", "uncertain", "random"))
        ],
        audit=[labelled("audit", 9)],
        cases=one_in_quarantine(),
        trainings=[{"calibrations": CALIBRATIONS}],
        relaxed={
            (0, 0): relaxed(1.0),
            (0, 1): relaxed(0.5),
            (0, 2): relaxed(0.5, above=0.05),
            (0, 3): relaxed(0.0),
        },
        reference_relaxed={0: own(1.0), 1: own(0.5), 2: own(0.5, shift=0.02), 3: own(0.0)},
        lithium={"energy": LITHIUM},
        score={
            "energy_rmse": 0.0041,
            "force_rmse": 0.109,
            "stress_rmse": 0.002,
            "coverage": {"energy_raw": 0.2, "energy": 0.95, "force_raw": 0.15, "force": 0.96},
        },
        stopped="labels",
    )
    return replace(built, **changes)


def answer_of(found: CampaignState) -> dict[str, Any]:
    campaign = parse_campaign(campaign_text(), "f")
    return build_answer(campaign, found)


def average(x1: float, x2: float) -> float:
    return -(ENERGIES[x1] - ENERGIES[x2] - (x1 - x2) * LITHIUM) / (x1 - x2)


def test_values_are_per_formula_unit_and_run_from_full_to_empty() -> None:
    answer = answer_of(state())
    assert answer["x"] == [1.0, 0.5, 0.0]
    assert answer["volume_A3_per_fu"] == [34.0, 33.0, 31.0]
    assert answer["energy_eV_per_fu"] == pytest.approx(list(ENERGIES.values()))
    assert answer["a_A"] == [2.88] * 3
    assert answer["c_A"] == [14.2] * 3


def test_the_lowest_ordering_of_a_content_is_taken_and_all_are_told() -> None:
    higher = {(0, 1): relaxed(0.5, above=0.3), (0, 2): relaxed(0.5)}
    answer = answer_of(state(relaxed=state().relaxed | higher))
    assert answer["energy_eV_per_fu"][1] == pytest.approx(ENERGIES[0.5])
    assert [o["ordering"] for o in answer["orderings"]] == [0, 1, 2, 3]
    assert answer["orderings"][1]["energy_eV_per_fu"] == pytest.approx(ENERGIES[0.5] + 0.3)


def test_the_average_voltage_is_that_of_the_formula_against_bcc_lithium() -> None:
    answer = answer_of(state())
    assert answer["average_voltage_V"] == pytest.approx(-(-22.0 + 16.0 + 1.9))
    assert answer["average_voltage_V"] == pytest.approx(average(1.0, 0.0))
    assert answer["lithium_metal_eV_per_atom"] == LITHIUM


def test_the_volume_change_is_that_from_full_to_empty_in_percent() -> None:
    assert answer_of(state())["volume_change_percent"] == pytest.approx(100 * (31 / 34 - 1))


def test_voltage_steps_follow_the_hull_and_fall_in_x() -> None:
    on_hull = {(0, 1): relaxed(0.5), (0, 2): relaxed(0.5, above=0.4)}
    answer = answer_of(state(relaxed=state().relaxed | on_hull))
    steps = answer["voltage_steps"]
    assert [(s["x_from"], s["x_to"]) for s in steps] == [(1.0, 0.5), (0.5, 0.0)]
    assert steps[0]["voltage_V"] == pytest.approx(average(1.0, 0.5))
    assert steps[1]["voltage_V"] == pytest.approx(average(0.5, 0.0))
    assert steps[0]["voltage_V"] < steps[1]["voltage_V"]
    assert [point["on_hull"] for point in answer["hull"]] == [True, True, True]


def test_a_content_above_the_hull_makes_one_step_of_two() -> None:
    above = {(0, 1): relaxed(0.5, above=0.5), (0, 2): relaxed(0.5, above=0.6)}
    answer = answer_of(state(relaxed=state().relaxed | above))
    assert [(s["x_from"], s["x_to"]) for s in answer["voltage_steps"]] == [(1.0, 0.0)]
    assert [point["on_hull"] for point in answer["hull"]] == [True, False, True]


def test_the_error_of_a_volume_is_the_scaled_spread_and_the_shared_bias() -> None:
    answer = answer_of(state())
    spread = CALIBRATIONS["stress"]["slope"] * 0.4 / UNITS
    shared = COMPRESSIBILITY / UNITS * CALIBRATIONS["stress"]["floor"]
    assert answer["volume_err"] == pytest.approx([Z95 * np.hypot(spread, shared)] * 3)


def test_the_error_of_the_voltage_holds_the_shared_bias_of_both_ends() -> None:
    shifted = relaxed(0.0)
    shifted["members"] = [
        {**member, "energy": member["energy"] - 2 * shift}
        for member, shift in zip(shifted["members"], MEMBERS["energy"], strict=True)
    ]
    answer = answer_of(state(relaxed=state().relaxed | {(0, 3): shifted}))
    spread = CALIBRATIONS["energy"]["slope"] * 2 * 0.008 / UNITS
    shared = CALIBRATIONS["energy"]["floor"] * np.hypot(4, 3)
    assert answer["average_voltage_err"] == pytest.approx(Z95 * np.hypot(spread, shared))


def test_what_all_members_share_cancels_in_the_spread_of_the_voltage() -> None:
    shared = CALIBRATIONS["energy"]["floor"] * np.hypot(4, 3)
    assert answer_of(state())["average_voltage_err"] == pytest.approx(Z95 * shared)


def test_the_reference_s_own_values_stand_beside_those_of_the_potential() -> None:
    answer = answer_of(state())
    assert answer["reference_volume_A3_per_fu"] == pytest.approx([34.34, 33.33, 31.31])
    assert answer["reference_average_voltage_V"] == pytest.approx(average(1.0, 0.0))
    assert answer["reference_volume_change_percent"] == pytest.approx(100 * (31 / 34 - 1))
    steps = answer["reference_voltage_steps"]
    assert [(s["x_from"], s["x_to"]) for s in steps] == [(1.0, 0.5), (0.5, 0.0)]


def test_reference_relaxations_that_did_not_converge_are_not_shown() -> None:
    found = {0: own(1.0), 1: own(0.5, converged=False), 2: {"refused": {"reason": "x"}}}
    answer = answer_of(state(reference_relaxed=found))
    assert answer["reference_volume_A3_per_fu"] == pytest.approx([34.34, None, None])
    assert answer["reference_a_A"] == [2.89, None, None]
    assert answer["reference_average_voltage_V"] is None
    assert answer["reference_volume_change_percent"] is None
    assert answer["reference_voltage_steps"] is None


def test_a_content_whose_relaxations_all_failed_is_left_out() -> None:
    refusal = {"refused": {"reason": "relaxation_failed", "detail": "ran away"}}
    answer = answer_of(state(relaxed=state().relaxed | {(0, 3): refusal}))
    assert answer["x"] == [1.0, 0.5]
    assert answer["average_voltage_V"] == pytest.approx(average(1.0, 0.5))


@pytest.mark.parametrize("lithium", [None, {"refused": {"reason": "engine_failed", "detail": ""}}])
def test_without_lithium_metal_there_is_no_voltage_but_all_the_rest(lithium: Any) -> None:
    answer = answer_of(state(lithium=lithium))
    assert answer["average_voltage_V"] is None
    assert answer["average_voltage_err"] is None
    assert answer["reference_average_voltage_V"] is None
    assert answer["voltage_steps"] == []
    assert answer["volume_change_percent"] == pytest.approx(100 * (31 / 34 - 1))


def test_where_there_are_no_layers_there_is_no_a_and_no_c() -> None:
    answer = answer_of(state(relaxed=state().relaxed | {(0, 3): relaxed(0.0, layered=False)}))
    assert answer["a_A"] == [2.88, 2.88, None]
    assert answer["c_err"][2] is None
    assert answer["c_err"][0] > 0
    json.dumps(answer, allow_nan=False)


def test_labels_are_counted_by_what_they_were_chosen_for() -> None:
    answer = answer_of(state())
    assert answer["labels"] == 5
    assert (answer["labels_start"], answer["labels_relaxed"], answer["labels_random"]) == (2, 1, 1)
    assert (answer["labels_audit"], answer["labels_refused"]) == (1, 1)


def test_errors_and_coverage_are_those_of_the_audit_in_people_s_units() -> None:
    answer = answer_of(state())
    assert answer["heldout_energy_rmse_meV_per_atom"] == pytest.approx(4.1)
    assert answer["heldout_force_rmse_eV_per_A"] == 0.109
    assert answer["heldout_stress_rmse_GPa"] == pytest.approx(0.002 * 160.21766208)
    assert (answer["coverage95_energy_raw"], answer["coverage95_energy"]) == (0.2, 0.95)
    assert (answer["coverage95_force_raw"], answer["coverage95_force"]) == (0.15, 0.96)
    assert answer["stopped_because"] == "labels"


def test_an_audit_without_stress_says_so() -> None:
    score = {**(state().score or {}), "stress_rmse": None}
    assert answer_of(state(score=score))["heldout_stress_rmse_GPa"] is None


def test_an_estimate_gives_the_same_as_the_answer_would() -> None:
    found, answer = estimate(state(), 0), answer_of(state())
    assert found == {name: answer[name] for name in found}
    assert set(found) == {
        "volume_change_percent",
        "volume_change_err",
        "average_voltage_V",
        "average_voltage_err",
    }


def test_an_estimate_says_what_it_does_not_know() -> None:
    without_lithium = estimate(state(lithium={"refused": {}}), 0)
    assert without_lithium["average_voltage_V"] is None
    assert without_lithium["volume_change_percent"] is not None
    refusal = {"refused": {"reason": "relaxation_failed", "detail": "ran away"}}
    nothing = dict.fromkeys(state().relaxed, refusal)
    assert set(estimate(state(relaxed=nothing), 0).values()) == {None}


def test_a_whole_campaign_s_answer_is_plain_json(tmp_path: Path) -> None:
    answer = Puppet(tmp_path).open().run().answer
    assert answer is not None
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer

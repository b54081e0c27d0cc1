from dataclasses import replace
from typing import Any

import pytest

from voltaloop.campaigns.judging import verdict
from voltaloop.campaigns.state import Labelled
from voltaloop.core import Task
from voltaloop.references import Gate

GATE = Gate()
PEERS = 8


def labelled(frame: int, **facts: Any) -> Labelled:
    """A label of LiNiO2 with 1 μB per nickel, all spins parallel."""
    name = f"{frame:064x}.json"
    task = Task(function="label", version=1, pool="label", inputs={"frame": name}, title="label")
    usual = Labelled(
        task=task,
        case=task.id,
        frame=name,
        label=name,
        origin="start",
        x=1.0,
        temperature=None,
        energy_per_atom=-5.0,
        moment_per_metal=1.0,
        spin_alignment=1.0,
    )
    return replace(usual, **facts)


def among_peers(one: Labelled, **facts: Any) -> tuple[str, str] | None:
    return verdict(one, [one, *(labelled(k, **facts) for k in range(1, PEERS + 1))], GATE)


def test_a_label_like_the_others_fits() -> None:
    assert among_peers(labelled(0, energy_per_atom=-4.9, moment_per_metal=1.02)) is None


def test_the_first_label_of_a_campaign_fits() -> None:
    one = labelled(0)
    assert verdict(one, [one], GATE) is None


def test_another_energy_for_the_same_geometry_is_taken_back() -> None:
    found = among_peers(labelled(1, energy_per_atom=-4.9))
    assert found is not None
    reason, detail = found
    assert reason == "energy_inconsistent"
    assert "the same geometry was labelled before with another energy: now +100.0 meV" in detail
    allowed = GATE.max_energy_repeat_eV_per_atom * 1000
    assert f"allowed is up to {allowed:g} (max_energy_repeat_eV_per_atom)" in detail


def test_energies_of_a_geometry_may_differ_by_what_the_gate_allows() -> None:
    within = 0.9 * GATE.max_energy_repeat_eV_per_atom
    assert among_peers(labelled(1, energy_per_atom=-5.0 - within)) is None


def test_other_geometries_may_have_any_energy() -> None:
    assert among_peers(labelled(0, energy_per_atom=-9.0)) is None


def test_a_moment_that_no_other_label_of_the_content_has_is_taken_back() -> None:
    found = among_peers(labelled(0, moment_per_metal=0.2))
    assert found is not None
    assert found[0] == "moments_jumped"
    assert "total moment of 0.2 μB per metal atom" in found[1]
    assert f"the median of {PEERS} labels of this lithium content is 1 μB" in found[1]


def test_a_few_spins_turned_round_are_taken_back() -> None:
    found = among_peers(labelled(0, spin_alignment=0.2))
    assert found is not None
    assert found[0] == "moments_jumped"
    assert "spins of the metal atoms are aligned to 0.20" in found[1]


def test_labels_of_another_lithium_content_are_no_measure() -> None:
    assert among_peers(labelled(0, x=0.5, moment_per_metal=0.2)) is None
    assert among_peers(labelled(1, x=0.5, energy_per_atom=-4.0)) is None


@pytest.mark.parametrize("missing", ["moment_per_metal", "spin_alignment"])
def test_engines_without_moments_are_not_judged_by_them(missing: str) -> None:
    assert among_peers(labelled(0, **{missing: None})) is None
    assert among_peers(labelled(0), **{missing: None}) is None


def test_moments_of_few_labels_say_nothing() -> None:
    one = labelled(0, moment_per_metal=0.2)
    assert verdict(one, [one, labelled(1), labelled(2)], GATE) is None


def test_what_a_person_accepted_is_not_taken_back() -> None:
    assert among_peers(labelled(1, energy_per_atom=-4.0, by_person=True)) is None
    assert among_peers(labelled(0, moment_per_metal=0.2, by_person=True)) is None


def test_what_a_person_accepted_is_a_measure_for_others() -> None:
    assert among_peers(labelled(1, energy_per_atom=-4.0), by_person=True) is not None


def test_a_gate_of_wider_limits_lets_more_pass() -> None:
    wide = Gate(max_energy_repeat_eV_per_atom=1.0, max_moment_jump_muB_per_metal=2.0)
    one = labelled(1, energy_per_atom=-4.5, moment_per_metal=0.2)
    assert verdict(one, [one, *(labelled(k) for k in range(1, PEERS + 1))], wide) is None

from dataclasses import replace

import pytest
from synthetic_history import full_history, newborn_history, running_history

from voltaloop.report import (
    HullPoint,
    content_rows,
    headline,
    headline_sentence,
    origin_rows,
    outcome_rows,
    verdicts,
)
from voltaloop.report.answer import Answer
from voltaloop.report.tables import (
    answer_of,
    formation_energies,
    largest_volume_deviation,
    reference_sentence,
    rests_on_sentence,
    trust_bands,
)


def with_answer(**changes):
    history = full_history()
    return replace(history, answer={**history.answer, **changes})


def standing(history, title):
    return next(v.standing for v in verdicts(history) if v.title == title)


def test_the_headline_says_volume_and_voltage_with_their_errors():
    assert headline_sentence(headline(full_history())).replace("\u00a0", " ") == (
        "When all its lithium leaves, LiNiO₂ loses 7.09 ± 0.31 % of its volume, "
        "at an average of 3.553 ± 0.018 V against lithium metal."
    )


def test_the_headline_puts_the_reference_beside():
    assert reference_sentence(headline(full_history())).replace("\u00a0", " ") == (
        "The reference itself (chgnet + d3bj) gives −6.89 % and 3.536 V."
    )


def test_a_volume_within_its_error_is_kept():
    history = with_answer(volume_change_percent=0.1, volume_change_err=0.3)
    assert "not resolved from zero" in headline_sentence(headline(history))


def test_a_growing_cathode_gains():
    history = with_answer(volume_change_percent=2.0, volume_change_err=0.3)
    assert "gains 2.00\u00a0±\u00a00.30\u00a0%" in headline_sentence(headline(history))


def test_partial_delithiation_names_its_range():
    history = replace(full_history(), answer={"x": [1.0, 0.5], "volume_change_percent": -2.0})
    assert headline_sentence(headline(history)).startswith("From x = 1 to x = 0.5, ")


def test_a_running_campaign_has_the_estimate_of_its_latest_round():
    found = headline(running_history())
    assert found.round == 4
    assert found.volume_change_percent.value == running_history().rounds[-1].volume_change_percent
    assert reference_sentence(found) is None


def test_a_newborn_campaign_has_no_headline():
    assert headline(newborn_history()) is None


def test_content_rows_go_from_full_to_empty_with_their_deviation():
    rows = content_rows(answer_of(full_history()))
    assert [row.x for row in rows] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert rows[0].volume_deviation_percent == pytest.approx(100 * (33.14 / 33.10 - 1))
    assert rows[1].volume_deviation_percent is None
    assert largest_volume_deviation(rows) == pytest.approx(100 * (32.71 / 32.66 - 1))


def test_a_list_that_does_not_fit_is_refused_with_its_name():
    with pytest.raises(ValueError, match=r"answer\.a_A: expected 2 numbers, one for each of"):
        Answer.from_mapping({"x": [1.0, 0.0], "a_A": [2.8]})


def test_voltage_steps_are_ordered_from_full_to_empty_whichever_way_they_are_written():
    steps = [
        {"x_from": 0.0, "x_to": 0.5, "voltage_V": 4.0},
        {"x_from": 1.0, "x_to": 0.5, "voltage_V": 3.0},
    ]
    read = Answer.from_mapping({"voltage_steps": steps}).voltage_steps
    assert [(s.x_from, s.x_to, s.voltage_V) for s in read] == [(1.0, 0.5, 3.0), (0.5, 0.0, 4.0)]


def test_formation_energies_vanish_at_the_end_members():
    points = [
        HullPoint(x=0.0, energy_eV_per_fu=-20.0, on_hull=True),
        HullPoint(x=0.5, energy_eV_per_fu=-23.0, on_hull=True),
        HullPoint(x=1.0, energy_eV_per_fu=-25.5, on_hull=True),
        HullPoint(x=1.0, energy_eV_per_fu=-25.4, on_hull=False),
    ]
    energies = [p.energy_meV_per_fu for p in formation_energies(points)]
    assert energies == pytest.approx([0, -250, 0, 100])


def test_formation_energies_stay_as_they_are():
    points = [
        HullPoint(x=0.0, energy_eV_per_fu=0.0, on_hull=True),
        HullPoint(x=0.5, energy_eV_per_fu=-0.2, on_hull=True),
        HullPoint(x=1.0, energy_eV_per_fu=0.0, on_hull=True),
    ]
    assert [p.energy_meV_per_fu for p in formation_energies(points)] == pytest.approx([0, -200, 0])


def test_one_lithium_content_has_no_formation_energy():
    assert formation_energies([HullPoint(x=1.0, energy_eV_per_fu=-25.0, on_hull=True)]) == []


def test_orderings_join_the_hull_once():
    hull = [{"x": 1.0, "energy_eV_per_fu": -25.0, "on_hull": True}]
    orderings = [{"x": 1.0, "energy_eV_per_fu": -25.0}, {"x": 1.0, "energy_eV_per_fu": -24.0}]
    points = Answer.from_mapping({"hull": hull, "orderings": orderings}).hull
    assert [(p.energy_eV_per_fu, p.on_hull) for p in points] == [(-25.0, True), (-24.0, False)]


@pytest.mark.parametrize(("value", "expected"), [(4.9, "good"), (5.1, "bad"), (None, "unknown")])
def test_the_energy_badge_compares_with_its_target(value, expected):
    history = replace(with_answer(heldout_energy_rmse_meV_per_atom=value), audit=())
    assert standing(history, "Held-out energy error") == expected


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.95, "good"), (1.0, "open"), (0.85, "open"), (0.5, "bad")]
)
def test_twenty_labels_cannot_condemn_a_coverage_near_the_target(fraction, expected):
    assert standing(with_answer(coverage95_energy=fraction), "95 % interval, energies") == expected


def test_nothing_is_judged_before_there_is_an_audit():
    assert {v.standing for v in verdicts(running_history())} == {"unknown"}


def test_the_voltage_badge_counts_in_millivolts():
    history = with_answer(average_voltage_V=3.5, reference_average_voltage_V=3.57)
    badge = verdicts(history)[-1]
    assert badge.value == "70\u00a0mV"
    assert badge.standing == "bad"


def test_origins_add_up_to_all_labels():
    rows = origin_rows(full_history())
    assert [row.origin for row in rows] == ["start", "uncertain", "random"]
    assert sum(row.labels for row in rows) == 129
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert rows[0].force_rmse is None
    assert (
        rests_on_sentence(full_history())
        == "129 labels: 25 start, 84 uncertain, 20 random; 3 refused."
    )


def test_outcomes_add_up_to_all_trajectories():
    rows = outcome_rows(full_history().explorations)
    assert [row.x for row in rows] == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert sum(sum(row.counts.values()) for row in rows) == len(full_history().explorations)


def test_trust_bands_need_both_levels():
    rounds = full_history().rounds
    half = [replace(rounds[0], upper_trust=None), *rounds[1:]]
    assert len(trust_bands(replace(full_history(), rounds=half))) == len(rounds) - 1

import numpy as np
import pytest
from ase import Atoms

from voltaloop.references.oxidation import (
    high_spin_moment,
    largest_moment_per_metal,
    low_spin_moment,
    oxidation_state,
)


def numbers(formula: str):
    return Atoms(formula).numbers


@pytest.mark.parametrize(
    ("formula", "state"),
    [
        ("LiNiO2", 3),
        ("LiNi2O4", 3.5),
        ("NiO2", 4),
        ("LiMn2O4", 3.5),
        ("Li4Ni3AlO8", 3),
        ("LiFePO4", 2),
        ("Li2MnO3", 4),
        ("Li4Ni3ZnO8", 10 / 3),
        ("LiNiOF", 2),
    ],
)
def test_the_state_follows_from_the_charges_of_the_others(formula, state):
    assert oxidation_state(numbers(formula)) == pytest.approx(state)


@pytest.mark.parametrize(
    ("formula", "why"),
    [
        ("Li2", "no oxygen and no metal"),
        ("LiCl", "no oxygen"),
        ("FeF3", "no oxygen"),
        ("Li2ZnO2", "no open shell"),
        ("LiNiS2O2", "sulfur may be -2 or +6"),
        ("Li8Ni2O2", "more lithium than oxygen can hold"),
    ],
)
def test_there_is_no_state_where_the_composition_leaves_a_doubt(formula, why):
    assert oxidation_state(numbers(formula)) is None, why
    assert largest_moment_per_metal(numbers(formula)) is None


@pytest.mark.parametrize(
    ("symbol", "state", "high", "low"),
    [
        ("Ni", 2, 2, 2),
        ("Ni", 3, 3, 1),
        ("Ni", 3.5, 3.5, 0.5),
        ("Ni", 4, 4, 0),
        ("Co", 3, 4, 0),
        ("Co", 2, 3, 1),
        ("Mn", 2, 5, 1),
        ("Mn", 3, 4, 2),
        ("Mn", 4, 3, 3),
        ("Fe", 3, 5, 1),
        ("Ti", 4, 0, 0),
        ("Ti", 3, 1, 1),
        ("Cu", 3, 2, 2),
        ("Mo", 6, 0, 0),
        ("W", 6, 0, 0),
        ("Nb", 4, 1, 1),
    ],
)
def test_moments_of_the_two_spin_states_are_those_of_the_textbook(symbol, state, high, low):
    number = int(numbers(symbol)[0])
    assert high_spin_moment(number, state) == pytest.approx(high)
    assert low_spin_moment(number, state) == pytest.approx(low)


def test_beyond_the_highest_state_oxygen_gives_one_spin_for_each_electron():
    assert high_spin_moment(25, 4.5) == pytest.approx(3.5)
    assert high_spin_moment(22, 5) == pytest.approx(1)


@pytest.mark.parametrize(
    ("formula", "moment"), [("LiNiO2", 3), ("NiO2", 4), ("Li4Ni2MnCoO8", 4), ("MnO2", 3)]
)
def test_the_metal_with_the_largest_moment_counts(formula, moment):
    assert largest_moment_per_metal(numbers(formula)) == pytest.approx(moment)


def test_metals_that_share_the_charge_unevenly_stay_below_the_largest_moment():
    # LiNi0.5Mn0.5O2 is Ni2+ and Mn4+, not twice 3+; two Mn3+ may turn into Mn2+ and Mn4+.
    nickel_manganese = (high_spin_moment(28, 2) + high_spin_moment(25, 4)) / 2
    assert nickel_manganese <= largest_moment_per_metal(numbers("Li2NiMnO4"))
    manganese = (high_spin_moment(25, 2) + high_spin_moment(25, 4)) / 2
    assert manganese <= largest_moment_per_metal(numbers("Li2Mn2O4"))


def test_every_open_shell_metal_has_a_moment_at_every_state():
    from voltaloop.references.oxidation import MAGNETIC_METALS

    for number in MAGNETIC_METALS:
        for state in np.linspace(1, 8, 15):
            assert 0 <= low_spin_moment(number, state) <= 5
            assert high_spin_moment(number, state) >= 0

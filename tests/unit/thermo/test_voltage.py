import numpy as np
import pytest
from scipy.spatial import ConvexHull

from voltaloop.thermo.voltage import (
    lower_hull,
    relative_change_percent,
    voltage,
    voltage_steps,
)


def test_the_voltage_of_linio2_from_pbe_d3_energies_is_3_31_v() -> None:
    assert voltage(1.0, -25.4962, 0.0, -20.1299, -2.0596) == pytest.approx(3.3067, abs=1e-4)


def test_the_voltage_by_hand_over_half_the_range() -> None:
    # E(0.75) − E(0.25) = −2.9; half a lithium costs −1.0; 1.9 eV per half an electron.
    assert voltage(0.75, -12.4, 0.25, -9.5, -2.0) == pytest.approx(3.8)


def test_the_voltage_is_the_same_in_both_directions_and_for_any_zero_of_energy() -> None:
    forth = voltage(1.0, -25.5, 0.25, -21.0, -2.0)
    assert voltage(0.25, -21.0, 1.0, -25.5, -2.0) == pytest.approx(forth)
    assert voltage(1.0, -125.5, 0.25, -121.0, -2.0) == pytest.approx(forth)


def test_a_compound_no_more_stable_than_its_parts_has_no_voltage() -> None:
    assert voltage(1.0, -22.0, 0.0, -20.0, -2.0) == pytest.approx(0.0)


def test_the_hull_leaves_out_what_decomposes() -> None:
    x = [0.0, 0.25, 0.5, 0.75, 1.0]
    assert lower_hull(x, [0.0, 0.1, -1.0, -0.9, -1.0]) == [0, 2, 4]


def test_a_point_on_the_line_between_its_neighbours_is_no_corner() -> None:
    assert lower_hull([0.0, 0.5, 1.0], [0.0, -1.0, -2.0]) == [0, 2]
    assert lower_hull([0.0, 0.25, 0.5, 1.0], [0.0] * 4) == [0, 3]


def test_of_several_orderings_at_one_content_the_lowest_counts() -> None:
    x = [0.5, 0.0, 1.0, 0.5, 0.5]
    assert lower_hull(x, [-0.5, 0.0, 0.0, -0.9, -0.7]) == [1, 3, 2]


def test_contents_that_differ_by_rounding_are_one_content() -> None:
    third = 0.1 + 0.2  # 0.30000000000000004
    assert lower_hull([0.0, 0.3, third, 1.0], [0.0, -0.5, -0.9, 0.0]) == [0, 2, 3]
    assert lower_hull([0.0, third, 0.3, 1.0], [0.0, -0.9, -0.5, 0.0]) == [0, 1, 3]


def test_the_order_of_the_points_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    x, energies = rng.uniform(size=12), rng.normal(size=12)
    hull = lower_hull(x.tolist(), energies.tolist())
    order = rng.permutation(12)
    shuffled = lower_hull(x[order].tolist(), energies[order].tolist())
    assert [int(order[i]) for i in shuffled] == hull


def test_one_point_or_two_are_their_own_hull_and_none_has_none() -> None:
    assert lower_hull([], []) == []
    assert lower_hull([0.5], [-1.0]) == [0]
    assert lower_hull([1.0, 0.0], [5.0, -1.0]) == [1, 0]
    assert lower_hull([0.5, 0.5], [-1.0, -2.0]) == [1]
    assert voltage_steps([0.5], [-1.0], -2.0, [0]) == []


@pytest.mark.parametrize("seed", range(10))
def test_the_hull_is_the_lower_part_of_the_convex_hull(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.concatenate([[0.0, 1.0], rng.uniform(size=15)])
    energies = np.concatenate([[0.0, 0.0], rng.normal(0.0, 1.0, 15)])
    found = lower_hull(x.tolist(), energies.tolist())
    corners = ConvexHull(np.column_stack([x, energies]))
    below = {
        int(i)
        for simplex, equation in zip(corners.simplices, corners.equations, strict=True)
        if equation[1] < 0
        for i in simplex
    }
    assert set(found) == below


def test_plateaus_go_by_falling_content_and_rise_on_a_hull() -> None:
    x = [0.0, 0.25, 0.5, 0.75, 1.0]
    energies = [-20.0, -21.5, -22.8, -23.9, -24.9]
    steps = voltage_steps(x, energies, -2.0, lower_hull(x, energies))
    assert [(s.x_from, s.x_to) for s in steps] == [(1.0, 0.75), (0.75, 0.5), (0.5, 0.25), (0.25, 0)]
    assert [s.voltage for s in steps] == pytest.approx([2.0, 2.4, 3.2, 4.0])


@pytest.mark.parametrize("seed", range(5))
def test_plateaus_add_up_to_the_average_voltage_and_never_fall(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    energies = (-20 - 5 * np.array(x) + rng.normal(0.0, 0.3, 6)).tolist()
    steps = voltage_steps(x, energies, -2.0, lower_hull(x, energies))
    voltages = [step.voltage for step in steps]
    assert voltages == sorted(voltages)
    average = sum(step.voltage * (step.x_from - step.x_to) for step in steps)
    assert average == pytest.approx(voltage(1.0, energies[-1], 0.0, energies[0], -2.0))


def test_a_change_is_relative_to_the_full_cathode_member_by_member() -> None:
    change = relative_change_percent(np.array([33.0, 40.0]), np.array([30.69, 44.0]))
    np.testing.assert_allclose(change, [-7.0, 10.0])

from dataclasses import replace

import numpy as np
import pytest
from pair_models import ALLOY, COPPER, CUTOFF, PairModel, copper, moved, skewed_alloy

from voltaloop.core import FloatArray, Frame, Label
from voltaloop.exploration import static_evaluator

VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def fresh(frame: Frame, model: PairModel = ALLOY) -> Label:
    """From an instance that has seen no other frame."""
    with static_evaluator(frame, model) as evaluate:
        return evaluate(frame)


def matrix(label: Label) -> FloatArray:
    assert label.stress is not None
    return label.stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]


def check_same(got: Label, expected: Label) -> None:
    assert got.energy == pytest.approx(expected.energy, abs=1e-9)
    np.testing.assert_allclose(got.forces, expected.forces, rtol=0, atol=1e-9)
    np.testing.assert_allclose(matrix(got), matrix(expected), rtol=0, atol=1e-10)


def strained(frame: Frame, deformation: FloatArray) -> Frame:
    return replace(frame, positions=frame.positions @ deformation, cell=frame.cell @ deformation)


def test_the_energy_is_the_sum_over_the_pairs_by_hand() -> None:
    pair = Frame(
        numbers=[29, 29], positions=[[0, 0, 0], [0, 0, 2.6]], cell=np.diag([20.0, 20.0, 20.0])
    )
    d, a, r0 = 0.3429, 1.3588, 2.866

    def morse(r: float) -> float:
        return d * (np.exp(-2 * a * (r - r0)) - 2 * np.exp(-a * (r - r0)))

    slope = 2 * a * d * (np.exp(-a * (CUTOFF - r0)) - np.exp(-2 * a * (CUTOFF - r0)))
    expected = morse(2.6) - morse(CUTOFF) + (CUTOFF - 2.6) * slope
    assert fresh(pair, COPPER).energy == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_forces_are_minus_the_gradient_of_the_energy(seed: int) -> None:
    frame, step = skewed_alloy(seed), 1e-4
    with static_evaluator(frame, ALLOY) as evaluate:
        forces = evaluate(frame).forces
        for atom, axis in np.ndindex(8, 3):
            by = np.zeros(3)
            by[axis] = step
            plus = evaluate(moved(frame, atom, tuple(by))).energy
            minus = evaluate(moved(frame, atom, tuple(-by))).energy
            assert -(plus - minus) / (2 * step) == pytest.approx(forces[atom, axis], abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_stress_is_the_strain_derivative_of_the_energy(seed: int) -> None:
    frame, step = skewed_alloy(seed), 1e-5
    with static_evaluator(frame, ALLOY) as evaluate:
        stress = matrix(evaluate(frame))
        for a, b in VOIGT:
            energies = []
            for sign in (1, -1):
                strain = np.zeros((3, 3))
                strain[a, b] += sign * step / 2
                strain[b, a] += sign * step / 2
                energies.append(evaluate(strained(frame, np.eye(3) + strain)).energy)
            slope = (energies[0] - energies[1]) / (2 * step) / frame.volume
            assert stress[a, b] == pytest.approx(slope, abs=1e-7)


def test_a_stretched_crystal_is_under_tension_which_is_positive() -> None:
    label = fresh(copper(lattice=3.9), COPPER)
    assert (np.diag(matrix(label)) > 0.01).all()
    assert (np.diag(matrix(fresh(copper(lattice=3.4), COPPER))) < -0.01).all()


def test_forces_and_stress_turn_with_the_crystal() -> None:
    frame = skewed_alloy(4)
    turn, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    label = fresh(frame)
    with static_evaluator(frame, ALLOY) as evaluate:
        turned = evaluate(strained(frame, turn))
    assert turned.energy == pytest.approx(label.energy, abs=1e-9)
    np.testing.assert_allclose(turned.forces, label.forces @ turn, rtol=0, atol=1e-9)
    np.testing.assert_allclose(matrix(turned), turn.T @ matrix(label) @ turn, rtol=0, atol=1e-10)


def test_another_choice_of_lattice_vectors_and_images_changes_nothing() -> None:
    frame = skewed_alloy(5)
    other = np.array([[0, 1, 0], [1, 0, 0], [2, -3, 1]])  # left-handed and very skewed
    images = np.random.default_rng(5).integers(-2, 3, (8, 3)) @ frame.cell
    same = replace(frame, cell=other @ frame.cell, positions=frame.positions + images)
    label = fresh(frame)
    check_same(fresh(same), label)
    with static_evaluator(frame, ALLOY) as evaluate:
        check_same(evaluate(same), label)


def test_a_supercell_has_the_energy_of_its_cells() -> None:
    frame = skewed_alloy(6)
    doubled = Frame.from_atoms(frame.to_atoms().repeat((1, 2, 1)))
    one, two = fresh(frame), fresh(doubled)
    assert two.energy == pytest.approx(2 * one.energy, abs=1e-9)
    np.testing.assert_allclose(two.forces, np.tile(one.forces, (2, 1)), rtol=0, atol=1e-9)
    np.testing.assert_allclose(matrix(two), matrix(one), rtol=0, atol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_many_cells_in_a_row_give_what_a_fresh_instance_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = skewed_alloy(seed)
    with static_evaluator(frame, ALLOY) as evaluate:
        for _ in range(12):
            deformation = np.eye(3) + rng.normal(0.0, 0.08, (3, 3))
            now = strained(frame, deformation)
            now = replace(now, positions=now.positions + rng.normal(0.0, 0.1, (8, 3)))
            check_same(evaluate(now), fresh(now))


def test_cells_whose_number_of_neighbour_bins_changes_give_what_a_fresh_instance_gives() -> None:
    """Where occasional neighbour lists, as those of design rows, keep a stale bin stencil."""
    side = 4 * (CUTOFF + 0.5) / 2
    atoms = copper(repeat=3, lattice=side / 3)
    rng = np.random.default_rng(0)
    with static_evaluator(atoms, COPPER) as evaluate:
        for factor in (1.001, 0.999, 1.3, 0.7, 1.0, 0.999, 1.001):
            now = strained(atoms, factor * np.eye(3))
            now = replace(now, positions=now.positions + rng.normal(0.0, 0.05, (len(atoms), 3)))
            check_same(evaluate(now), fresh(now, COPPER))


def test_the_frame_that_opened_the_evaluator_need_not_be_evaluated_first() -> None:
    start, other = skewed_alloy(7), strained(skewed_alloy(7), 1.2 * np.eye(3))
    with static_evaluator(start, ALLOY) as evaluate:
        check_same(evaluate(other), fresh(other))


def test_other_atoms_are_refused() -> None:
    frame = skewed_alloy(8)
    swapped = replace(frame, numbers=frame.numbers[::-1])
    with (
        static_evaluator(frame, ALLOY) as evaluate,
        pytest.raises(ValueError, match=r"Expected the atoms .* got .*Open another evaluator"),
    ):
        evaluate(swapped)


def test_two_evaluators_at_once_do_not_disturb_each_other() -> None:
    first, second = skewed_alloy(9), copper()
    with static_evaluator(first, ALLOY) as alloy, static_evaluator(second, COPPER) as metal:
        check_same(alloy(first), fresh(first))
        check_same(metal(second), fresh(second, COPPER))
        check_same(alloy(first), fresh(first))

from dataclasses import asdict

import numpy as np
import pytest
from clusters import cluster

from voltaloop.core import Frame
from voltaloop.molecules import ForceParts, force_errors, molecules_of, split_forces

NAMES = ["H2O", "CH3OH", "H2O"]


def random_split(seed: int) -> tuple[Frame, np.ndarray, ForceParts]:
    frame = cluster(NAMES, seed)
    forces = np.random.default_rng(seed).normal(size=(len(frame), 3))
    return frame, forces, split_forces(forces, molecules_of(frame))


@pytest.mark.parametrize("seed", range(3))
def test_the_parts_add_up_to_the_forces(seed: int) -> None:
    _, forces, parts = random_split(seed)
    np.testing.assert_allclose(parts.total, forces, rtol=0, atol=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_each_part_has_only_the_force_and_torque_that_are_its_own(seed: int) -> None:
    frame, _, parts = random_split(seed)
    for k, one in enumerate(molecules_of(frame)):
        arms = one.positions - one.centre_of_mass
        force = {n: getattr(parts, n)[one.atoms].sum(axis=0) for n in ("translational", "internal")}
        np.testing.assert_allclose(force["translational"], parts.net[k], atol=1e-12)
        np.testing.assert_allclose(force["internal"], 0, atol=1e-12)
        np.testing.assert_allclose(parts.rotational[one.atoms].sum(axis=0), 0, atol=1e-12)
        for name, expected in [("translational", 0), ("rotational", 1), ("internal", 0)]:
            torque = np.cross(arms, getattr(parts, name)[one.atoms]).sum(axis=0)
            np.testing.assert_allclose(torque, expected * parts.torque[k], atol=1e-10)


def test_the_accelerations_of_the_parts_are_orthogonal() -> None:
    frame, _, parts = random_split(7)
    masses = frame.to_atoms().get_masses()[:, None]
    names = ("translational", "rotational", "internal")
    one = [getattr(parts, name) / np.sqrt(masses) for name in names]
    for i, j in [(0, 1), (0, 2), (1, 2)]:
        assert np.sum(one[i] * one[j]) == pytest.approx(0, abs=1e-10)


def test_a_gravity_field_only_translates() -> None:
    frame = cluster(NAMES, seed=1)
    forces = frame.to_atoms().get_masses()[:, None] * np.array([0.1, -0.2, 0.3])
    parts = split_forces(forces, molecules_of(frame))
    np.testing.assert_allclose(parts.translational, forces, atol=1e-12)
    np.testing.assert_allclose(parts.rotational, 0, atol=1e-12)


def test_stretching_two_atoms_of_a_linear_molecule_is_internal_and_bending_it_over_turns_it() -> (
    None
):
    frame = Frame(
        numbers=[8, 6, 8],
        positions=[[8.8, 10, 10], [10, 10, 10], [11.2, 10, 10]],
        cell=20 * np.eye(3),
    )
    stretch = np.array([[-1.0, 0, 0], [0, 0, 0], [1.0, 0, 0]])
    turn = np.array([[0, -1.0, 0], [0, 0, 0], [0, 1.0, 0]])
    parts = split_forces(stretch + turn, molecules_of(frame))
    np.testing.assert_allclose(parts.internal, stretch, atol=1e-12)
    np.testing.assert_allclose(parts.rotational, turn, atol=1e-12)
    np.testing.assert_allclose(parts.torque, [[0, 0, 2.4]], atol=1e-12)


def test_an_atom_alone_only_translates() -> None:
    frame = Frame(numbers=[3], positions=[[1, 2, 3]], cell=20 * np.eye(3))
    parts = split_forces(np.array([[0.3, 0.1, -0.2]]), molecules_of(frame))
    np.testing.assert_allclose(parts.translational, [[0.3, 0.1, -0.2]])
    np.testing.assert_allclose(parts.rotational, 0)


def test_the_split_does_not_depend_on_which_images_of_the_atoms_are_given() -> None:
    frame, forces, parts = random_split(2)
    shifted = frame.positions + frame.cell[0] * (np.arange(len(frame)) % 2)[:, None]
    moved = Frame(numbers=frame.numbers, positions=shifted, cell=frame.cell)
    again = split_forces(forces, molecules_of(moved))
    for name in ("translational", "rotational", "internal", "net", "torque"):
        np.testing.assert_allclose(getattr(again, name), getattr(parts, name), atol=1e-12)


def test_errors_are_root_mean_squares_over_components() -> None:
    frame, forces, expected = random_split(4)
    molecules = molecules_of(frame)
    pull = np.zeros_like(forces)
    pull[molecules[0].atoms] = molecules[0].masses[:, None] * [0.01, 0, 0]
    got = split_forces(forces + pull, molecules)
    errors = force_errors([got, expected], [expected, expected])
    net = 0.01 * molecules[0].masses.sum()
    assert errors.net == pytest.approx(np.sqrt(net**2 / (2 * 3 * 3)))
    assert errors.total == pytest.approx(np.sqrt(np.sum(pull**2) / (2 * pull.size)))
    assert errors.translational == pytest.approx(errors.total)
    assert max(errors.rotational, errors.internal, errors.torque) < 1e-12
    assert set(asdict(errors)) == {
        *("total", "translational", "rotational", "internal", "net", "torque")
    }

import numpy as np
import pytest
from ase.build import bulk
from ase.geometry import get_distances

from voltaloop.core import Frame, StructureError
from voltaloop.crystals import closest_pair, load_structure, minimum_distance, supercell
from voltaloop.crystals.distances import describe_overlap, find_overlap


def random_frame(seed: int, n_atoms: int) -> Frame:
    rng = np.random.default_rng(seed)
    cell = np.diag([6.0, 7.0, 8.0]) + rng.normal(0.0, 1.0, (3, 3))
    return Frame(
        numbers=np.full(n_atoms, 8), positions=rng.uniform(0.0, 1.0, (n_atoms, 3)) @ cell, cell=cell
    )


@pytest.mark.parametrize("seed", range(10))
def test_the_closest_pair_is_that_of_all_minimum_image_distances(seed: int) -> None:
    frame = random_frame(seed, n_atoms=9)
    _, distances = get_distances(frame.positions, cell=frame.cell, pbc=True)
    np.fill_diagonal(distances, np.inf)
    i, j, distance = closest_pair(frame)
    assert (i, j) == divmod(int(np.argmin(distances)), len(frame))
    assert distance == pytest.approx(distances.min(), abs=1e-10)


def test_a_single_atom_is_closest_to_its_own_image() -> None:
    copper = Frame.from_atoms(bulk("Cu", "fcc", a=3.6))
    assert closest_pair(copper) == (0, 0, pytest.approx(3.6 / np.sqrt(2)))


def test_a_flat_cell_full_of_vacuum_still_has_a_closest_pair() -> None:
    frame = Frame(
        numbers=[8, 8], positions=[[0, 0, 0], [0, 0, 9.9]], cell=np.diag([50.0, 50.0, 10.0])
    )
    assert closest_pair(frame) == (0, 1, pytest.approx(0.1))


def test_atoms_on_the_same_place_are_at_distance_zero() -> None:
    frame = Frame(numbers=[8, 3], positions=np.zeros((2, 3)), cell=np.diag([5.0, 5.0, 5.0]))
    assert closest_pair(frame) == (0, 1, 0.0)


def test_the_minimum_distance_does_not_change_under_translation_rotation_or_repetition() -> None:
    frame = random_frame(3, n_atoms=6)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    moved = Frame(
        numbers=frame.numbers,
        positions=(frame.positions + np.array([1.3, -0.4, 2.2])) @ rotation,
        cell=frame.cell @ rotation,
    )
    wanted = minimum_distance(frame)
    assert minimum_distance(moved) == pytest.approx(wanted, abs=1e-10)
    assert minimum_distance(supercell(frame, (2, 1, 2))) == pytest.approx(wanted, abs=1e-10)


def test_no_atoms_have_no_distance() -> None:
    empty = Frame(numbers=[], positions=np.zeros((0, 3)), cell=np.eye(3))
    with pytest.raises(StructureError, match="at least one atom"):
        closest_pair(empty)


def test_a_sound_crystal_has_no_overlap() -> None:
    assert find_overlap(load_structure("LiNiO2")) is None


def test_an_overlap_names_the_atoms_their_distance_and_the_limit() -> None:
    frame = Frame(
        numbers=[3, 28, 8], positions=[[0, 0, 0], [3, 0, 0], [3.5, 0, 0]], cell=6.0 * np.eye(3)
    )
    overlap = find_overlap(frame)
    assert overlap is not None
    assert (overlap.first, overlap.second) == (1, 2)
    assert overlap.distance == pytest.approx(0.5)
    assert overlap.limit == pytest.approx(0.5 * (1.24 + 0.66))
    assert "Ni 1 and O 2 are 0.50 Å apart, closer than the limit of 0.95 Å" in describe_overlap(
        frame, overlap
    )


def test_an_atom_can_overlap_with_its_own_image() -> None:
    frame = Frame(numbers=[28], positions=np.zeros((1, 3)), cell=np.diag([1.0, 8.0, 8.0]))
    overlap = find_overlap(frame)
    assert overlap is not None
    assert "Ni 0 and its own periodic image" in describe_overlap(frame, overlap)

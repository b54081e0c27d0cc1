import numpy as np
import pytest

from voltaloop.core import Frame, StructureError
from voltaloop.crystals import load_structure, minimum_distance, starting_frames, supercell
from voltaloop.crystals.distances import find_overlap
from voltaloop.crystals.starting import MAX_STRAIN, MAX_VOLUME_CHANGE


@pytest.fixture(scope="module")
def oxide() -> Frame:
    return supercell(load_structure("LiNiO2"), (2, 2, 1))


def strains(frames: list[Frame], of: Frame) -> np.ndarray:
    """(n, 3, 3) the strain tensor of every frame."""
    return np.array([np.linalg.solve(of.cell, frame.cell) - np.eye(3) for frame in frames])


def test_starting_frames_are_copies_of_the_same_atoms(oxide: Frame) -> None:
    frames = starting_frames(oxide, count=5, rattle=0.1, strain=0.02, seed=0)
    assert len({frame.digest for frame in frames}) == 5
    for frame in frames:
        assert np.array_equal(frame.numbers, oxide.numbers)
        assert frame.magmoms is not None
        assert np.array_equal(frame.magmoms, oxide.magmoms)


def test_neither_rattle_nor_strain_changes_nothing(oxide: Frame) -> None:
    (frame,) = starting_frames(oxide, count=1, rattle=0.0, strain=0.0, seed=0)
    assert frame.positions == pytest.approx(oxide.positions)
    assert frame.cell == pytest.approx(oxide.cell)


def test_the_same_seed_gives_the_same_frames_and_more_of_them_the_same_beginning(
    oxide: Frame,
) -> None:
    few = [f.digest for f in starting_frames(oxide, count=3, rattle=0.1, strain=0.02, seed=4)]
    many = [f.digest for f in starting_frames(oxide, count=6, rattle=0.1, strain=0.02, seed=4)]
    other = [f.digest for f in starting_frames(oxide, count=3, rattle=0.1, strain=0.02, seed=5)]
    assert many[:3] == few
    assert not set(few) & set(other)


def test_displacements_are_gaussian_with_the_given_width(oxide: Frame) -> None:
    frames = starting_frames(oxide, count=100, rattle=0.1, strain=0.0, seed=1)
    moved = np.concatenate([(frame.positions - oxide.positions).ravel() for frame in frames])
    assert moved.mean() == pytest.approx(0.0, abs=0.005)
    assert moved.std() == pytest.approx(0.1, rel=0.05)
    assert (np.abs(moved) < 0.196).mean() == pytest.approx(0.95, abs=0.01)


def test_strain_is_symmetric_and_wider_across_the_layers(oxide: Frame) -> None:
    tensors = strains(starting_frames(oxide, count=400, rattle=0.0, strain=0.01, seed=2), oxide)
    assert tensors == pytest.approx(np.swapaxes(tensors, 1, 2), abs=1e-12)
    spread = tensors.std(axis=0)
    assert spread[0, 0] == pytest.approx(0.01, rel=0.15)
    assert spread[0, 1] == pytest.approx(0.01, rel=0.15)
    assert spread[2, 2] == pytest.approx(np.sqrt(5) * 0.01, rel=0.15)


def test_without_layers_the_strain_is_the_same_in_all_directions() -> None:
    salt = Frame(
        numbers=[3, 28, 8, 8],
        positions=[[0, 0, 0], [2.9, 2.9, 0], [2.9, 0, 0], [0, 0, 2.9]],
        cell=np.diag([5.8, 5.8, 5.8]),
    )
    spread = strains(starting_frames(salt, count=400, rattle=0.0, strain=0.01, seed=2), salt).std(0)
    assert np.diag(spread) == pytest.approx(0.01, rel=0.15)


def test_usual_strains_cover_the_volumes_between_full_and_empty(oxide: Frame) -> None:
    frames = starting_frames(oxide, count=200, rattle=0.1, strain=0.03, seed=3)
    change = np.array([frame.volume for frame in frames]) / oxide.volume - 1.0
    assert np.percentile(change, 15) < -0.05
    assert change.min() < -0.08
    assert change.max() > 0.08
    assert np.abs(change).max() <= MAX_VOLUME_CHANGE


def test_no_frame_is_strained_beyond_recognition(oxide: Frame) -> None:
    tensors = strains(starting_frames(oxide, count=100, rattle=0.0, strain=0.08, seed=7), oxide)
    assert np.abs(np.linalg.eigvalsh(tensors)).max() <= MAX_STRAIN
    assert np.abs(np.linalg.det(np.eye(3) + tensors) - 1.0).max() <= MAX_VOLUME_CHANGE


def test_no_frame_has_overlapping_atoms(oxide: Frame) -> None:
    frames = starting_frames(oxide, count=50, rattle=0.3, strain=0.02, seed=6)
    assert all(find_overlap(frame) is None for frame in frames)
    assert min(minimum_distance(frame) for frame in frames) > 0.6


@pytest.mark.parametrize(("rattle", "strain"), [(3.0, 0.0), (0.0, 5.0)])
def test_a_rattle_or_strain_that_no_crystal_survives_is_refused(
    rattle: float, strain: float, oxide: Frame
) -> None:
    with pytest.raises(StructureError, match=r"in a row had overlapping atoms.*Expected smaller"):
        starting_frames(supercell(oxide, (1, 1, 3)), count=1, rattle=rattle, strain=strain, seed=0)


@pytest.mark.parametrize("wrong", [{"count": -1}, {"rattle": -0.1}, {"strain": -0.1}])
def test_negative_numbers_are_refused(wrong: dict[str, float], oxide: Frame) -> None:
    settings = {"count": 1, "rattle": 0.1, "strain": 0.01, **wrong}
    with pytest.raises(ValueError, match="expected numbers of at least 0"):
        starting_frames(oxide, seed=0, **settings)  # type: ignore[arg-type]

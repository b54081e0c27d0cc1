"""Frames into LAMMPS and back."""

from dataclasses import replace

import numpy as np
import pytest

from voltaloop.core import Frame
from voltaloop.core.lammps import LammpsBox, by_tag, fill, lammps_instance, read_frame

SPECIES = ("O", "Li")


def frame(seed: int = 0) -> Frame:
    rng = np.random.default_rng(seed)
    return Frame(
        numbers=[3, 8, 8, 3, 8],
        positions=rng.uniform(-4.0, 9.0, (5, 3)),
        cell=np.diag([4.0, 5.0, 6.0]) + rng.normal(0.0, 1.0, (3, 3)),
        magmoms=[0.1, 0.2, 0.3, 0.4, 0.5],
    )


def through_lammps(given: Frame) -> Frame:
    with lammps_instance() as lmp:
        fill(lmp, given, SPECIES)
        return read_frame(lmp, given.numbers, given.magmoms)


def distances(given: Frame) -> np.ndarray:
    return given.to_atoms().get_all_distances(mic=True)


@pytest.mark.parametrize("seed", range(5))
def test_a_frame_comes_back_as_the_same_crystal(seed: int) -> None:
    given = frame(seed)
    back = through_lammps(given)
    np.testing.assert_allclose(back.cell @ back.cell.T, given.cell @ given.cell.T, atol=1e-10)
    np.testing.assert_allclose(distances(back), distances(given), atol=1e-10)
    np.testing.assert_array_equal(back.numbers, given.numbers)
    assert back.volume == pytest.approx(given.volume, rel=1e-12)


def test_moments_stay_with_their_atoms() -> None:
    back = through_lammps(frame())
    assert back.magmoms is not None
    np.testing.assert_array_equal(back.magmoms, [0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("seed", range(5))
def test_the_rotation_turns_the_cell_into_the_lower_triangle_of_lammps(seed: int) -> None:
    given = frame(seed)
    box = LammpsBox.of(given.cell)
    lx, ly, lz, xy, xz, yz = box.sizes
    np.testing.assert_allclose(
        given.cell @ box.rotation, [[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]], atol=1e-12
    )
    np.testing.assert_allclose(box.rotation @ box.rotation.T, np.eye(3), atol=1e-12)


def test_a_left_handed_cell_is_mirrored_into_a_right_handed_one() -> None:
    given = frame()
    left = replace(given, cell=given.cell[[1, 0, 2]])
    back = through_lammps(left)
    assert np.linalg.det(back.cell) > 0
    np.testing.assert_allclose(distances(back), distances(left), atol=1e-10)


def test_atoms_are_wrapped_into_the_box() -> None:
    given = frame()
    box = LammpsBox.of(given.cell)
    inside = np.linalg.solve((given.cell @ box.rotation).T, box.positions(given.positions).T).T
    assert (inside > -1e-9).all()
    assert (inside < 1 + 1e-9).all()


def test_types_follow_the_species_and_masses_the_elements() -> None:
    given = frame()
    with lammps_instance() as lmp:
        fill(lmp, given, SPECIES)
        types = np.array(lmp.gather_atoms("type", 0, 1))
        masses = lmp.numpy.extract_atom("mass").ravel()[1:3].tolist()
        positions = by_tag(lmp, "x")
    assert types.tolist() == [2, 1, 1, 2, 1]
    assert masses == pytest.approx([15.999, 6.94], abs=1e-3)
    assert positions.shape == (5, 3)


def test_instances_are_closed_even_after_an_error() -> None:
    with pytest.raises(Exception, match="no_such_style"), lammps_instance() as lmp:
        lmp.command("pair_style no_such_style")
    with lammps_instance() as lmp:
        fill(lmp, frame(), SPECIES)
        assert lmp.get_natoms() == 5

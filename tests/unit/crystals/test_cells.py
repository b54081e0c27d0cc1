import numpy as np
import pytest
import spglib
from ase.spacegroup import crystal

from voltaloop.core import Frame, StructureError
from voltaloop.crystals import (
    compact,
    formula_units,
    load_structure,
    minimum_distance,
    supercell,
)

OXIDE = {
    "symbols": ["Li", "Ni", "O"],
    "basis": [(0, 0, 0.5), (0, 0, 0), (0, 0, 0.2585)],
    "spacegroup": 166,
    "cellpar": [2.878, 2.878, 14.19, 90, 90, 120],
}


def sorted_lengths(frame: Frame) -> list[float]:
    return sorted(np.linalg.norm(frame.cell, axis=1).tolist())


def skewed(frame: Frame) -> Frame:
    """The same crystal in a needlessly long cell."""
    shear = np.array([[1, 0, 0], [3, 1, 0], [-2, 5, 1]])
    return Frame(
        numbers=frame.numbers,
        positions=frame.positions,
        cell=shear @ frame.cell,
        magmoms=frame.magmoms,
    )


def test_two_by_two_of_the_prototype_is_a_compact_single_layer_with_four_lithium() -> None:
    frame = supercell(load_structure("LiNiO2"), (2, 2, 1))
    assert (len(frame), frame.n_lithium, formula_units(frame)) == (16, 4, 4)
    assert np.linalg.norm(frame.cell, axis=1) == pytest.approx([5.756, 5.756, 5.0134], abs=1e-3)
    assert frame.magmoms is not None
    assert frame.magmoms.sum() == 4.0


def test_a_files_rhombohedral_cell_gives_the_same_supercell_as_the_prototype() -> None:
    primitive = Frame.from_atoms(crystal(**OXIDE, primitive_cell=True))
    assert np.linalg.norm(primitive.cell, axis=1) == pytest.approx([5.0134] * 3, abs=1e-3)
    from_file = supercell(primitive, (2, 2, 1))
    built_in = supercell(load_structure("LiNiO2"), (2, 2, 1))
    assert sorted_lengths(from_file) == pytest.approx(sorted_lengths(built_in), abs=1e-6)
    assert from_file.volume == pytest.approx(built_in.volume)


@pytest.mark.parametrize("repeats", [(1, 1, 1), (2, 2, 1), (1, 1, 2), (2, 1, 3)])
def test_volume_atoms_and_moments_are_extensive(repeats: tuple[int, int, int]) -> None:
    one = load_structure("LiMnO2")
    many = supercell(one, repeats)
    times = int(np.prod(repeats))
    assert many.volume == pytest.approx(times * one.volume)
    assert len(many) == times * len(one)
    assert many.magmoms is not None
    assert many.magmoms.sum() == pytest.approx(4.0 * times)


@pytest.mark.parametrize("repeats", [(0, 1, 1), (2, 2), (-1, 2, 2), (1.5, 1, 1)])
def test_repeats_other_than_three_positive_whole_numbers_are_refused(repeats: object) -> None:
    with pytest.raises(StructureError, match="Expected three whole numbers of at least 1"):
        supercell(load_structure("LiNiO2"), repeats)  # type: ignore[arg-type]


def test_a_compact_cell_holds_the_same_crystal() -> None:
    frame = supercell(load_structure("LiNiO2"), (2, 2, 1))
    again = compact(skewed(frame))
    assert again.volume == pytest.approx(frame.volume)
    assert minimum_distance(again) == pytest.approx(minimum_distance(frame))
    assert sorted_lengths(again) == pytest.approx(sorted_lengths(frame))
    steps = np.linalg.solve(frame.cell.T, (again.positions - frame.positions).T)
    assert steps == pytest.approx(np.round(steps), abs=1e-8)
    assert np.array_equal(again.numbers, frame.numbers)


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
def test_a_compact_cell_keeps_the_space_group() -> None:
    frame = compact(skewed(load_structure("LiNiO2")))
    atoms = frame.to_atoms()
    found = spglib.get_symmetry_dataset(
        (frame.cell, atoms.get_scaled_positions(), frame.numbers), symprec=1e-4
    )
    assert found is not None
    assert found.number == 166


def test_a_compact_cell_is_right_handed_with_wrapped_atoms() -> None:
    left = Frame(numbers=[3, 8], positions=[[9, 0, 0], [0, -1, 0]], cell=np.diag([-4.0, 5.0, 6.0]))
    frame = compact(left)
    assert np.linalg.det(frame.cell) > 0
    fractional = np.linalg.solve(frame.cell.T, frame.positions.T)
    assert np.all((fractional > -1e-5) & (fractional < 1.0))


def test_compact_changes_nothing_about_a_compact_cell() -> None:
    frame = compact(skewed(load_structure("LiNiO2")))
    assert sorted_lengths(compact(frame)) == pytest.approx(sorted_lengths(frame))


@pytest.mark.parametrize("primitive", [True, False])
def test_the_vector_across_the_layers_comes_last(primitive: bool) -> None:
    frame = Frame.from_atoms(crystal(**OXIDE, primitive_cell=primitive))
    cell = supercell(frame, (2, 2, 1)).cell
    assert cell[:2, 2] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert abs(cell[2, 2]) == pytest.approx(4.73 if primitive else 14.19, abs=1e-2)

import logging
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from voltaloop.core import Frame, StructureError
from voltaloop.crystals import PROTOTYPES, load_structure, supercell

CIF = """data_oxide
_cell_length_a 2.878
_cell_length_b 2.878
_cell_length_c 14.19
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_symmetry_space_group_name_H-M 'R -3 m'
_symmetry_Int_Tables_number 166
{setting}
_chemical_formula_sum 'Li1 Ni1 O2'
{units}
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Li1 Li 0 0 0.5 {lithium}
Ni1 Ni 0 0 0 1
O1 O 0 0 0.2585 1
"""


def cif(*, setting: str = "", units: str = "_cell_formula_units_Z 3", lithium: str = "1") -> str:
    return CIF.format(setting=setting, units=units, lithium=lithium)


@pytest.fixture
def oxide() -> Atoms:
    atoms = load_structure("LiNiO2").to_atoms()
    atoms.set_initial_magnetic_moments(None)
    return atoms


def refusal(path: Path) -> str:
    with pytest.raises(StructureError) as caught:
        load_structure(str(path))
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_prototype_is_found_by_its_formula() -> None:
    frame = load_structure("LiNiO2")
    assert frame.digest == PROTOTYPES["LiNiO2"].frame().digest
    assert frame.magmoms is not None
    assert frame.magmoms.tolist() == [0.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["oxide.cif", "POSCAR", "oxide.vasp", "oxide.extxyz", "oxide.xyz"])
def test_a_file_is_read_relative_to_its_base(name: str, oxide: Atoms, tmp_path: Path) -> None:
    write(tmp_path / name, oxide, format="extxyz" if name.endswith("xyz") else None)
    frame = load_structure(name, base=tmp_path)
    assert sorted(frame.numbers) == [3, 8, 8, 28]
    assert frame.volume == pytest.approx(oxide.get_volume(), rel=1e-5)
    assert frame.magmoms is not None
    assert frame.magmoms[frame.numbers == 28] == pytest.approx([1.0])


def test_an_absolute_path_ignores_the_base(oxide: Atoms, tmp_path: Path) -> None:
    write(tmp_path / "oxide.cif", oxide)
    assert len(load_structure(str(tmp_path / "oxide.cif"), base=Path("/elsewhere"))) == 4


def test_a_cif_with_symmetry_is_expanded_to_its_cell(tmp_path: Path) -> None:
    (tmp_path / "oxide.cif").write_text(cif())
    frame = load_structure("oxide.cif", base=tmp_path)
    assert len(frame) == 12
    assert frame.volume / 3 == pytest.approx(PROTOTYPES["LiNiO2"].frame().volume)


def test_an_unknown_occupancy_counts_as_full(tmp_path: Path) -> None:
    (tmp_path / "oxide.cif").write_text(cif(lithium="?"))
    assert len(load_structure("oxide.cif", base=tmp_path)) == 12


def test_the_moments_of_the_file_win_over_the_table(oxide: Atoms, tmp_path: Path) -> None:
    oxide.set_initial_magnetic_moments([0.0, 0.6, 0.1, 0.1])
    write(tmp_path / "oxide.extxyz", oxide)
    frame = load_structure("oxide.extxyz", base=tmp_path)
    assert frame.magmoms is not None
    assert frame.magmoms == pytest.approx([0.0, 0.6, 0.1, 0.1])


def test_moments_of_a_finished_calculation_are_taken_as_initial(
    oxide: Atoms, tmp_path: Path
) -> None:
    oxide.calc = SinglePointCalculator(oxide, energy=-1.0, magmoms=np.array([0, 0.8, 0, 0.0]))
    write(tmp_path / "oxide.extxyz", oxide)
    frame = load_structure("oxide.extxyz", base=tmp_path)
    assert frame.magmoms is not None
    assert frame.magmoms == pytest.approx([0.0, 0.8, 0.0, 0.0])


def test_non_collinear_moments_are_refused(oxide: Atoms, tmp_path: Path) -> None:
    oxide.set_initial_magnetic_moments(np.ones((4, 3)))
    write(tmp_path / "oxide.traj", oxide)
    assert "one collinear magnetic moment" in refusal(tmp_path / "oxide.traj")


def test_an_unknown_name_is_answered_with_the_nearest_and_all_prototypes() -> None:
    with pytest.raises(
        StructureError,
        match=r"Unknown structure 'LiNi02'.*Did you mean 'LiNiO2'\?.*LiCoO2, LiMnO2, LiNiO2",
    ):
        load_structure("LiNi02")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(StructureError, match=r"No structure file '/nowhere/oxide.cif'"):
        load_structure("oxide.cif", base=Path("/nowhere"))


def test_a_folder_is_no_structure(tmp_path: Path) -> None:
    with pytest.raises(StructureError, match="Expected a structure file, got the folder"):
        load_structure(str(tmp_path))


@pytest.mark.parametrize("name", ["empty.cif", "POSCAR", "empty.extxyz", "empty.xyz", "empty.dat"])
def test_an_empty_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert "cannot be read" in refusal(tmp_path / name)


def test_a_file_that_is_no_structure_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see\n")
    assert "Expected one complete structure in a format ASE knows" in refusal(
        tmp_path / "notes.txt"
    )


@pytest.mark.parametrize("name", ["POSCAR", "oxide.extxyz", "oxide.cif"])
def test_a_file_cut_off_anywhere_in_its_atoms_is_refused(
    name: str, oxide: Atoms, tmp_path: Path
) -> None:
    write(tmp_path / name, oxide)
    lines = (tmp_path / name).read_text().splitlines(keepends=True)
    for missing in range(1, len(lines)):
        (tmp_path / name).write_text("".join(lines[:-missing]))
        assert refusal(tmp_path / name)


def test_a_cif_that_loses_an_atom_is_told_by_its_own_formula(tmp_path: Path) -> None:
    (tmp_path / "oxide.cif").write_text("".join(cif().splitlines(keepends=True)[:-1]))
    message = refusal(tmp_path / "oxide.cif")
    assert "states the formula Li1 Ni1 O2 with Z = 3" in message
    assert "make Li3Ni3" in message


@pytest.mark.parametrize("units", ["_cell_formula_units_Z 3", ""])
def test_a_cif_whose_axes_are_misread_is_refused(units: str, tmp_path: Path) -> None:
    (tmp_path / "oxide.cif").write_text(cif(setting="_symmetry_cell_setting trigonal", units=units))
    assert "axes of the space group are misread" in refusal(tmp_path / "oxide.cif")


def test_a_cif_that_states_no_formula_is_taken_as_it_is(tmp_path: Path) -> None:
    text = cif().replace("_chemical_formula_sum 'Li1 Ni1 O2'\n", "")
    (tmp_path / "oxide.cif").write_text(text)
    assert len(load_structure("oxide.cif", base=tmp_path)) == 12


def test_partial_occupancies_are_refused_with_the_site(tmp_path: Path) -> None:
    (tmp_path / "oxide.cif").write_text(cif(lithium="0.9"))
    assert "partial occupancies (Li 0.9)" in refusal(tmp_path / "oxide.cif")


def test_sites_shared_by_two_elements_are_refused(tmp_path: Path) -> None:
    shared = cif() + "Co1 Co 0 0 0 0.2\n"
    (tmp_path / "oxide.cif").write_text(shared.replace("Ni1 Ni 0 0 0 1", "Ni1 Ni 0 0 0 0.8"))
    message = refusal(tmp_path / "oxide.cif")
    assert "Ni 0.8 + Co 0.2" in message
    assert "ordered arrangement" in message


def test_several_structures_in_one_file_are_refused(oxide: Atoms, tmp_path: Path) -> None:
    write(tmp_path / "many.extxyz", [oxide, oxide, oxide])
    assert "expected one structure, got 3" in refusal(tmp_path / "many.extxyz")


def test_a_structure_without_lithium_is_refused(oxide: Atoms, tmp_path: Path) -> None:
    write(tmp_path / "host.cif", oxide[oxide.numbers != 3])
    assert "expected a structure with lithium, got NiO2" in refusal(tmp_path / "host.cif")


def test_a_structure_of_nothing_but_lithium_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "metal.cif", Atoms("Li2", [[0, 0, 0], [1.7, 1.7, 1.7]], cell=[3.4] * 3, pbc=1))
    assert "Expected a host that lithium can leave" in refusal(tmp_path / "metal.cif")


def test_overlapping_atoms_are_refused_with_their_distance_and_the_limit(
    oxide: Atoms, tmp_path: Path
) -> None:
    oxide.positions[2] = oxide.positions[1] + [0.3, 0.0, 0.0]
    write(tmp_path / "oxide.extxyz", oxide)
    message = refusal(tmp_path / "oxide.extxyz")
    assert "Ni 1 and O 2 are 0.30 Å apart, closer than the limit of 0.95 Å" in message


def test_a_structure_without_a_cell_is_refused(oxide: Atoms, tmp_path: Path) -> None:
    write(tmp_path / "oxide.xyz", oxide, format="xyz")
    message = refusal(tmp_path / "oxide.xyz")
    assert "expected a cell of three independent vectors in Å, got 0 Å3" in message


def test_a_slab_is_refused(oxide: Atoms, tmp_path: Path) -> None:
    oxide.pbc = (True, True, False)
    write(tmp_path / "slab.extxyz", oxide)
    assert "periodic along all three vectors, got yes, yes, no" in refusal(tmp_path / "slab.extxyz")


def test_numbers_that_are_not_finite_are_refused(oxide: Atoms, tmp_path: Path) -> None:
    oxide.positions[0, 0] = np.nan
    write(tmp_path / "oxide.extxyz", oxide)
    assert "expected finite numbers" in refusal(tmp_path / "oxide.extxyz")


def test_what_the_reader_warns_of_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "oxide.cif").write_text(cif(setting="_symmetry_cell_setting monoclinic"))
    with caplog.at_level(logging.WARNING, logger="voltaloop.crystals.reading"):
        load_structure("oxide.cif", base=tmp_path)
    assert "crystal system" in caplog.text


def test_the_written_supercell_is_read_back_as_the_same_crystal(tmp_path: Path) -> None:
    frame = supercell(load_structure("LiMnO2"), (2, 2, 1))
    write(tmp_path / "cell.extxyz", frame.to_atoms())
    again = load_structure("cell.extxyz", base=tmp_path)
    assert again.positions == pytest.approx(frame.positions, abs=1e-6)
    assert isinstance(again, Frame)
    assert again.magmoms == pytest.approx(frame.magmoms)

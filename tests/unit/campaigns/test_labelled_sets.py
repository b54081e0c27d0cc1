import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from puppet import Puppet

from voltaloop.campaigns import export_labels
from voltaloop.campaigns.labelled_sets import (
    LabelledSet,
    check_same_species,
    read_labels,
    without,
)
from voltaloop.campaigns.study_file import LabelsSection
from voltaloop.core import LabelledSetError

sys.path.append(str(Path(__file__).parents[2] / "support"))

from labelled_oxide import labelled_atoms


def read(folder: Path, **section: Any) -> LabelledSet:
    return read_labels(LabelsSection(**section), folder)


def refusal(folder: Path, **section: Any) -> str:
    with pytest.raises(LabelledSetError) as caught:
        read(folder, **section)
    return str(caught.value)


def molecule(symbols: str = "OH", energy: float = -3.0, distance: float = 1.0) -> Atoms:
    """Two atoms without a cell, labelled under the keys of another program."""
    atoms = Atoms(symbols, positions=[[0, 0, 0], [distance, 0, 0]])
    atoms.info["energy_xtb"] = energy
    atoms.arrays["forces_xtb"] = np.array([[0.1, 0, 0], [-0.1, 0, 0]])
    return atoms


XTB = {"energy": "energy_xtb", "forces": "forces_xtb"}


@pytest.fixture
def oxide() -> list[Atoms]:
    return labelled_atoms(5)


def assert_same(found: LabelledSet, truth: list[Atoms], atol: float = 1e-7) -> None:
    assert len(found.examples) == len(truth)
    for example, atoms in zip(found.examples, truth, strict=True):
        np.testing.assert_allclose(example.frame.positions, atoms.positions, atol=atol)
        np.testing.assert_allclose(example.frame.cell, atoms.cell.array, atol=atol)
        assert example.label.energy == pytest.approx(atoms.get_potential_energy(), abs=atol)
        np.testing.assert_allclose(example.label.forces, atoms.get_forces(), atol=atol)
        assert example.label.stress is not None
        np.testing.assert_allclose(example.label.stress, atoms.get_stress(), atol=atol)


def test_extended_xyz_files_give_their_labels_one_after_the_other(
    tmp_path: Path, oxide: list[Atoms]
) -> None:
    ase.io.write(tmp_path / "a.xyz", oxide[:3], format="extxyz")
    ase.io.write(tmp_path / "b.xyz", oxide[3:], format="extxyz")
    found = read(tmp_path, extxyz=["a.xyz", "b.xyz"])
    assert_same(found, oxide)
    assert found.species == ("Li", "O", "Ni")
    assert found.describe() == (
        "5 labelled frames of Li-O-Ni, 4 atoms each (5 with stress), from a.xyz, b.xyz"
    )


def test_an_ase_database_gives_its_labels(tmp_path: Path, oxide: list[Atoms]) -> None:
    with ase.db.connect(tmp_path / "labels.db", type="db") as database:
        for atoms in oxide:
            database.write(atoms)
    assert_same(read(tmp_path, ase_db="labels.db"), oxide)


def test_an_ase_database_gives_labels_that_stand_under_other_keys(tmp_path: Path) -> None:
    atoms = molecule()
    with ase.db.connect(tmp_path / "labels.db", type="db") as database:
        database.write(
            atoms,
            key_value_pairs={"energy_xtb": -3.0},
            data={"forces_xtb": atoms.arrays["forces_xtb"]},
        )
    (example,) = read(tmp_path, ase_db="labels.db", **XTB).examples
    assert example.label.energy == -3.0
    np.testing.assert_allclose(example.label.forces, atoms.arrays["forces_xtb"])


@pytest.mark.parametrize(("origins", "count"), [("training", 16), ("audit", 6), ("all", 22)])
def test_a_campaign_gives_its_training_labels_its_audit_or_both(
    tmp_path: Path, origins: str, count: int
) -> None:
    puppet = Puppet(tmp_path / "campaign").open()
    puppet.run()
    puppet.write()
    found = read(tmp_path, campaign="campaign", origins=origins)
    assert len(found.examples) + found.doubles == count


@pytest.mark.parametrize("format_name", ["extxyz", "deepmd", "ase-db"])
def test_what_a_campaign_exports_is_read_back_the_same(tmp_path: Path, format_name: str) -> None:
    puppet = Puppet(tmp_path / "campaign").open()
    puppet.run()
    export_labels(puppet.write(), format_name, tmp_path / "out")
    truth = read(tmp_path, campaign="campaign", origins="all").examples
    found = read(tmp_path, **{format_name.replace("-", "_"): "out"}).examples
    assert len(found) == len(truth)
    for one, other in zip(found, truth, strict=True):
        np.testing.assert_allclose(one.frame.positions, other.frame.positions, atol=1e-7)
        assert one.label.energy == pytest.approx(other.label.energy, abs=1e-7)


def test_frames_without_a_cell_come_into_a_box_and_lose_a_stress_they_cannot_have(
    tmp_path: Path,
) -> None:
    ase.io.write(tmp_path / "m.xyz", [molecule()], format="extxyz")
    found = read(tmp_path, extxyz="m.xyz", box_A=40, **XTB)
    (example,) = found.examples
    np.testing.assert_array_equal(example.frame.cell, 40 * np.eye(3))
    assert example.label.stress is None
    assert "1 without a cell put into a box" in found.describe()


def test_a_box_must_keep_a_molecule_from_its_image(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "m.xyz", [molecule(distance=50)], format="extxyz")
    assert refusal(tmp_path, extxyz="m.xyz", **XTB) == (
        f"{tmp_path}/m.xyz, frame 0: the molecule is 50.0 Å across and would meet its image in a "
        "box of 60 Å. Set labels.box_A to 74 or more."
    )


def test_a_stress_may_be_a_matrix_of_nine(tmp_path: Path, oxide: list[Atoms]) -> None:
    (atoms,) = oxide[:1]
    atoms.info["sigma"] = atoms.get_stress(voigt=False)
    ase.io.write(tmp_path / "a.xyz", atoms, format="extxyz")
    (example,) = read(tmp_path, extxyz="a.xyz", stress="sigma").examples
    assert example.label.stress is not None
    np.testing.assert_allclose(example.label.stress, atoms.get_stress(), atol=1e-7)


def test_stress_is_left_out_where_it_is_not_wanted(tmp_path: Path, oxide: list[Atoms]) -> None:
    ase.io.write(tmp_path / "a.xyz", oxide, format="extxyz")
    assert read(tmp_path, extxyz="a.xyz", stress=None).with_stress == 0


def test_the_same_frame_twice_counts_once(tmp_path: Path, oxide: list[Atoms]) -> None:
    ase.io.write(tmp_path / "a.xyz", [*oxide, oxide[2]], format="extxyz")
    found = read(tmp_path, extxyz="a.xyz")
    assert (len(found.examples), found.doubles) == (5, 1)
    assert "1 left out that were in it twice" in found.describe()


def test_a_missing_key_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "m.xyz", [molecule()], format="extxyz")
    told = refusal(tmp_path, extxyz="m.xyz", energy="energy_xtb")
    assert "m.xyz, frame 0: there is no 'forces'. Its keys: energy_xtb, forces_xtb." in told
    assert "Say which one holds the forces with labels.forces." in told


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "m.xyz", [molecule(), molecule(energy=float("nan"))], format="extxyz")
    assert "frame 1: the label is not finite numbers" in refusal(tmp_path, extxyz="m.xyz", **XTB)


def test_forces_of_another_shape_are_refused(tmp_path: Path) -> None:
    atoms = molecule()
    atoms.arrays["forces_xtb"] = np.zeros((2, 2))
    ase.io.write(tmp_path / "m.xyz", [atoms], format="extxyz")
    told = refusal(tmp_path, extxyz="m.xyz", **XTB)
    assert "the label cannot be used: forces: expected shape (2, 3), got (2, 2)" in told


def _nothing(path: Path) -> None:
    path.write_text("")


def _prose(path: Path) -> None:
    path.write_text("not an extended XYZ file\nat all\n")


@pytest.mark.parametrize(
    ("write", "words"),
    [(_nothing, "holds no labelled frames"), (_prose, "cannot be read as an extended XYZ file")],
)
def test_files_without_frames_are_refused(
    tmp_path: Path, write: Callable[[Path], None], words: str
) -> None:
    write(tmp_path / "a.xyz")
    assert words in refusal(tmp_path, extxyz="a.xyz")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    assert (
        refusal(tmp_path, extxyz="none.xyz") == f"labels.extxyz: there is no {tmp_path}/none.xyz."
    )


def test_a_slab_without_a_third_vector_is_refused(tmp_path: Path) -> None:
    atoms = molecule()
    atoms.cell, atoms.pbc = [5, 5, 0], [True, True, False]
    ase.io.write(tmp_path / "m.xyz", [atoms], format="extxyz")
    assert "periodic but has no volume" in refusal(tmp_path, extxyz="m.xyz", **XTB)


def test_a_test_set_of_other_elements_is_refused(tmp_path: Path) -> None:
    for name, symbols in (("a", "OH"), ("b", "OF")):
        atoms = molecule(symbols)
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((2, 3)))
        ase.io.write(tmp_path / f"{name}.xyz", [atoms], format="extxyz")
    training, test = (read(tmp_path, extxyz=f"{name}.xyz") for name in "ab")
    with pytest.raises(LabelledSetError, match=r"has F, which the labels of a.xyz \(H, O\) do not"):
        check_same_species(training, test)


def test_frames_of_the_test_are_not_learned_from(tmp_path: Path, oxide: list[Atoms]) -> None:
    ase.io.write(tmp_path / "a.xyz", oxide, format="extxyz")
    ase.io.write(tmp_path / "b.xyz", oxide[:2], format="extxyz")
    training, test = (read(tmp_path, extxyz=f"{name}.xyz") for name in "ab")
    assert without(training, test).examples == training.examples[2:]
    with pytest.raises(LabelledSetError, match=r"All frames of b.xyz are in the test set a.xyz"):
        without(test, training)

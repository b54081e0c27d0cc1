"""What is written in DeePMD-kit's format comes back to the last bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from voltaloop.core import Frame, Label, LabelledSetError
from voltaloop.core.deepmd_npy import Labelled, read_deepmd, write_deepmd


def labelled(
    seed: int, *, lithium: int = 1, stress: bool = True, moments: bool = False
) -> Labelled:
    """A rattled, strained rock salt cell in shuffled order with numbers that have no short form."""
    rng = np.random.default_rng(seed)
    atoms = bulk("NiO", "rocksalt", a=4.2, cubic=True)
    atoms.numbers[np.flatnonzero(atoms.numbers == 28)[:lithium]] = 3
    atoms = atoms[rng.permutation(len(atoms))]
    frame = Frame(
        numbers=atoms.numbers,
        positions=atoms.positions + rng.normal(0.0, 5.0, (8, 3)),
        cell=atoms.cell.array + rng.normal(0.0, 0.1, (3, 3)),
        magmoms=rng.normal(size=8) if moments else None,
    )
    label = Label(
        energy=rng.normal(-50.0, 1.0),
        forces=rng.normal(size=(8, 3)),
        stress=rng.normal(size=6) if stress else None,
        magmoms=rng.normal(size=8) if moments else None,
    )
    return frame, label


def assert_identical(found: list[Labelled], expected: list[Labelled]) -> None:
    assert len(found) == len(expected)
    for (frame, label), (true_frame, true_label) in zip(found, expected, strict=True):
        assert frame.to_json() == true_frame.to_json()
        assert label.to_json() == true_label.to_json()


@pytest.fixture
def mixed() -> list[Labelled]:
    """Three compositions, with and without stress and moments, in turn."""
    return [labelled(k, lithium=k % 3, stress=k % 2 == 0, moments=k % 4 == 1) for k in range(12)]


def test_all_kinds_of_frames_come_back_identical_and_in_their_order(
    mixed: list[Labelled], tmp_path: Path
) -> None:
    write_deepmd(mixed, tmp_path)
    assert_identical(read_deepmd(tmp_path), mixed)


def test_an_unconverged_label_and_its_details_come_back(tmp_path: Path) -> None:
    frame, label = labelled(0)
    details = {"scf_steps": 12, "width_eV": 1 / 3, "xc": "PBE"}
    pairs = [(frame, replace(label, converged=False, details=details)), labelled(1)]
    write_deepmd(pairs, tmp_path)
    assert_identical(read_deepmd(tmp_path), pairs)


def test_frames_with_and_without_stress_get_systems_of_their_own(
    mixed: list[Labelled], tmp_path: Path
) -> None:
    systems = write_deepmd(mixed, tmp_path)
    assert sorted(system.name for system in systems) == [
        "Li2Ni2O4",
        "Li2Ni2O4_without_stress",
        "LiNi3O4",
        "LiNi3O4_without_stress",
        "Ni4O4",
        "Ni4O4_without_stress",
    ]
    for system in systems:
        has_virial = (system / "set.000" / "virial.npy").exists()
        assert has_virial == (not system.name.endswith("_without_stress"))


def test_the_kinds_follow_the_species_asked_for(tmp_path: Path) -> None:
    (system,) = write_deepmd([labelled(0)], tmp_path, ["O", "Co", "Ni", "Li"])
    assert (system / "type_map.raw").read_text().split() == ["O", "Co", "Ni", "Li"]
    assert (system / "type.raw").read_text().split() == ["3", "0", "0", "0", "0", "2", "2", "2"]
    assert_identical(read_deepmd(tmp_path), [labelled(0)])


def test_the_virial_is_minus_the_stress_times_the_volume(tmp_path: Path) -> None:
    frame, label = labelled(0)
    (system,) = write_deepmd([(frame, label)], tmp_path)
    virial = np.load(system / "set.000" / "virial.npy")[0].reshape(3, 3)
    assert label.stress is not None
    xx, yy, zz, yz, xz, xy = label.stress
    stress = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    np.testing.assert_allclose(virial, -stress * frame.volume, rtol=1e-14)


def plain(folder: Path) -> None:
    """Leave only what other programs write."""
    for name in ("index", "order", "stress"):
        (folder / "set.000" / f"{name}.npy").unlink()


def test_systems_of_other_programs_are_read_sorted_by_species(tmp_path: Path) -> None:
    frame, label = labelled(3)
    (system,) = write_deepmd([(frame, label)], tmp_path)
    plain(system)
    ((found, said),) = read_deepmd(tmp_path)
    order = np.argsort(frame.numbers, kind="stable")
    np.testing.assert_array_equal(found.numbers, frame.numbers[order])
    np.testing.assert_array_equal(found.positions, frame.positions[order])
    np.testing.assert_array_equal(said.forces, label.forces[order])
    assert said.stress is not None
    np.testing.assert_allclose(said.stress, label.stress, rtol=1e-14)  # type: ignore[arg-type]  # not None


def test_a_virial_changed_by_hand_wins_over_the_stress_kept_beside_it(tmp_path: Path) -> None:
    frame, label = labelled(3)
    (system,) = write_deepmd([(frame, label)], tmp_path)
    file = system / "set.000" / "virial.npy"
    np.save(file, 2 * np.load(file))
    ((_, said),) = read_deepmd(tmp_path)
    assert said.stress is not None
    assert label.stress is not None
    np.testing.assert_allclose(said.stress, 2 * label.stress, rtol=1e-14)


def test_several_sets_of_one_system_are_read_one_after_the_other(tmp_path: Path) -> None:
    first, second = labelled(1), labelled(2)
    (system,) = write_deepmd([first], tmp_path / "one")
    (other,) = write_deepmd([second], tmp_path / "two")
    (other / "set.000").rename(system / "set.001")
    assert_identical(read_deepmd(tmp_path / "one"), [first, second])


def test_a_mixed_system_with_virtual_atoms_is_read(tmp_path: Path) -> None:
    """Frames of several compositions in one system, as DeePMD-kit's attention models take them."""
    frame, label = labelled(1)
    (system,) = write_deepmd([(frame, label)], tmp_path)
    plain(system)
    (system / "type.raw").write_text("0\n" * 8)
    kinds = [1, -1, 2, 2, 0, 1, 2, 2]
    np.save(system / "set.000" / "real_atom_types.npy", np.array([kinds]))
    ((found, said),) = read_deepmd(tmp_path)
    assert found.numbers.tolist() == [28, 8, 8, 3, 28, 8, 8]
    assert said.forces.shape == (7, 3)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(LabelledSetError, match=r"no system of DeePMD-kit in .*expected folders"):
        read_deepmd(tmp_path)
    (system,) = write_deepmd([labelled(1)], tmp_path)
    (system / "set.000" / "force.npy").rename(tmp_path / "force.npy")
    with pytest.raises(LabelledSetError, match=r"set\.000 has no force\.npy"):
        read_deepmd(tmp_path)
    np.save(system / "set.000" / "force.npy", np.zeros((1, 21)))
    with pytest.raises(LabelledSetError, match=r"force\.npy: expected 1 frames of 24 numbers \(8"):
        read_deepmd(tmp_path)
    (tmp_path / "force.npy").replace(system / "set.000" / "force.npy")
    (system / "type_map.raw").write_text("Li\nXy\nO\n")
    with pytest.raises(LabelledSetError, match="'Xy' is not a chemical symbol"):
        read_deepmd(tmp_path)
    (system / "type_map.raw").unlink()
    with pytest.raises(LabelledSetError, match=r"no type_map\.raw.*Write their chemical symbols"):
        read_deepmd(tmp_path)
    (system / "nopbc").touch()
    with pytest.raises(LabelledSetError, match=r"not periodic \(nopbc\)"):
        read_deepmd(tmp_path)

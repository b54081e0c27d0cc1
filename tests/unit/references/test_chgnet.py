import sys

import numpy as np
import pytest
from ase.build import bulk
from ase.spacegroup import crystal

from voltaloop.core import Frame, MissingDependencyError, ReferenceFailure
from voltaloop.references import Gate, build_reference, label_frame


def layered_oxide(metal: str, a: float, c: float) -> Frame:
    atoms = crystal(
        ["Li", metal, "O"],
        [(0, 0, 0.5), (0, 0, 0), (0, 0, 0.2585)],
        spacegroup=166,
        cellpar=[a, a, c, 90, 90, 120],
        primitive_cell=True,
    )
    atoms.rattle(0.03, seed=4)
    return Frame.from_atoms(atoms)


@pytest.fixture
def frame() -> Frame:
    return layered_oxide("Ni", 2.878, 14.19)


def test_one_pass_gives_what_chgnets_own_calculator_gives(frame, capsys):
    from chgnet.model.dynamics import CHGNetCalculator

    atoms = frame.to_atoms()
    atoms.calc = CHGNetCalculator(use_device="cpu")
    capsys.readouterr()
    label = build_reference("chgnet", {"dispersion": None}).label(frame)
    assert label.energy == pytest.approx(float(atoms.get_potential_energy()), abs=1e-5)
    np.testing.assert_allclose(label.forces, atoms.get_forces(), atol=1e-4)
    np.testing.assert_allclose(label.stress, atoms.get_stress(), atol=1e-5)
    np.testing.assert_allclose(label.magmoms, atoms.get_magnetic_moments(), atol=1e-5)


def test_the_energy_is_the_total_and_not_per_atom(frame):
    label = build_reference("chgnet", {}).label(frame)
    assert -30 < label.energy < -20


def test_nickel_carries_the_moment_and_lithium_none(frame):
    moments = build_reference("chgnet", {}).label(frame).magmoms
    by_element = dict(zip(frame.numbers.tolist(), moments, strict=True))
    assert by_element[28] > 0.5
    assert abs(by_element[3]) < 0.05


def test_dispersion_is_on_by_default_and_lowers_energy_and_volume(frame):
    bare = build_reference("chgnet", {"dispersion": "none"}).label(frame)
    bound = build_reference("chgnet", {}).label(frame)
    assert bound.energy - bare.energy == pytest.approx(bound.details["dispersion_energy_eV"])
    assert bound.stress[:3].sum() > bare.stress[:3].sum()


def test_the_r2scan_weights_are_another_reference_with_its_own_dispersion(frame):
    label = build_reference("chgnet", {"model": "r2scan"}).label(frame)
    assert label.details["model"] == "CHGNet r2scan"
    assert label.details["dispersion"] == "D3(BJ) r2scan"
    assert label.energy != pytest.approx(build_reference("chgnet", {}).label(frame).energy, abs=1)


def test_loading_and_labelling_prints_nothing(frame, capfd):
    from voltaloop.references import chgnet

    chgnet._load_model.cache_clear()
    build_reference("chgnet", {}).label(frame)
    assert capfd.readouterr() == ("", "")


def test_a_second_reference_of_the_process_shares_the_loaded_model(frame):
    from voltaloop.references import chgnet

    build_reference("chgnet", {}).label(frame)
    loaded = chgnet._load_model.cache_info().misses
    build_reference("chgnet", {"dispersion": None}).label(frame)
    assert chgnet._load_model.cache_info().misses == loaded


def test_an_atom_without_neighbours_is_a_failure_with_a_reason():
    lonely = Frame.from_atoms(bulk("Li", "sc", a=9.0))
    with pytest.raises(ReferenceFailure, match=r"engine_failed: ValueError: .*isolated atom"):
        label_frame(build_reference("chgnet", {}), lonely, Gate())


@pytest.mark.parametrize("package", ["torch", "chgnet", "dftd3"])
def test_a_missing_package_is_told_with_its_pip_line(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"'{package}'.*voltaloop\[chgnet\]"):
        build_reference("chgnet", {}).check_installed()

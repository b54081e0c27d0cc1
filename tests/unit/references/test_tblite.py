import sys
from dataclasses import replace

import numpy as np
import pytest
from ase.build import molecule

from voltaloop.core import Frame, MissingDependencyError, ReferenceFailure
from voltaloop.references import build_reference
from voltaloop.references.tblite import Tblite


@pytest.fixture
def water() -> Frame:
    atoms = molecule("H2O")
    atoms.set_cell([12.0, 12.0, 12.0])
    return Frame.from_atoms(atoms)


def test_a_water_molecule_has_the_energy_tblite_prints_for_it(water):
    # The manual of tblite gives -156.96750590 eV for the molecule; the images add a little.
    assert build_reference("tblite", {}).label(water).energy == pytest.approx(-156.9675, abs=0.02)


def test_gfn2_is_another_method(water):
    label = build_reference("tblite", {"method": "GFN2-xTB"}).label(water)
    assert label.energy == pytest.approx(-137.9678, abs=0.02)
    assert label.details["method"] == "GFN2-xTB"


def test_moments_of_a_frame_do_not_change_its_label(water):
    reference = build_reference("tblite", {})
    marked = replace(water, magmoms=np.array([2.0, 0.0, 0.0]))
    assert reference.label(marked).energy == reference.label(water).energy


def test_a_triplet_lies_above_the_singlet(water):
    singlet = build_reference("tblite", {}).label(water).energy
    assert build_reference("tblite", {"multiplicity": 3}).label(water).energy > singlet + 1


def test_too_few_iterations_are_named_not_converged(water):
    with pytest.raises(ReferenceFailure, match=r"^not_converged: after 1 iterations"):
        build_reference("tblite", {"max_iterations": 1}).label(water)


def test_a_failure_keeps_what_tblite_said(water):
    with pytest.raises(ReferenceFailure) as caught:
        build_reference("tblite", {"max_iterations": 1}).label(water)
    assert "not converge" in caught.value.files["tblite.txt"]


@pytest.mark.parametrize("rung", Tblite.LADDER, ids=lambda rung: rung.name)
def test_a_rung_labels_what_too_few_iterations_did_not(water, rung):
    base = {"max_iterations": 5}
    with pytest.raises(ReferenceFailure, match=r"^not_converged"):
        build_reference("tblite", base).label(water)
    assert "not_converged" in rung.reasons
    label = build_reference("tblite", rung.applied_to(base)).label(water)
    assert label.energy == pytest.approx(
        build_reference("tblite", {}).label(water).energy, abs=1e-4
    )


def test_an_element_without_parameters_is_told_as_the_engine_tells_it(water):
    fermium = replace(water, numbers=np.array([100, 1, 1]))
    with pytest.raises(ReferenceFailure, match=r"^engine_failed: .*No support for element"):
        build_reference("tblite", {}).label(fermium)


def test_missing_tblite_is_told_with_its_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "tblite", None)
    with pytest.raises(MissingDependencyError, match=r"'tblite'.*voltaloop\[tblite\]"):
        build_reference("tblite", {}).check_installed()

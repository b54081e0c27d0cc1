import sys

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.calculators.emt import EMT

from voltaloop.core import Frame, Label, MissingDependencyError
from voltaloop.references.labelling import add_labels, check_packages, label_from_calculator


class OnDemand(Calculator):
    """Computes only what is asked, and counts how often; stress comes as a matrix."""

    implemented_properties = ("energy", "forces", "stress", "magmoms")

    def __init__(self):
        super().__init__()
        self.runs = 0

    def calculate(self, atoms, properties, system_changes):
        super().calculate(atoms, properties, system_changes)
        self.runs += 1
        self.results = {"energy": -1.0, "magmoms": np.ones(len(atoms))}
        if properties != ["energy"]:
            self.results["forces"] = np.zeros((len(atoms), 3))
            self.results["stress"] = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])


class NoStressAfterAll(OnDemand):
    def get_stress(self, _atoms):
        raise PropertyNotImplementedError("no stress at this cutoff")


@pytest.fixture
def copper() -> Frame:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    return Frame.from_atoms(atoms)


def test_a_label_holds_what_the_calculator_says(copper):
    atoms = copper.to_atoms()
    atoms.calc = EMT()
    label = label_from_calculator(EMT(), copper)
    assert label.energy == atoms.get_potential_energy()
    np.testing.assert_array_equal(label.forces, atoms.get_forces())
    np.testing.assert_array_equal(label.stress, atoms.get_stress())
    assert label.magmoms is None


def test_the_engine_runs_once_per_label(copper):
    calculator = OnDemand()
    label_from_calculator(calculator, copper)
    assert calculator.runs == 1


def test_a_stress_matrix_becomes_the_voigt_order_of_the_contract(copper):
    assert label_from_calculator(OnDemand(), copper).stress.tolist() == [1, 2, 3, 4, 5, 6]


def test_a_property_the_calculator_turns_out_not_to_have_is_none(copper):
    assert label_from_calculator(NoStressAfterAll(), copper).stress is None


def test_labels_add_up_and_keep_the_moments_of_the_first():
    first = Label(energy=1.0, forces=np.ones((2, 3)), stress=np.ones(6), magmoms=[1.0, 2.0])
    second = Label(energy=2.0, forces=np.ones((2, 3)), stress=np.ones(6), details={"d": 1.0})
    total = add_labels(first, second)
    assert total.energy == 3.0
    assert (total.forces == 2).all()
    assert (total.stress == 2).all()
    assert total.magmoms.tolist() == [1.0, 2.0]
    assert total.details == {"d": 1.0}


def test_a_sum_with_a_label_without_stress_has_no_stress():
    first = Label(energy=1.0, forces=np.ones((2, 3)))
    second = Label(energy=2.0, forces=np.ones((2, 3)), stress=np.ones(6))
    assert add_labels(first, second).stress is None


def test_a_missing_package_is_named_with_its_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "chgnet", None)
    with pytest.raises(
        MissingDependencyError, match=r"'chgnet'.*pip install 'voltaloop\[chgnet\]'"
    ):
        check_packages(["chgnet"], extra="chgnet")


def test_looking_for_a_package_does_not_import_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "tabnanny", raising=False)
    check_packages(["tabnanny"], extra="none")
    assert "tabnanny" not in sys.modules

import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones

from voltaloop.core import CampaignFileError, Frame, MissingDependencyError, ReferenceFailure
from voltaloop.references import Gate, build_reference, label_frame


@pytest.fixture
def argon() -> Frame:
    return Frame.from_atoms(bulk("Ar", cubic=True))


def test_parameters_reach_the_calculator(argon):
    parameters = {"epsilon": 0.01, "sigma": 3.4, "rc": 8.0}
    reference = build_reference(
        "ase", {"calculator": "ase.calculators.lj:LennardJones", "parameters": parameters}
    )
    atoms = argon.to_atoms()
    atoms.calc = LennardJones(**parameters)
    assert reference.label(argon).energy == atoms.get_potential_energy()


def test_the_label_names_its_calculator(argon):
    reference = build_reference("ase", {"calculator": "ase.calculators.lj:LennardJones"})
    assert reference.label(argon).details["calculator"] == "ase.calculators.lj:LennardJones"


def test_dispersion_is_off_unless_asked_for(argon):
    settings = {"calculator": "ase.calculators.lj:LennardJones"}
    bare = build_reference("ase", settings).label(argon)
    assert "dispersion" not in bare.details
    bound = build_reference("ase", {**settings, "dispersion": "d3bj"}).label(argon)
    assert bound.energy < bare.energy
    assert bound.details["dispersion"] == "D3(BJ) PBE"


@pytest.mark.parametrize(
    "path", ["ase.calculators.emt.EMT", "ase.calculators.emt:", ":EMT", "a b:C"]
)
def test_a_path_of_another_form_is_refused(path):
    with pytest.raises(CampaignFileError, match="calculator: "):
        build_reference("ase", {"calculator": path})


def test_a_missing_package_is_told_with_its_pip_line():
    reference = build_reference("ase", {"calculator": "no_such_package.calculators:Mine"})
    with pytest.raises(
        MissingDependencyError,
        match=r"No module named 'no_such_package'.*ase.calculators.emt:EMT.*"
        "pip install no_such_package",
    ):
        reference.check_installed()


def test_a_missing_class_is_told_with_the_nearest_name():
    reference = build_reference("ase", {"calculator": "ase.calculators.emt:EMTT"})
    with pytest.raises(CampaignFileError, match=r"no calculator 'EMTT'. Did you mean 'EMT'"):
        reference.check_installed()


class Unlicensed:
    """A calculator whose program is not there."""

    implemented_properties = ("energy", "forces")

    def get_forces(self, _atoms):
        raise RuntimeError("the licence server does not answer")


def test_a_failure_keeps_the_traceback(argon, monkeypatch):
    monkeypatch.setattr("ase.calculators.lj.LennardJones", lambda **_: Unlicensed())
    reference = build_reference(
        "ase", {"calculator": "ase.calculators.lj:LennardJones", "parameters": {"sigma": 9.9}}
    )
    with pytest.raises(ReferenceFailure, match="licence server does not answer") as caught:
        label_frame(reference, argon, Gate())
    assert "in get_forces" in caught.value.files["traceback.txt"]

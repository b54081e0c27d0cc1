"""Every reference keeps the contract; one class per engine."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.spacegroup import crystal

from voltaloop.core import Frame, Rung
from voltaloop.core.contracts import Reference
from voltaloop.references import REFERENCES, build_reference
from voltaloop.testing import ReferenceContract

GPAW_PYTHON = os.environ.get("VOLTALOOP_GPAW_PYTHON", sys.executable)
HAS_GPAW = "VOLTALOOP_GPAW_PYTHON" in os.environ or importlib.util.find_spec("gpaw") is not None


def rattled(atoms) -> Frame:
    atoms.rattle(0.05, seed=7)
    return Frame.from_atoms(atoms)


class TestChgnet(ReferenceContract):
    engine = "chgnet"
    # Single precision: an energy of -25 eV is known to 2e-6 eV, so steps are long.
    displacement = 2e-2
    strain = 3e-3
    force_tolerance = 3e-3
    stress_tolerance = 1e-4

    def make_reference(self) -> Reference:
        return build_reference("chgnet", {})

    def make_frame(self) -> Frame:
        return rattled(
            crystal(
                ["Li", "Ni", "O"],
                [(0, 0, 0.5), (0, 0, 0), (0, 0, 0.2585)],
                spacegroup=166,
                cellpar=[2.878, 2.878, 14.19, 90, 90, 120],
                primitive_cell=True,
            )
        )


class TestTblite(ReferenceContract):
    engine = "tblite"
    has_magmoms = False
    is_extensive = False

    def make_reference(self) -> Reference:
        return build_reference("tblite", {"accuracy": 0.01})

    def make_frame(self) -> Frame:
        water = molecule("H2O")
        water.set_cell([[5.0, 0.3, 0.0], [0.0, 5.2, 0.4], [0.2, 0.0, 5.5]])
        return rattled(water)


class TestAse(ReferenceContract):
    engine = "ase"
    has_magmoms = False

    def make_reference(self) -> Reference:
        return build_reference("ase", {"calculator": "ase.calculators.emt:EMT"})

    def make_frame(self) -> Frame:
        return rattled(bulk("Cu", cubic=True))


class TestAseWithDispersion(TestAse):
    """D3 in double precision under the tolerances of the contract."""

    def make_reference(self) -> Reference:
        return build_reference(
            "ase", {"calculator": "ase.calculators.emt:EMT", "dispersion": "d3bj"}
        )


class TestFaulty(ReferenceContract):
    """The fault injector without faults is the reference it wraps."""

    engine = "faulty"
    has_magmoms = False

    @pytest.fixture(autouse=True)
    def _new_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make_reference(self) -> Reference:
        return build_reference(
            "faulty",
            {
                "wraps": {"engine": "ase", "calculator": "ase.calculators.emt:EMT"},
                "folder": str(self.folder),
                "rate": 0.0,
            },
        )

    def make_frame(self) -> Frame:
        return rattled(bulk("Cu", cubic=True))


@pytest.mark.slow
@pytest.mark.skipif(not HAS_GPAW, reason="GPAW is not installed; see make gpaw")
class TestGpaw(ReferenceContract):
    engine = "gpaw"
    has_magmoms = False
    # A cell and its supercell have different k-points, whose convergence is the user's choice.
    is_extensive = False
    # A plane-wave basis is not quite the same after a shift against the grid or under strain.
    energy_tolerance = 1e-3
    force_tolerance = 1e-2
    stress_tolerance = 5e-4
    ladder_energy_tolerance = 1e-3
    ladder_force_tolerance = 1e-2
    displacement = 1e-2
    # So small that the set of plane waves stays the same: the stress is the derivative at fixed
    # basis, and each wave that enters or leaves makes a step in the energy.
    strain = 1e-4

    def make_reference(self) -> Reference:
        return build_reference(
            "gpaw", {"python": GPAW_PYTHON, "density_convergence": 1e-6, "timeout_s": 250}
        )

    def make_frame(self) -> Frame:
        return rattled(bulk("LiF", "rocksalt", a=4.05))


def test_every_registered_reference_has_a_contract_class() -> None:
    covered = {contract.engine for contract in ReferenceContract.__subclasses__()}
    assert covered == set(REFERENCES.names())


def test_the_contract_tells_a_rung_that_changes_the_answer() -> None:
    class Hotter(TestTblite):
        def make_reference(self) -> Reference:
            reference = super().make_reference()
            rung = Rung(
                name="a hotter one",
                reasons=("not_converged",),
                options={"electronic_temperature_K": 20000.0},
            )
            return type("Hotter", (type(reference),), {"LADDER": (rung,)})(reference.settings)

    suite = Hotter()
    with pytest.raises(AssertionError, match="a hotter one"):
        suite.test_every_rung_of_the_ladder_gives_the_same_label(
            suite.make_reference(), suite.make_frame()
        )


def test_the_contract_tells_wrong_forces_from_right_ones() -> None:
    class Liar(TestAse):
        def make_reference(self) -> Reference:
            return build_reference("ase", {"calculator": f"{__name__}:HalvedForces"})

    suite = Liar()
    with pytest.raises(AssertionError):
        suite.test_forces_are_minus_the_gradient_of_the_energy(
            suite.make_reference(), suite.make_frame(), seed=1
        )


class HalvedForces:
    """A calculator whose forces are half of what they should be."""

    implemented_properties = ("energy", "forces")

    def __init__(self) -> None:
        self.emt = EMT()

    def get_potential_energy(self, atoms):
        return self.emt.get_potential_energy(atoms)

    def get_forces(self, atoms):
        return np.asarray(self.emt.get_forces(atoms)) / 2

"""Every potential keeps the contract; one class per engine."""

from dataclasses import dataclass, replace
from importlib import import_module
from typing import ClassVar

import numpy as np
import pytest

from voltaloop.core.contracts import Committee, CommitteePrediction
from voltaloop.potentials import POTENTIALS, Potential
from voltaloop.potentials.pod import Pod, PodCommittee, PodSettings
from voltaloop.testing.potentials import PotentialContract, model_frames


class TestPod(PotentialContract):
    engine = "pod"
    energy_error = 2e-4
    force_error = 1e-2
    stress_error = 2e-4

    def make_potential(self) -> Potential:
        return Pod(PodSettings(members=4, basis="small"))


def test_every_registered_potential_has_a_contract_class() -> None:
    for name in ("chgnet", "deepmd", "gap", "mace"):
        import_module(f"test_{name}_contract")  # larger engines have files of their own
    covered = {contract.engine for contract in PotentialContract.__subclasses__()}
    assert covered == set(POTENTIALS.names())


@dataclass(frozen=True)
class HalvedForces:
    """A committee whose forces are half of what they should be."""

    honest: PodCommittee
    size: ClassVar[int] = 4

    def predict(self, frame, *, stress: bool = False) -> CommitteePrediction:
        prediction = self.honest.predict(frame, stress=stress)
        return replace(prediction, forces=prediction.forces / 2)


def test_the_contract_tells_wrong_forces_from_right_ones() -> None:
    basis = PodSettings(basis="small").chosen_basis
    rng = np.random.default_rng(0)
    honest = PodCommittee(
        basis=basis,
        species=("Li", "Ni", "O"),
        coefficients=rng.normal(0.0, 0.01, (4, basis.size(3))),
    )
    suite, frame = TestPod(), model_frames(1, seed=11)[0]
    check = suite.test_forces_of_every_member_are_minus_the_gradient_of_its_energy
    check(honest, frame, seed=1)
    liar: Committee = HalvedForces(honest)  # type: ignore[assignment]
    with pytest.raises(AssertionError):
        check(liar, frame, seed=1)

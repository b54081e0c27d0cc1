"""The potential ``deepmd`` keeps the contract, with the real DeePMD-kit."""

import os

import pytest

from voltaloop.core import MissingDependencyError
from voltaloop.potentials import Potential
from voltaloop.potentials.deepmd import DeepmdPotential, DeepmdSettings
from voltaloop.testing.potentials import PotentialContract

DP = os.environ.get("VOLTALOOP_DP")
"""Names the program or its environment, where it is neither in PATH nor in .deepmd."""


def missing() -> str:
    """Why the real engine cannot run, or nothing."""
    try:
        DeepmdPotential(DeepmdSettings(dp=DP)).check_installed()
    except MissingDependencyError as err:
        return f"{err} VOLTALOOP_DP names another one."
    return ""


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestDeepmd(PotentialContract):
    """Errors are wider than usual: a training of a few hundred steps, for the sake of time."""

    engine = "deepmd"
    goes_on_from_previous = True
    energy_error = 0.03
    force_error = 0.12
    stress_error = 0.015

    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        if reason := missing():
            pytest.skip(reason)

    def make_potential(self) -> Potential:
        return DeepmdPotential(
            DeepmdSettings(members=2, dp=DP, steps=600, retrain_steps=100, rcut=4.0)
        )

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
    engine = "deepmd"
    goes_on_from_previous = True

    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        if reason := missing():
            pytest.skip(reason)

    def make_potential(self) -> Potential:
        return DeepmdPotential(
            DeepmdSettings(members=2, dp=DP, steps=1000, retrain_steps=200, rcut=4.5)
        )

"""The potential ``mace`` keeps the contract."""

from importlib.util import find_spec

import pytest

from voltaloop.potentials import Potential
from voltaloop.potentials.mace import Mace, MaceSettings
from voltaloop.testing.potentials import PotentialContract


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mace") is None, reason="mace is not installed; see make mace")
class TestMace(PotentialContract):
    engine = "mace"
    goes_on_from_previous = True
    # A network of a few numbers after few passes; the spread of energies is 0.04, of forces 0.6.
    energy_error = 2e-2
    force_error = 0.2
    stress_error = 1e-2

    def make_potential(self) -> Potential:
        return Mace(
            MaceSettings(
                members=2,
                r_max=4.0,
                channels=8,
                max_L=0,
                radial_basis=6,
                batch_size=2,
                epochs=20,
                retrain_epochs=4,
                dtype="float64",
                device="cpu",
            )
        )

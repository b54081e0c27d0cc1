"""The potential ``gap`` keeps the contract."""

from importlib.util import find_spec

import pytest

from voltaloop.potentials import Potential
from voltaloop.potentials.gap import Gap, GapSettings, Soap
from voltaloop.testing.potentials import PotentialContract


@pytest.mark.slow
@pytest.mark.skipif(find_spec("quippy") is None, reason="quippy is not installed; see make gap")
class TestGap(PotentialContract):
    engine = "gap"

    def make_potential(self) -> Potential:
        soap = Soap(cutoff=3.5, cutoff_transition_width=1.0, n_max=4, l_max=2, sparse=40, delta=0.3)
        return Gap(
            GapSettings(
                members=3,
                uncertainty="variance",
                sigma_energy=1e-3,
                cutoff_2b=4.0,
                sparse_2b=10,
                delta_2b=1.0,
                theta_2b=1.0,
                soap=(soap,),
            )
        )

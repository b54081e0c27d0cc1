"""DeePMD-kit: deep potentials, trained by the program ``dp`` in an environment of its own."""

from voltaloop.potentials.deepmd.committee import DeepmdCommittee
from voltaloop.potentials.deepmd.potential import DeepmdPotential
from voltaloop.potentials.deepmd.settings import DeepmdSettings

__all__ = ["DeepmdCommittee", "DeepmdPotential", "DeepmdSettings"]

"""CHGNet fine-tuned: the universal potential that ships its weights learns one material."""

from voltaloop.potentials.chgnet.chgnet import ChgnetPotential
from voltaloop.potentials.chgnet.committee import ChgnetCommittee
from voltaloop.potentials.chgnet.settings import ChgnetSettings

__all__ = ["ChgnetCommittee", "ChgnetPotential", "ChgnetSettings"]

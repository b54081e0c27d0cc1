"""MACE: equivariant message passing, trained by the program that its authors maintain."""

from voltaloop.potentials.mace.committee import MaceCommittee
from voltaloop.potentials.mace.mace import Mace
from voltaloop.potentials.mace.settings import MaceSettings
from voltaloop.potentials.mace.training import MaceError

__all__ = ["Mace", "MaceCommittee", "MaceError", "MaceSettings"]

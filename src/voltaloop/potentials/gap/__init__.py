"""Gaussian approximation potentials (GAP): two-body and SOAP kernels, fitted by ``gap_fit``."""

from voltaloop.potentials.gap.committee import GapCommittee
from voltaloop.potentials.gap.fitting import GapFitError
from voltaloop.potentials.gap.potential import Gap
from voltaloop.potentials.gap.settings import GapSettings, Soap

__all__ = ["Gap", "GapCommittee", "GapFitError", "GapSettings", "Soap"]

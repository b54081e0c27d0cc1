"""Committee statistics, calibration, trust levels and selection."""

from voltaloop.uncertainty.calibration import (
    MIN_SCORES,
    Z95,
    Calibration,
    Calibrations,
    fit_calibration,
    prior_calibration,
    raw_covered,
)
from voltaloop.uncertainty.selection import Candidate, Picked, TrustLevels, auto_trust, select
from voltaloop.uncertainty.statistics import Assessment, Spread, t_width

__all__ = [
    "MIN_SCORES",
    "Z95",
    "Assessment",
    "Calibration",
    "Calibrations",
    "Candidate",
    "Picked",
    "Spread",
    "TrustLevels",
    "auto_trust",
    "fit_calibration",
    "prior_calibration",
    "raw_covered",
    "select",
    "t_width",
]

"""Molecular dynamics and other ways to visit structures."""

from voltaloop.exploration.md import (
    Assessed,
    MdLimits,
    MdPlan,
    MdResult,
    Outcome,
    Sample,
    run_md,
)
from voltaloop.exploration.statics import static_evaluator

__all__ = [
    "Assessed",
    "MdLimits",
    "MdPlan",
    "MdResult",
    "Outcome",
    "Sample",
    "run_md",
    "static_evaluator",
]

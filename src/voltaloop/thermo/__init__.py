"""Answers: relaxation, convex hull, voltage, volume, and their error bars."""

from voltaloop.thermo.answer import (
    ReferenceOrdering,
    RelaxedOrdering,
    SteppedVoltage,
    Trust,
    Valued,
    average_voltage,
    hull_voltages,
    length_err,
    lowest,
    lowest_reference,
    reference_voltages,
    volume_change,
    volume_err,
)
from voltaloop.thermo.relax import Relaxed, relax
from voltaloop.thermo.voltage import VoltageStep, lower_hull, voltage, voltage_steps

__all__ = [
    "ReferenceOrdering",
    "Relaxed",
    "RelaxedOrdering",
    "SteppedVoltage",
    "Trust",
    "Valued",
    "VoltageStep",
    "average_voltage",
    "hull_voltages",
    "length_err",
    "lower_hull",
    "lowest",
    "lowest_reference",
    "reference_voltages",
    "relax",
    "voltage",
    "voltage_steps",
    "volume_change",
    "volume_err",
]

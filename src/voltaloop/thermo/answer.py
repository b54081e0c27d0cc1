"""The answer: volume and voltage against lithium content, with error bars.

Every ± is the half width of a 95 % interval. It has two parts, added in quadrature: the spread of
the property over the committee members times the slope of the calibration (energy for voltages,
stress for volumes and lattice parameters), and what the floor of the calibration, the bias the
members share, does to the property.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from voltaloop.core import FloatArray
from voltaloop.thermo.voltage import (
    VoltageStep,
    lower_hull,
    relative_change_percent,
    voltage_steps,
)

Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Slope and floor of a calibration; the floor in eV/atom (energy) or eV/Å3 (stress)."""

    slope: float
    floor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaxedOrdering:
    """An ordering relaxed by the committee mean and by each of n members, per formula unit.

    energy in eV, volume in Å3, a and c in Å (NaN where there are no layers); members: arrays (n,)
    of the same; compressibility: −dV/dp in Å3 per eV/Å3; atoms_per_fu: atoms per formula unit.
    """

    x: float
    ordering: int
    energy: float
    volume: float
    a: float
    c: float
    member_energies: FloatArray
    member_volumes: FloatArray
    member_a: FloatArray
    member_c: FloatArray
    compressibility: float
    atoms_per_fu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceOrdering:
    """The same ordering relaxed by the reference itself, per formula unit."""

    x: float
    ordering: int
    energy: float
    volume: float
    a: float
    c: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Valued:
    """A number and the half width of its 95 % interval."""

    value: float
    err: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SteppedVoltage(VoltageStep):
    """A plateau with the half width of its 95 % interval in V."""

    err: float


def lowest(orderings: Sequence[RelaxedOrdering]) -> list[RelaxedOrdering]:
    """The ordering of lowest energy at each content, by falling x."""
    contents = sorted({o.x for o in orderings}, reverse=True)
    return [min((o for o in orderings if o.x == x), key=lambda o: o.energy) for x in contents]


def lowest_reference(orderings: Sequence[ReferenceOrdering]) -> dict[float, ReferenceOrdering]:
    """The reference's own ordering of lowest energy, by content."""
    contents = {o.x for o in orderings}
    return {x: min((o for o in orderings if o.x == x), key=lambda o: o.energy) for x in contents}


def volume_err(ordering: RelaxedOrdering, stress: Trust) -> float:
    """± of the volume in Å3 per formula unit."""
    spread = stress.slope * float(np.std(ordering.member_volumes, ddof=1))
    return Z95 * float(np.hypot(spread, ordering.compressibility * stress.floor))


def length_err(ordering: RelaxedOrdering, name: str, stress: Trust) -> float:
    """± of "a" or "c" in Å; the shared bias is taken to strain all directions alike."""
    members = getattr(ordering, f"member_{name}")
    spread = stress.slope * float(np.std(members, ddof=1))
    relative = ordering.compressibility * stress.floor / ordering.volume / 3
    return Z95 * float(np.hypot(spread, getattr(ordering, name) * relative))


def volume_change(full: RelaxedOrdering, empty: RelaxedOrdering, stress: Trust) -> Valued:
    """Volume change from ``full`` to ``empty`` in percent."""
    value = relative_change_percent(np.array(full.volume), np.array(empty.volume))
    members = relative_change_percent(full.member_volumes, empty.member_volumes)
    shared = [100 * o.compressibility * stress.floor / full.volume for o in (full, empty)]
    spread = stress.slope * float(np.std(members, ddof=1))
    return Valued(
        value=float(value), err=Z95 * float(np.sqrt(spread**2 + np.sum(np.square(shared))))
    )


def average_voltage(
    full: RelaxedOrdering, empty: RelaxedOrdering, lithium: float, energy: Trust
) -> Valued:
    """Average voltage between two contents in V against bcc Li."""
    step = _step(full, empty, lithium, energy)
    return Valued(value=step.voltage, err=step.err)


def hull_voltages(
    lowest_orderings: Sequence[RelaxedOrdering], lithium: float, energy: Trust
) -> tuple[list[SteppedVoltage], list[bool]]:
    """Plateaus on the convex hull by falling x, and whether each ordering lies on the hull."""
    hull = lower_hull([o.x for o in lowest_orderings], [o.energy for o in lowest_orderings])
    on_hull = [i in hull for i in range(len(lowest_orderings))]
    corners = [lowest_orderings[i] for i in hull[::-1]]
    steps = [_step(high, low, lithium, energy) for high, low in pairwise(corners)]
    return steps, on_hull


def reference_voltages(own: Sequence[ReferenceOrdering], lithium: float) -> list[VoltageStep]:
    """The reference's plateaus on its own hull."""
    x, energies = [o.x for o in own], [o.energy for o in own]
    return voltage_steps(x, energies, lithium, lower_hull(x, energies))


def _step(
    high: RelaxedOrdering, low: RelaxedOrdering, lithium: float, energy: Trust
) -> SteppedVoltage:
    width = high.x - low.x
    members = -(high.member_energies - low.member_energies - width * lithium) / width
    shared = [o.atoms_per_fu * energy.floor / width for o in (high, low)]
    spread = energy.slope * float(np.std(members, ddof=1))
    return SteppedVoltage(
        x_from=high.x,
        x_to=low.x,
        voltage=-(high.energy - low.energy - width * lithium) / width,
        err=Z95 * float(np.sqrt(spread**2 + np.sum(np.square(shared)))),
    )

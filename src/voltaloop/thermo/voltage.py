"""Convex hull and voltage against lithium content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voltaloop.core import FloatArray

SAME_X_DIGITS = 6
"""Lithium contents that agree to this many digits are one content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoltageStep:
    """A plateau between two neighbouring hull contents, V against bcc Li."""

    x_from: float
    x_to: float
    voltage: float


def voltage(x1: float, energy1: float, x2: float, energy2: float, lithium: float) -> float:
    """V(x1→x2) = −[E(x1) − E(x2) − (x1−x2)·E(bcc Li)]/(x1−x2) in V.

    Energies in eV per formula unit, ``lithium`` in eV per atom of bcc Li; one electron per Li
    (Aydinol et al., doi 10.1103/PhysRevB.56.1354).
    """
    return -(energy1 - energy2 - (x1 - x2) * lithium) / (x1 - x2)


def lower_hull(x: Sequence[float], energies: Sequence[float]) -> list[int]:
    """Indices of the points on the lower convex hull of energy against x, by rising x.

    Formation energies against the two end members: what lies above the hull decomposes into its
    neighbours. Of several points at one x only the lowest counts.
    """
    order = sorted(range(len(x)), key=lambda i: (round(x[i], SAME_X_DIGITS), energies[i]))
    hull: list[int] = []
    for i in order:
        if hull and round(x[hull[-1]], SAME_X_DIGITS) == round(x[i], SAME_X_DIGITS):
            continue
        while len(hull) >= 2 and _above(x, energies, hull[-2], hull[-1], i):
            hull.pop()
        hull.append(i)
    return hull


def _above(x: Sequence[float], energies: Sequence[float], a: int, b: int, c: int) -> bool:
    """Whether point b lies on or above the line from a to c."""
    along = (x[b] - x[a]) / (x[c] - x[a])
    return energies[b] >= energies[a] + along * (energies[c] - energies[a])


def voltage_steps(
    x: Sequence[float], energies: Sequence[float], lithium: float, hull: Sequence[int]
) -> list[VoltageStep]:
    """Plateaus between neighbouring points of ``hull`` (indices by rising x), by falling x."""
    pairs = zip(hull[::-1], hull[::-1][1:], strict=False)
    return [
        VoltageStep(
            x_from=x[high],
            x_to=x[low],
            voltage=voltage(x[high], energies[high], x[low], energies[low], lithium),
        )
        for high, low in pairs
    ]


def relative_change_percent(full: FloatArray, empty: FloatArray) -> FloatArray:
    """Change of ``empty`` against ``full`` in percent, member by member."""
    change: FloatArray = 100.0 * (empty - full) / full
    return change

"""Distances between atoms over all periodic images, and the limit below which atoms overlap."""

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.neighborlist import neighbor_list

from voltaloop.core import Frame, StructureError

OVERLAP_FRACTION = 0.5
"""Atoms overlap when closer than this fraction of the sum of their covalent radii
(Cordero et al., doi:10.1039/b801115j): 0.95 Å for Ni-O, 0.66 Å for O-O, 0.97 Å for Li-O."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Two atoms (or an atom and its image) closer than their limit. Both lengths in Å."""

    first: int
    second: int
    distance: float
    limit: float


def closest_pair(frame: Frame) -> tuple[int, int, float]:
    """The two atoms that are closest over all periodic images: ``(i, j, distance in Å)``, i ≤ j.

    ``i == j`` means an atom and its own image. Of equally close pairs (to 1e-9 Å) the one with the
    smallest indices is given.

    Raises StructureError when the frame has no atoms.
    """
    if len(frame) == 0:
        raise StructureError("Expected at least one atom to measure a distance from, got none.")
    first, second, distance = neighbor_list("ijd", frame.to_atoms(), _packing_bound(frame))
    k = np.lexsort((second, first, np.round(distance, 9)))[0]
    return int(first[k]), int(second[k]), float(distance[k])


def minimum_distance(frame: Frame) -> float:
    """The smallest distance in Å between two atoms, periodic images included."""
    return closest_pair(frame)[2]


def find_overlap(frame: Frame) -> Overlap | None:
    """The pair furthest below its limit of :data:`OVERLAP_FRACTION`, or None if there is none."""
    radii = OVERLAP_FRACTION * covalent_radii[frame.numbers]
    first, second, distance = neighbor_list("ijd", frame.to_atoms(), radii)
    if len(distance) == 0:
        return None
    limit = radii[first] + radii[second]
    k = np.lexsort((second, first, np.round(distance / limit, 9)))[0]
    return Overlap(
        first=int(first[k]),
        second=int(second[k]),
        distance=float(distance[k]),
        limit=float(limit[k]),
    )


def describe_overlap(frame: Frame, overlap: Overlap) -> str:
    """``Ni 1 and O 3 are 0.41 Å apart, closer than the limit of 0.95 Å (...)``."""
    first, second = (
        f"{chemical_symbols[frame.numbers[i]]} {i}" for i in (overlap.first, overlap.second)
    )
    other = "its own periodic image" if overlap.first == overlap.second else second
    return (
        f"{first} and {other} are {overlap.distance:.2f} Å apart, closer than the limit of "
        f"{overlap.limit:.2f} Å ({OVERLAP_FRACTION:g} × the sum of their covalent radii; "
        "atoms are counted from 0)"
    )


def _packing_bound(frame: Frame) -> float:
    """A length in Å within which the closest pair is sure to lie.

    Spheres cannot be packed denser than π/√18 (Hales, doi:10.4007/annals.2005.162.1065), so the
    smallest distance d between n points in a periodic volume V has d³ ≤ √2 V/n.
    """
    return float(np.cbrt(np.sqrt(2.0) * frame.volume / len(frame))) * (1 + 1e-6)

"""Which way the layers of a layered host lie."""

import numpy as np
from ase.neighborlist import neighbor_list

from voltaloop.core import FloatArray, Frame
from voltaloop.crystals.composition import is_framework_metal
from voltaloop.crystals.distances import closest_pair

IN_PLANE_REACH = 1.3
"""Metals up to this multiple of the shortest metal-metal distance are neighbours in a layer: it
covers a Jahn-Teller distortion (1.1) and leaves out the next layer (1.7)."""

FLATNESS = 0.05
"""Share of the neighbours' squared distances that may point out of the plane in a layered host."""


def layer_normal(frame: Frame) -> FloatArray | None:
    """The unit vector (3,) across the layers of the host metals, or None if they form none.

    The metals' nearest neighbours lie within the layers of a layered host: their vectors v then
    span a plane, and the smallest eigenvalue of Σ v vᵀ nearly vanishes. The sign is arbitrary.
    """
    metal = is_framework_metal(frame.numbers)
    if not np.any(metal):
        return None
    metals = Frame(numbers=frame.numbers[metal], positions=frame.positions[metal], cell=frame.cell)
    reach = IN_PLANE_REACH * closest_pair(metals)[2]
    vectors = neighbor_list("D", metals.to_atoms(), reach)
    spread, axes = np.linalg.eigh(vectors.T @ vectors)
    is_layered = spread[0] <= FLATNESS * spread.sum() < spread[1]
    return np.asarray(axes[:, 0]) if is_layered else None


def hexagonal_parameters(frame: Frame) -> tuple[float, float] | None:
    """a and c in Å of the equivalent hexagonal O3 cell, or None where no layers are found.

    a from the area per metal within a layer (a² √3/2), c as three times the layer spacing; in a
    distorted supercell these are averages over its layers.
    """
    normal = layer_normal(frame)
    if normal is None:
        return None
    metals = is_framework_metal(frame.numbers)
    heights = frame.positions[metals] @ normal
    period = _period_across(frame.cell, normal)
    if period is None:
        return None
    layers = _count_layers(heights, period)
    spacing = period / layers
    area_per_metal = frame.volume / spacing / int(np.count_nonzero(metals))
    return float(np.sqrt(2 * area_per_metal / np.sqrt(3))), 3 * spacing


def _period_across(cell: FloatArray, normal: FloatArray) -> float | None:
    """Distance between two lattice planes parallel to the layers: the smallest nonzero height of
    a lattice vector, or None when two vectors lead across the layers by different heights."""
    heights = np.abs(cell @ normal)
    across = heights > 0.25 * heights.max()
    if np.count_nonzero(across) != 1:
        return None
    in_plane = cell[~across]
    area = np.linalg.norm(np.cross(in_plane[0], in_plane[1]))
    return float(abs(np.linalg.det(cell)) / area)


def _count_layers(heights: FloatArray, period: float) -> int:
    """Number of groups of heights (modulo ``period``) with more than half an ångström between."""
    folded = np.sort(heights % period)
    gaps = np.diff(np.append(folded, folded[0] + period))
    return max(int(np.count_nonzero(gaps > 0.5)), 1)

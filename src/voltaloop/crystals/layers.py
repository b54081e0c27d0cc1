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

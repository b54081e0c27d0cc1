"""Crystals: reading, supercells, lithium/vacancy orderings, starting frames."""

from voltaloop.crystals.cells import compact, supercell
from voltaloop.crystals.composition import INITIAL_MOMENTS, formula_units
from voltaloop.crystals.distances import OVERLAP_FRACTION, closest_pair, minimum_distance
from voltaloop.crystals.layers import hexagonal_parameters, layer_normal
from voltaloop.crystals.orderings import Ordering, orderings, reachable_contents
from voltaloop.crystals.prototypes import PROTOTYPES, Prototype, lithium_metal
from voltaloop.crystals.reading import load_structure
from voltaloop.crystals.starting import starting_frames

__all__ = [
    "INITIAL_MOMENTS",
    "OVERLAP_FRACTION",
    "PROTOTYPES",
    "Ordering",
    "Prototype",
    "closest_pair",
    "compact",
    "formula_units",
    "hexagonal_parameters",
    "layer_normal",
    "lithium_metal",
    "load_structure",
    "minimum_distance",
    "orderings",
    "reachable_contents",
    "starting_frames",
    "supercell",
]

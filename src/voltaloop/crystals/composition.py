"""What a structure is made of: formula, formula units, lithium content, initial moments."""

from collections import Counter
from math import gcd
from types import MappingProxyType

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from ase.formula import Formula
from numpy.typing import NDArray

from voltaloop.core import LITHIUM, FloatArray, Frame, IntArray, StructureError

ANIONS = frozenset({"O", "S", "Se", "F"})
"""Species counted as the anion X of a layered Li_x MX2."""

POLYANION_CENTRES = frozenset({"H", "B", "C", "N", "Si", "P", "Cl", "As", "Br", "I"})
"""Non-metals that sit inside an anion group: such a host is no MX2, whatever its counts."""

INITIAL_MOMENTS = MappingProxyType(
    {"V": 2.0, "Cr": 3.0, "Mn": 4.0, "Fe": 5.0, "Co": 0.0, "Ni": 1.0}
)
"""Moments in μB from which a spin-polarised calculation starts.

Spin-only moments of the trivalent ion in the octahedra of a layered LiMO2: V d2, Cr d3, Mn d4 and
Fe d5 high spin, Co d6 and Ni d7 low spin. Every other element starts from 0.
"""


def counts(frame: Frame) -> dict[str, int]:
    """Number of atoms of each element."""
    return dict(Counter(chemical_symbols[number] for number in frame.numbers))


def formula(frame: Frame) -> str:
    """The formula for messages, e.g. ``Li4Ni4O8``."""
    return str(Formula.from_dict(counts(frame)).format("metal"))


def formula_units(frame: Frame) -> int:
    """Number of formula units in the frame; lithium content x is counted per formula unit.

    In a layered Li_x MX2 (X = O, S, Se, F at twice the number of the other non-lithium atoms) a
    formula unit is one M, so that LiNi0.75Co0.25O2 in a cell of four metals has four. Any other
    host (LiFePO4, Li2MnO3) is reduced by the greatest common divisor of its element counts
    without lithium. The answer is the same at every lithium content.

    Raises StructureError when there is nothing but lithium.
    """
    host = {element: n for element, n in counts(frame).items() if element != "Li"}
    if not host:
        raise StructureError(
            "Expected a host that lithium can leave (a metal oxide, for example), "
            f"got {formula(frame) or 'no atoms'}: without one there is no formula unit."
        )
    anions = sum(n for element, n in host.items() if element in ANIONS)
    metals = sum(host.values()) - anions
    if anions == 2 * metals and POLYANION_CENTRES.isdisjoint(host):
        return metals
    return gcd(*host.values())


def is_framework_metal(numbers: IntArray) -> NDArray[np.bool_]:
    """(n_atoms,) True for the metals of the host: neither lithium nor an anion's atom."""
    others = {atomic_numbers[symbol] for symbol in ANIONS | POLYANION_CENTRES} | {LITHIUM}
    return np.array([number not in others for number in numbers], dtype=np.bool_)


def initial_moments(numbers: IntArray) -> FloatArray | None:
    """(n_atoms,) moments in μB of :data:`INITIAL_MOMENTS`, or None where all are zero."""
    moments = np.array([INITIAL_MOMENTS.get(chemical_symbols[number], 0.0) for number in numbers])
    return moments if np.any(moments) else None

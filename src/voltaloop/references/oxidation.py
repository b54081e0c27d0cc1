"""Formal oxidation states from the composition, and the moments a d shell can have with them.

Spin-only counting: n unpaired electrons have n μB. https://doi.org/10.1107/S0567739476001551 lists
which ions are high and which low spin; here only the two extremes are needed.
"""

import numpy as np

from voltaloop.core import IntArray

TRANSITION_METALS = (*range(21, 31), *range(39, 49), *range(72, 81))

_CLOSED_SHELLS = {21: 3, 30: 2, 39: 3, 48: 2}
"""Transition metals with one oxidation state, whose d shell is empty or full: Sc, Zn, Y, Cd."""

MAGNETIC_METALS = tuple(z for z in TRANSITION_METALS if z not in _CLOSED_SHELLS)

_CHARGES = {
    **dict.fromkeys((1, 3, 11, 19, 37, 55), 1),  # H, alkali metals
    **dict.fromkeys((4, 12, 20, 38, 56), 2),  # alkaline earths
    **dict.fromkeys((5, 13, 31, 49, 57), 3),  # B, Al, Ga, In, La
    **dict.fromkeys((14, 32), 4),  # Si, Ge
    15: 5,  # phosphates
    8: -2,
    **dict.fromkeys((9, 17, 35, 53), -1),  # halides
    **_CLOSED_SHELLS,
}
"""Charge of every other element by its number, where an oxide leaves no doubt about it."""

_OXYGEN = 8

_HIGHEST_STATES = {
    **dict.fromkeys((22, 24, 25, 26, 27, 28, 40, 45, 46, 72, 78), 4),  # Ti Cr-Ni Zr Rh Pd Hf Pt
    **dict.fromkeys((23, 41, 44, 73, 77), 5),  # V Nb Ru Ta Ir
    **dict.fromkeys((42, 74), 6),  # Mo W
    **dict.fromkeys((29, 47, 79), 3),  # Cu Ag Au
    **dict.fromkeys((43, 75), 7),  # Tc Re
    **dict.fromkeys((76,), 8),  # Os
    80: 2,  # Hg
}
"""State in oxides beyond which it is oxygen that gives up electrons."""


def oxidation_state(numbers: IntArray) -> float | None:
    """Mean formal oxidation state of the transition metals of an oxide, for example 3.5 for
    Li0.5NiO2.

    numbers: (n_atoms,) atomic numbers. None where the composition does not tell it: no oxygen, no
    transition metal with an open shell, an element whose charge is in doubt, or fewer than one
    electron given up per metal.
    """
    metals = np.isin(numbers, MAGNETIC_METALS)
    others = numbers[~metals]
    if not metals.any() or _OXYGEN not in others or any(int(z) not in _CHARGES for z in others):
        return None
    state = -sum(_CHARGES[int(z)] for z in others) / int(metals.sum())
    return state if state >= 1 else None


def high_spin_moment(number: int, state: float) -> float:
    """Largest moment in μB of a metal in its formal state, linear between whole states.

    Beyond the metal's highest state every further electron comes from oxygen and leaves one spin.
    """
    reached = min(state, _HIGHEST_STATES[number])
    d = d_electrons(number, reached)
    return max(min(d, 10 - d), 0.0) + state - reached


def low_spin_moment(number: int, state: float) -> float:
    """Smallest moment in μB in an octahedron (three low orbitals, two high ones)."""
    d = min(max(d_electrons(number, min(state, _HIGHEST_STATES[number])), 0.0), 10.0)
    return float(np.interp(d, [0, 3, 6, 8, 10], [0, 3, 0, 2, 0]))


def d_electrons(number: int, state: float) -> float:
    """Number of d electrons, the s electrons being given up first."""
    core = 18 if number < 39 else 36 if number < 72 else 68
    return number - core - state


def largest_moment_per_metal(numbers: IntArray) -> float | None:
    """Largest total moment in μB per open-shell metal at this composition; None as above.

    The largest over the metals present, each in the mean state: metals that share the charge
    unevenly lie below it, because the moment is a concave function of the electron count.
    """
    state = oxidation_state(numbers)
    if state is None:
        return None
    present = np.unique(numbers[np.isin(numbers, MAGNETIC_METALS)])
    return max(high_spin_moment(int(number), state) for number in present)

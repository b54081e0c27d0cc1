"""What the composition alone says of a frame: atoms of each species, and their energies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import atomic_numbers

from voltaloop.core import FloatArray, Frame
from voltaloop.core.training import Example


def species_counts(frame: Frame, species: Sequence[str]) -> FloatArray:
    """(n_species,) number of atoms of each species."""
    return np.array([np.count_nonzero(frame.numbers == atomic_numbers[s]) for s in species], float)


def one_body_energies(examples: Sequence[Example], species: Sequence[str]) -> FloatArray:
    """(n_species,) eV: the smallest energies per atom that explain the labels' compositions.

    With few compositions the split between species is not determined; least squares of minimum
    norm gives every species a sane share.
    """
    counts = np.array([species_counts(example.frame, species) for example in examples])
    energies = np.array([example.label.energy for example in examples])
    found: FloatArray = np.linalg.lstsq(counts, energies, rcond=1e-8)[0]
    return found

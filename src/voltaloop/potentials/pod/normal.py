"""Normal equations that add up: a frame costs its rows once, a block is a sum of frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voltaloop.core import FloatArray, Frame, Label
from voltaloop.potentials.pod.descriptors import DesignRows

QUANTITIES = ("energy", "force", "stress")
"""What the potential is fitted to. Errors are per atom (energy, eV), per component (force, eV/Å)
and virial per atom (stress x volume / n_atoms, eV)."""


@dataclass(slots=True)
class NormalEquations:
    """Sums over the rows of one quantity: AᵀA (m, m) and Aᵀb (m,)."""

    gram: FloatArray
    moment: FloatArray

    @classmethod
    def empty(cls, size: int) -> NormalEquations:
        return cls(np.zeros((size, size)), np.zeros(size))

    def add(self, rows: FloatArray, targets: FloatArray) -> None:
        """Add rows (k, m) with targets (k,) in place."""
        self.gram += rows.T @ rows
        self.moment += rows.T @ targets


Block = dict[str, NormalEquations]
"""The normal equations of one block of frames, by quantity."""


def empty_block(size: int) -> Block:
    return {quantity: NormalEquations.empty(size) for quantity in QUANTITIES}


Equations = dict[str, tuple[FloatArray, FloatArray]]
"""Rows (k, m) and targets (k,) of one frame, by quantity."""


def equations(rows: DesignRows, frame: Frame, label: Label, offset: float) -> Equations:
    """Rows and targets of one labelled frame by quantity; ``offset`` in eV is taken off the energy.

    A label without stress gives no stress rows.
    """
    n = len(frame)
    pairs = {
        "energy": (rows.energy[None, :] / n, np.array([(label.energy - offset) / n])),
        "force": (rows.forces.reshape(3 * n, -1), label.forces.ravel()),
    }
    if label.stress is not None and rows.stress is not None:
        scale = frame.volume / n
        pairs["stress"] = (rows.stress * scale, label.stress * scale)
    return pairs

"""Forces on molecules: what moves them, what turns them, what deforms them.

The three parts are those by which Magdău et al. tell intermolecular from intramolecular errors of
a potential (npj Comput. Mater. 9, 146, 2023, doi:10.1038/s41524-023-01100-w): in a liquid the first
two are small beside the third, and the density depends on them alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voltaloop.core import FloatArray
from voltaloop.molecules.finding import Molecule

STRAIGHT = 1e-8
"""Moments of inertia below this share of the largest are zero: a linear molecule, or an atom."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForceParts:
    """Forces on the atoms of a frame in three parts that add up to them, and those on molecules.

    translational, rotational, internal: (n_atoms, 3) in eV/Å; net: (n_molecules, 3) in eV/Å;
    torque: (n_molecules, 3) in eV about the centres of mass.
    """

    translational: FloatArray
    rotational: FloatArray
    internal: FloatArray
    net: FloatArray
    torque: FloatArray

    @property
    def total(self) -> FloatArray:
        """(n_atoms, 3) in eV/Å."""
        return self.translational + self.rotational + self.internal


def split_forces(forces: FloatArray, molecules: Sequence[Molecule]) -> ForceParts:
    """Split the (n_atoms, 3) forces on the atoms of the molecules.

    Translational: the net force F of a molecule, shared by mass, F_i = m_i F / M. Rotational: what
    turns it as a rigid body, F_i = m_i α × r_i with I α = torque about the centre of mass.
    Internal: the rest; it has neither net force nor torque.
    """
    parts = {name: np.zeros_like(forces) for name in ("translational", "rotational")}
    net, torque = [], []
    for molecule in molecules:
        own, masses = forces[molecule.atoms], molecule.masses[:, None]
        arms = molecule.positions - molecule.centre_of_mass
        net.append(own.sum(axis=0))
        torque.append(np.cross(arms, own).sum(axis=0))
        turning = np.linalg.pinv(inertia(molecule), rcond=STRAIGHT, hermitian=True) @ torque[-1]
        parts["translational"][molecule.atoms] = masses / masses.sum() * net[-1]
        parts["rotational"][molecule.atoms] = masses * np.cross(turning, arms)
    internal = forces - parts["translational"] - parts["rotational"]
    return ForceParts(**parts, internal=internal, net=np.array(net), torque=np.array(torque))


def inertia(molecule: Molecule) -> FloatArray:
    """(3, 3) in u Å2, about the centre of mass."""
    arms = molecule.positions - molecule.centre_of_mass
    outer = np.einsum("i,ia,ib->ab", molecule.masses, arms, arms)
    tensor: FloatArray = np.trace(outer) * np.eye(3) - outer
    return tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ForceErrors:
    """Root mean squares of errors in eV/Å over all components of all atoms of all frames; ``net``:
    of the net force over all components of all molecules; ``torque``: likewise, in eV."""

    total: float
    translational: float
    rotational: float
    internal: float
    net: float
    torque: float


def force_errors(got: Sequence[ForceParts], expected: Sequence[ForceParts]) -> ForceErrors:
    """Errors of frames whose forces were split for the same molecules."""
    names = ("total", "translational", "rotational", "internal", "net", "torque")
    return ForceErrors(**{name: _rmse(name, got, expected) for name in names})


def _rmse(name: str, got: Sequence[ForceParts], expected: Sequence[ForceParts]) -> float:
    pairs = zip(got, expected, strict=True)
    errors = [getattr(one, name) - getattr(other, name) for one, other in pairs]
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))

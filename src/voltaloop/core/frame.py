"""A frame (atoms in a periodic cell) and its label (what the reference says of it)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voltaloop.core.hashing import digest_of
from voltaloop.core.units import LITHIUM

if TYPE_CHECKING:
    from ase import Atoms

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def _frozen(values: Any, shape: tuple[int, ...], name: str) -> FloatArray:
    array = np.array(values, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    array.setflags(write=False)
    return array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """Atoms in a periodic cell.

    numbers: (n_atoms,) atomic numbers; positions: (n_atoms, 3) in Å; cell: (3, 3) rows are the
    lattice vectors in Å; magmoms: (n_atoms,) initial magnetic moments in μB, or None.
    """

    numbers: IntArray
    positions: FloatArray
    cell: FloatArray
    magmoms: FloatArray | None = None

    def __post_init__(self) -> None:
        numbers = np.array(self.numbers, dtype=np.int64)
        numbers.setflags(write=False)
        n = len(numbers)
        object.__setattr__(self, "numbers", numbers)
        object.__setattr__(self, "positions", _frozen(self.positions, (n, 3), "positions"))
        object.__setattr__(self, "cell", _frozen(self.cell, (3, 3), "cell"))
        if self.magmoms is not None:
            object.__setattr__(self, "magmoms", _frozen(self.magmoms, (n,), "magmoms"))

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def volume(self) -> float:
        """Cell volume in Å3."""
        return float(abs(np.linalg.det(self.cell)))

    @property
    def n_lithium(self) -> int:
        return int(np.count_nonzero(self.numbers == LITHIUM))

    @property
    def digest(self) -> str:
        """SHA-256 of the frame's content: the same atoms in the same cell have the same digest."""
        return digest_of(self.to_json())

    def to_json(self) -> dict[str, Any]:
        return {
            "numbers": self.numbers.tolist(),
            "positions": self.positions.tolist(),
            "cell": self.cell.tolist(),
            "magmoms": None if self.magmoms is None else self.magmoms.tolist(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Frame:
        return cls(**{key: data[key] for key in ("numbers", "positions", "cell", "magmoms")})

    def to_atoms(self) -> Atoms:
        from ase import Atoms

        return Atoms(
            numbers=self.numbers,
            positions=self.positions,
            cell=self.cell,
            pbc=True,
            magmoms=self.magmoms,
        )

    @classmethod
    def from_atoms(cls, atoms: Atoms) -> Frame:
        """Take numbers, positions, cell and non-zero initial moments of an ASE Atoms."""
        moments = atoms.get_initial_magnetic_moments()
        return cls(
            numbers=atoms.numbers,
            positions=atoms.positions,
            cell=atoms.cell.array,
            magmoms=moments if np.any(moments) else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Label:
    """What a reference says of a frame.

    energy: total energy in eV; forces: (n_atoms, 3) in eV/Å; stress: (6,) in eV/Å3 in ASE's Voigt
    order xx, yy, zz, yz, xz, xy (positive = tension), or None where the engine gives no reliable
    one; magmoms: (n_atoms,) in μB or None; details: small facts of the engine (SCF steps ...).
    """

    energy: float
    forces: FloatArray
    stress: FloatArray | None = None
    magmoms: FloatArray | None = None
    converged: bool = True
    details: Mapping[str, str | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.forces)
        object.__setattr__(self, "energy", float(self.energy))
        object.__setattr__(self, "forces", _frozen(self.forces, (n, 3), "forces"))
        if self.stress is not None:
            object.__setattr__(self, "stress", _frozen(self.stress, (6,), "stress"))
        if self.magmoms is not None:
            object.__setattr__(self, "magmoms", _frozen(self.magmoms, (n,), "magmoms"))

    def is_finite(self) -> bool:
        """Whether it holds numbers alone, no NaN and no infinity."""
        arrays = (self.energy, self.forces, self.stress, self.magmoms)
        return all(bool(np.all(np.isfinite(one))) for one in arrays if one is not None)

    def to_json(self) -> dict[str, Any]:
        return {
            "energy": self.energy,
            "forces": self.forces.tolist(),
            "stress": None if self.stress is None else self.stress.tolist(),
            "magmoms": None if self.magmoms is None else self.magmoms.tolist(),
            "converged": self.converged,
            "details": dict(self.details),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Label:
        keys = ("energy", "forces", "stress", "magmoms", "converged", "details")
        return cls(**{key: data[key] for key in keys})

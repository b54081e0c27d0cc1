"""ASE calculators for campaigns that are real but take seconds.

:class:`PairOxide` holds a layered LiNiO2 together with smooth pair terms alone: a linear potential
learns it from few frames, and a label costs milliseconds. Its numbers describe no real material.
"""

import os
from hashlib import sha256
from itertools import combinations_with_replacement
from pathlib import Path
from time import sleep
from typing import Any, ClassVar
from zlib import crc32

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list

CUTOFF = 4.5
"""Å; every term fades out over the last ångström."""

TERMS = {
    ("Li", "Li"): (0.10, 1.2, 3.00, 1.0),
    ("Li", "Ni"): (0.10, 2.0, 2.90, 0.0),
    ("Li", "O"): (0.40, 2.0, 2.10, 1.0),
    ("Ni", "Ni"): (0.30, 2.0, 2.90, 1.0),
    ("Ni", "O"): (1.20, 2.0, 1.95, 1.0),
    ("O", "O"): (0.10, 2.0, 3.00, 1.0),
}
"""Morse depth (eV), inverse width (1/Å), distance (Å) and share of attraction of each pair."""


class PairOxide(Calculator):
    """Energy, forces and stress from Morse pairs."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces", "stress"]

    def calculate(
        self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        i, distance, vector = neighbor_list("idD", self.atoms, CUTOFF)
        j = neighbor_list("j", self.atoms, CUTOFF)
        energy, slope = _morse(*_parameters(self.atoms.numbers, i, j), distance)
        pull = (slope / distance)[:, None] * vector
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, i, pull)
        virial = 0.5 * np.einsum("ka,kb->ab", pull, vector)
        stress = virial / self.atoms.get_volume()
        self.results = {
            "energy": 0.5 * float(energy.sum()),
            "forces": forces,
            "stress": stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
        }


class Licensed(PairOxide):
    """A calculator that needs its licence server: a file that is there or not."""

    def __init__(self, licence: str) -> None:
        super().__init__()
        self.licence = Path(licence)

    def calculate(self, *arguments: Any, **more: Any) -> None:
        if not self.licence.exists():
            raise RuntimeError("the licence server does not answer")
        super().calculate(*arguments, **more)


class Counted(PairOxide):
    """Writes down every computation when it begins and when it ends; ``seconds``: how much longer
    it takes."""

    def __init__(self, file: str, seconds: float = 0.0) -> None:
        super().__init__()
        self.file, self.seconds = file, seconds

    def calculate(self, atoms: Any = None, *arguments: Any, **more: Any) -> None:
        self._write("begin", atoms)
        super().calculate(atoms, *arguments, **more)
        sleep(self.seconds)
        self._write("end", atoms)

    def _write(self, what: str, atoms: Any) -> None:
        line = f"{what} {geometry(atoms)}\n".encode()
        descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line)  # short enough to be written whole, whoever is killed
        finally:
            os.close(descriptor)


def geometry(atoms: Any) -> str:
    """The same for the same atoms at the same places."""
    parts = (atoms.numbers, np.round(atoms.positions, 6), np.round(np.array(atoms.cell), 6))
    return sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


class Moody(PairOxide):
    """Fails for every third geometry; half of those it can do when asked gently."""

    def __init__(self, *, gently: bool = False) -> None:
        super().__init__()
        self.gently = gently

    def calculate(self, atoms: Any = None, *arguments: Any, **more: Any) -> None:
        mood = crc32(np.round(atoms.positions, 6).tobytes()) % 6
        if mood == 0 or (mood == 3 and not self.gently):
            raise RuntimeError(f"mood {mood}")
        super().calculate(atoms, *arguments, **more)


def _parameters(numbers: Any, i: Any, j: Any) -> Any:
    table = np.zeros((100, 100, 4))
    for a, b in combinations_with_replacement(("Li", "Ni", "O"), 2):
        first, second = atomic_numbers[a], atomic_numbers[b]
        table[first, second] = table[second, first] = TERMS[a, b]
    return table[numbers[i], numbers[j]].T


def _morse(depth: Any, width: Any, place: Any, attraction: Any, distance: Any) -> tuple[Any, Any]:
    """Energy of each pair in eV and its slope in eV/Å."""
    decay = np.exp(-width * (distance - place))
    bare = depth * (decay**2 - 2 * attraction * decay)
    bare_slope = 2 * depth * width * (attraction * decay - decay**2)
    t = np.clip(distance - (CUTOFF - 1), 0, 1)
    fade = 1 - t**3 * (10 - 15 * t + 6 * t**2)
    fade_slope = -30 * t**2 * (1 - t) ** 2
    return bare * fade, bare_slope * fade + bare * fade_slope

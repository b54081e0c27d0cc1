"""Labelled frames of the pair oxide, made in milliseconds. Importable where this folder is on the
path."""

from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from pair_oxide import PairOxide

from voltaloop.crystals import load_structure, starting_frames

TINY = {
    "engine": "pod",
    "members": 3,
    "basis": {
        "rcut": 4.5,
        "twobody": 4,
        "threebody": 2,
        "threebody_degree": 1,
        "fourbody": 0,
        "fourbody_degree": 0,
    },
}
"""A potential that is trained in a second."""


def labelled_atoms(count: int, *, seed: int = 1) -> list[Atoms]:
    """Strained and rattled LiNiO2 of four atoms with energy, forces and stress."""
    cell = load_structure("LiNiO2", base=Path())
    frames = starting_frames(cell, count=count, rattle=0.08, strain=0.02, seed=seed)
    return [_labelled(frame.to_atoms()) for frame in frames]


def _labelled(atoms: Atoms) -> Atoms:
    atoms.calc = PairOxide()
    results = {
        "energy": atoms.get_potential_energy(),
        "forces": atoms.get_forces(),
        "stress": atoms.get_stress(),
    }
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def write_labelled(path: Path, count: int, *, seed: int = 1) -> Path:
    """An extended XYZ file of them."""
    ase.io.write(path, labelled_atoms(count, seed=seed), format="extxyz")
    return path


def compare_data(name: str, **sections: Any) -> dict[str, Any]:
    """A comparison file as data; ``sections`` take the place of what is there."""
    return {
        "name": name,
        "labels": {"extxyz": "labels.xyz"},
        "test": {"share": 0.25},
        "train_sizes": [8, 12],
        "retrain_frames": 2,
        "md_steps": 20,
        "potentials": [TINY],
        **sections,
    }


def tune_data(name: str, **sections: Any) -> dict[str, Any]:
    """A search file as data; ``sections`` take the place of what is there."""
    return {
        "name": name,
        "labels": {"extxyz": "labels.xyz"},
        "potential": TINY,
        "search": {"basis.rcut": {"low": 3.0, "high": 5.0}},
        "validation": {"share": 0.3},
        "trials": 4,
        **sections,
    }

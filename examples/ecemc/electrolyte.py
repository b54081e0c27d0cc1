"""The public data: clusters of carbonates labelled with GFN2-xTB, and a frame of their liquid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms
from ase.io import read

from voltaloop.core import Frame, Label, StructureError, VoltaloopError, digest_of
from voltaloop.core.training import Example
from voltaloop.molecules import Molecule, molecules_of

SPECIES = ("H", "C", "O")

BOX = 60.0
"""Å. Clusters are up to 23 Å long; gap_fit ignores energies of frames without a lattice
(libAtoms/QUIP#607)."""

BOND_SLACK = 0.6
"""Å. With it the molecules found are those that the data name, in every file; many are hot."""

SETS = {
    "test": "solvent_xtb_test.xyz",
    "rotated": "solvent_rotated.xyz",
    "md": "mace02_md_100_xtb.xyz",
}
"""The frames that no potential is trained on: clusters, one molecule turned about, and one along a
trajectory of another potential."""

LIQUID = "solvent_liquid.xyz"

SOURCE = (
    "The data are those of https://github.com/imagdau/Tutorials, folder data at commit 3b7b691: "
    "give the folder as an argument or as VOLTALOOP_DATA."
)


class DataError(VoltaloopError):
    """A file of the data is missing or is not what it should be."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """A frame, its molecules, and its label where the data have one."""

    frame: Frame
    molecules: Sequence[Molecule]
    label: Label | None


def folder_of(data: Path) -> Path:
    """The folder with the files: ``data`` itself, or ``ecemc`` in it."""
    return data / "ecemc" if (data / "ecemc").is_dir() else data


def training_set(folder: Path, generation: str) -> list[Example]:
    """The labelled clusters of a generation, such as "50" or "53_gen1", without isolated atoms."""
    samples = _clusters(folder / f"solvent_xtb_train_{generation}.xyz")
    return [
        Example(key=digest_of([generation, i]), frame=sample.frame, label=_label_of(sample))
        for i, sample in enumerate(samples)
    ]


def evaluation_set(folder: Path, name: str) -> list[Sample]:
    """The frames of one of :data:`SETS`."""
    return _clusters(folder / SETS[name])


def liquid(folder: Path) -> Sample:
    """The periodic frame. Its own label is of another reference and is left out."""
    (atoms,) = _read(folder / LIQUID)
    frame = Frame.from_atoms(atoms)
    return Sample(frame=frame, molecules=_molecules(frame, folder / LIQUID), label=None)


def _clusters(file: Path) -> list[Sample]:
    return [_cluster(atoms, file) for atoms in _read(file) if len(atoms) > 1]


def _cluster(atoms: Atoms, file: Path) -> Sample:
    """In the middle of a periodic box."""
    boxed = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=[BOX] * 3, pbc=True)
    boxed.center()
    frame = Frame.from_atoms(boxed)
    label = None
    if "forces_xtb" in atoms.arrays:
        label = Label(energy=atoms.info["energy_xtb"], forces=atoms.arrays["forces_xtb"])
    return Sample(frame=frame, molecules=_molecules(frame, file), label=label)


def _molecules(frame: Frame, file: Path) -> list[Molecule]:
    try:
        return molecules_of(frame, bond_slack=BOND_SLACK)
    except StructureError as err:
        raise DataError(f"{file}: {err}") from err


def _read(file: Path) -> list[Atoms]:
    if not file.is_file():
        raise DataError(f"Expected the file {file}, found none. {SOURCE}")
    return list(read(file, ":"))


def _label_of(sample: Sample) -> Label:
    if sample.label is None:
        raise DataError("Expected energy_xtb and forces_xtb with every cluster trained on")
    return sample.label

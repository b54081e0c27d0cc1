"""A structure from its name: a built-in prototype, or the user's file."""

import logging
import warnings
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read

from voltaloop.core import FloatArray, Frame, StructureError, did_you_mean
from voltaloop.crystals.cif import partial_occupancies, refuse_other_than_stated
from voltaloop.crystals.composition import formula, formula_units, initial_moments
from voltaloop.crystals.distances import describe_overlap, find_overlap
from voltaloop.crystals.prototypes import PROTOTYPES

logger = logging.getLogger(__name__)

MINIMUM_VOLUME = 1.0
"""Å3 per atom below which a cell counts as flat; the densest solids have several times as much."""


def load_structure(structure: str, *, base: Path | None = None) -> Frame:
    """The lithiated structure of a campaign.

    structure: the name of a built-in prototype (see ``PROTOTYPES``; it wins over a file of that
    name), or the path of a file that holds one structure in a format ASE reads (CIF, POSCAR,
    extxyz ...); a relative path starts at ``base``, by default the working directory.

    The cell is the file's. Moments are the file's, or else those of ``INITIAL_MOMENTS``.

    Raises StructureError, with the name of the file, when the structure cannot be used: no such
    prototype or file; unreadable, empty or cut off; several structures; a cell that is not
    periodic in three directions or has no volume; partial occupancies; no lithium; nothing but
    lithium; overlapping atoms.
    """
    if structure in PROTOTYPES:
        return PROTOTYPES[structure].frame()
    path = (base or Path()) / Path(structure).expanduser()
    if not path.is_file():
        raise StructureError(_nothing_there(structure, path))
    try:
        return _usable(_read_one(path))
    except StructureError as err:
        raise StructureError(f"Structure file '{path}': {err}") from err


def _nothing_there(structure: str, path: Path) -> str:
    known = f"Built-in prototypes: {', '.join(sorted(PROTOTYPES))}."
    if path.is_dir():
        return f"Expected a structure file, got the folder '{path}'. Name a file in it. {known}"
    if path.suffix or path.name != structure:
        return f"No structure file '{path}'. Check the path and its spelling. {known}"
    return (
        f"Unknown structure '{structure}': no built-in prototype, and no file '{path}'."
        f"{did_you_mean(structure, PROTOTYPES)} {known} "
        "Or give the path of a CIF, POSCAR or extxyz file."
    )


def _read_one(path: Path) -> Atoms:
    images = _read_all(path)
    if len(images) != 1:
        raise StructureError(
            f"expected one structure, got {len(images) or 'none: it may be empty or cut off'}. "
            "Save the one you want in a file of its own."
        )
    atoms = images[0]
    if shared := partial_occupancies(atoms):
        raise StructureError(
            f"expected fully occupied sites, got partial occupancies ({'; '.join(shared)}). "
            "Choose one ordered arrangement in a supercell and save that."
        )
    if path.suffix.lower() == ".cif":
        refuse_other_than_stated(atoms, path)
    return atoms


def _read_all(path: Path) -> list[Atoms]:
    """Every structure of the file; whatever a parser stumbles over becomes a StructureError."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            images = read(path, index=":", do_not_split_by_at_sign=True)
    except Exception as err:
        raise StructureError(
            f"it cannot be read ({type(err).__name__}: {err}). Expected one complete structure in "
            "a format ASE knows by the file's name, such as *.cif, POSCAR or *.extxyz. The file "
            "may be empty, cut off or misnamed: open it in a viewer and save it again."
        ) from err
    for warning in caught:
        logger.warning("Structure file '%s': %s", path, warning.message)
    return list(images)


def _usable(atoms: Atoms) -> Frame:
    """The frame of the file's atoms, or the reason why no campaign can start from it."""
    _refuse_bad_cell(atoms)
    frame = Frame(
        numbers=atoms.numbers,
        positions=atoms.positions,
        cell=atoms.cell.array,
        magmoms=_moments(atoms),
    )
    if frame.n_lithium == 0:
        raise StructureError(
            f"expected a structure with lithium, got {formula(frame)}. Give the lithiated "
            "compound: lithium is taken out of it, never put in."
        )
    formula_units(frame)
    if (overlap := find_overlap(frame)) is not None:
        raise StructureError(
            f"{describe_overlap(frame, overlap)}. Check the units of the file (Å), its cell, and "
            "whether an atom is listed twice."
        )
    return frame


def _refuse_bad_cell(atoms: Atoms) -> None:
    if len(atoms) == 0:
        raise StructureError("expected atoms in a cell, got none. The file may be cut off.")
    if not np.all(np.isfinite(atoms.cell.array)) or not np.all(np.isfinite(atoms.positions)):
        raise StructureError("expected finite numbers for cell and positions, got nan or infinity.")
    volume = abs(np.linalg.det(atoms.cell.array))
    if volume < MINIMUM_VOLUME * len(atoms):
        raise StructureError(
            f"expected a cell of three independent vectors in Å, got {volume:.3g} Å3 for "
            f"{len(atoms)} atoms (at least {MINIMUM_VOLUME:g} Å3 an atom). A plain .xyz file has "
            "no cell: use CIF, POSCAR or extxyz."
        )
    if not np.all(atoms.pbc):
        periodic = ", ".join("yes" if along else "no" for along in atoms.pbc)
        raise StructureError(
            f"expected a crystal periodic along all three vectors, got {periodic}. "
            'In extxyz set pbc="T T T".'
        )


def _moments(atoms: Atoms) -> FloatArray | None:
    """The file's initial moments, or its calculated ones, or those of the table."""
    if atoms.has("initial_magmoms"):
        given = atoms.get_initial_magnetic_moments()
    elif atoms.calc is not None and "magmoms" in atoms.calc.results:
        given = np.asarray(atoms.calc.results["magmoms"])
    else:
        return initial_moments(atoms.numbers)
    if given.shape != (len(atoms),):
        raise StructureError(
            f"expected one collinear magnetic moment in μB per atom, shape ({len(atoms)},), "
            f"got {given.shape}. Remove the moments or give their components along one axis."
        )
    return given if np.any(given) else None

"""What a CIF says beside its list of atoms, used to notice a list that is not the whole crystal."""

import re
from collections.abc import Mapping
from math import isclose
from pathlib import Path

from ase import Atoms
from ase.io.cif import parse_cif

from voltaloop.core import Frame, StructureError
from voltaloop.crystals.composition import counts, formula

UNKNOWN = (".", "?")
"""CIF's signs for "as by default" and "not known"; the default of an occupancy is 1."""


def partial_occupancies(atoms: Atoms) -> list[str]:
    """The sites of an ASE structure that are shared or not fully occupied, in words."""
    sites = (atoms.info.get("occupancy") or {}).values()
    return [
        " + ".join(f"{element} {share}" for element, share in site.items())
        for site in sites
        if len(site) > 1 or any(_is_partial(share) for share in site.values())
    ]


def refuse_other_than_stated(atoms: Atoms, path: Path) -> None:
    """Raise StructureError unless the atoms make the formula that the CIF states, if it does.

    Needed because a CIF cut off after a complete line of its atoms parses as a smaller crystal,
    and because one that calls hexagonal axes ``trigonal`` without listing its symmetry operations
    is expanded on the wrong axes.
    """
    with path.open("rb") as file:
        block = next(block for block in parse_cif(file) if block.has_structure())
    stated = _stated_formula(str(block.get("_chemical_formula_sum") or ""))
    if not stated:
        return
    units = block.get("_cell_formula_units_z")
    if not _makes(counts(Frame.from_atoms(atoms)), stated, units):
        said = " ".join(f"{element}{n:g}" for element, n in stated.items())
        raise StructureError(
            f"it states the formula {said}"
            f"{f' with Z = {units}' if isinstance(units, int) else ''}, but its atoms and symmetry "
            f"make {formula(Frame.from_atoms(atoms))}. Either the list of atoms is cut off or the "
            "axes of the space group are misread: save it again with every atom of the cell "
            "written out (space group P 1)."
        )


def _is_partial(share: float | str) -> bool:
    return share not in UNKNOWN and abs(float(share) - 1.0) > 1e-3


def _stated_formula(text: str) -> dict[str, float]:
    found = re.findall(r"([A-Z][a-z]?)(\d*\.?\d*)", text)
    return {element: float(n or 1) for element, n in found}


def _makes(found: Mapping[str, int], stated: Mapping[str, float], units: object) -> bool:
    """Whether the counts are the formula times Z, or times any number where Z is not given."""
    times = units if isinstance(units, int) else sum(found.values()) / sum(stated.values())
    return found.keys() == stated.keys() and all(
        isclose(n, times * stated[element], rel_tol=1e-2) for element, n in found.items()
    )

import numpy as np
import pytest
from ase import Atoms

from voltaloop.core import Frame, StructureError
from voltaloop.crystals import INITIAL_MOMENTS, formula_units, lithium_metal, load_structure
from voltaloop.crystals.composition import counts, formula, initial_moments


def frame_of(formula: str) -> Frame:
    atoms = Atoms(formula)
    atoms.positions[:, 0] = 3.0 * np.arange(len(atoms))
    atoms.cell = [3.0 * len(atoms), 5.0, 5.0]
    return Frame.from_atoms(atoms)


@pytest.mark.parametrize(
    ("compound", "units"),
    [
        ("LiNiO2", 1),
        ("Li4Ni4O8", 4),
        ("NiO2", 1),
        ("Li4Ni3CoO8", 4),
        ("Li2Ni4O8", 4),
        ("Li3Ni3CoO8", 4),
        ("Li4Ni3AlO8", 4),
        ("LiTiS2", 1),
        ("Li4Ni4O7F", 4),
        ("LiFePO4", 1),
        ("Li4Fe4P4O16", 4),
        ("Li2FeSiO4", 1),
        ("Li4Mn2O6", 2),
    ],
)
def test_a_formula_unit_holds_one_metal_of_a_layered_oxide(compound: str, units: int) -> None:
    assert formula_units(frame_of(compound)) == units


def test_formula_units_do_not_change_when_lithium_leaves() -> None:
    units = {formula_units(frame_of(f"Li{n}Ni6Mn2O16")) for n in range(1, 9)}
    assert units == {8}


def test_lithium_metal_has_no_formula_unit() -> None:
    with pytest.raises(StructureError, match=r"Expected a host that lithium can leave.*got Li:"):
        formula_units(lithium_metal())


def test_the_formula_names_every_atom() -> None:
    frame = frame_of("Li4Ni3CoO8")
    assert counts(frame) == {"Li": 4, "Ni": 3, "Co": 1, "O": 8}
    assert sorted(formula(frame)) == sorted("Li4Ni3CoO8")


def test_initial_moments_are_those_of_the_table() -> None:
    moments = initial_moments(frame_of("LiMnNiO4").numbers)
    assert moments is not None
    assert moments.tolist() == [0.0, INITIAL_MOMENTS["Mn"], INITIAL_MOMENTS["Ni"], 0, 0, 0, 0]


def test_initial_moments_that_all_vanish_are_none() -> None:
    assert initial_moments(frame_of("LiCoO2").numbers) is None
    assert load_structure("LiCoO2").magmoms is None

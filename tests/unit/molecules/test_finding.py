from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from clusters import EDGE, cluster

from voltaloop.core import Frame, StructureError
from voltaloop.molecules import molecules_of

NAMES = ["H2O", "CH3OH", "H2O"]


def distances(positions: np.ndarray) -> np.ndarray:
    return np.linalg.norm(positions[:, None] - positions[None], axis=2)


def test_molecules_are_found_with_their_formulas_in_the_order_of_their_first_atoms() -> None:
    found = molecules_of(cluster(NAMES, seed=1))
    assert [one.formula for one in found] == ["H2O", "CH4O", "H2O"]
    assert [list(one.atoms) for one in found] == [[0, 1, 2], [3, 4, 5, 6, 7, 8], [9, 10, 11]]


def test_atoms_of_molecules_may_stand_in_any_order() -> None:
    frame = cluster(NAMES, seed=1)
    order = np.random.default_rng(0).permutation(len(frame))
    mixed = replace(frame, numbers=frame.numbers[order], positions=frame.positions[order])
    found = molecules_of(mixed)
    expected = sorted(sorted(order[one.atoms]) for one in found)
    assert expected == [[0, 1, 2], [3, 4, 5, 6, 7, 8], [9, 10, 11]]
    for one in found:
        np.testing.assert_array_equal(one.numbers, mixed.numbers[one.atoms])


@pytest.mark.parametrize("seed", range(5))
def test_molecules_cut_by_a_boundary_are_whole(seed: int) -> None:
    frame = cluster(NAMES, seed=2)
    tilt = np.array([[EDGE, 0, 0], [7, EDGE, 0], [-5, 4, EDGE]])
    rng = np.random.default_rng(seed)
    moved = frame.positions + rng.uniform(0, EDGE, 3)
    wrapped = (moved @ np.linalg.inv(tilt) % 1.0) @ tilt
    found = molecules_of(replace(frame, positions=wrapped, cell=tilt))
    assert [one.formula for one in found] == ["H2O", "CH4O", "H2O"]
    for one in found:
        inside = frame.positions[one.atoms]
        np.testing.assert_allclose(distances(one.positions), distances(inside), atol=1e-10)


def test_the_centre_of_mass_is_weighted_by_mass() -> None:
    (water,) = molecules_of(cluster(["H2O"], seed=3))
    expected = cluster(["H2O"], seed=3).to_atoms().get_center_of_mass()
    np.testing.assert_allclose(water.centre_of_mass, expected)


def test_an_atom_far_from_all_others_is_a_molecule() -> None:
    frame = Frame(numbers=[3, 8], positions=[[0, 0, 0], [9, 9, 9]], cell=np.eye(3) * 20)
    assert [one.formula for one in molecules_of(frame)] == ["Li", "O"]


def test_a_stretched_bond_holds_with_more_slack() -> None:
    frame = Frame(numbers=[1, 8], positions=[[0, 0, 0], [1.5, 0, 0]], cell=np.eye(3) * 20)
    assert len(molecules_of(frame)) == 2
    assert len(molecules_of(frame, bond_slack=0.6)) == 1


def test_a_crystal_is_no_molecule() -> None:
    with pytest.raises(StructureError, match=r"bonds without an end .* at C 0"):
        molecules_of(Frame.from_atoms(bulk("C", "diamond", a=3.57)))


def test_a_chain_through_the_boundary_is_no_molecule() -> None:
    chain = Frame(
        numbers=[6, 6], positions=[[0, 0, 0], [1.4, 0, 0]], cell=np.diag([2.8, 20.0, 20.0])
    )
    with pytest.raises(StructureError, match="lower bond_slack or take a larger cell"):
        molecules_of(chain)

import numpy as np
import pytest
from ase.calculators.lj import LennardJones
from clusters import cluster

from voltaloop.core import Frame
from voltaloop.molecules import alone, molecules_of, split_energy


def pair_energy(frame: Frame) -> float:
    atoms = frame.to_atoms()
    atoms.calc = LennardJones(sigma=1.0, epsilon=0.02, rc=9.0)
    return float(atoms.get_potential_energy())


def test_a_molecule_alone_keeps_its_shape_and_the_cell() -> None:
    frame = cluster(["H2O", "CH3OH"], seed=1)
    second = molecules_of(frame)[1]
    one = alone(frame, second)
    np.testing.assert_array_equal(one.positions, frame.positions[3:])
    np.testing.assert_array_equal(one.cell, frame.cell)


def test_parts_of_a_pair_potential_are_its_pairs_within_and_between_molecules() -> None:
    frame = cluster(["H2O", "CH3OH", "H2O"], seed=2)
    molecules = molecules_of(frame)
    parts = split_energy(frame, molecules, pair_energy)
    assert parts.total == pytest.approx(pair_energy(frame))
    assert parts.intra == pytest.approx(sum(pair_energy(alone(frame, m)) for m in molecules))
    assert parts.inter < 0


def test_far_molecules_have_no_energy_between_them() -> None:
    one = cluster(["H2O"], seed=3)
    far = Frame(
        numbers=np.tile(one.numbers, 2),
        positions=np.concatenate([one.positions, one.positions + np.array([30, 0, 0])]),
        cell=np.diag([60.0, 30.0, 30.0]),
    )
    assert split_energy(far, molecules_of(far), pair_energy).inter == pytest.approx(0, abs=1e-12)


def test_one_molecule_is_asked_for_once_and_has_nothing_between() -> None:
    asked = []

    def energy_of(frame: Frame) -> float:
        asked.append(frame)
        return -3.0

    frame = cluster(["CH3OH"], seed=4)
    parts = split_energy(frame, molecules_of(frame), energy_of)
    assert (parts.intra, parts.inter, len(asked)) == (-3.0, 0.0, 1)

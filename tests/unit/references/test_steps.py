"""The energy of a step against the work of its forces and stresses, with a pair potential."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from voltaloop.core import Frame, Label, ReferenceFailure
from voltaloop.references import Gate, check_step
from voltaloop.references.labelling import label_from_calculator
from voltaloop.references.steps import _Step

GATE = Gate()

Labelled = tuple[Frame, Label]


def labelled(frame: Frame) -> Labelled:
    return frame, label_from_calculator(EMT(), frame)


@pytest.fixture
def start() -> Labelled:
    """Hot copper under pressure: forces up to 7 eV/Å, a pressure of 39 GPa."""
    atoms = bulk("Cu", cubic=True, a=3.45) * (2, 1, 1)
    atoms.rattle(0.15, seed=5)
    return labelled(Frame.from_atoms(atoms))


def moved(frame: Frame, length: float, seed: int = 1) -> Frame:
    """Every atom its own way, the longest way ``length`` in Å."""
    way = np.random.default_rng(seed).normal(size=(len(frame), 3))
    way -= way.mean(axis=0)
    way *= length / np.linalg.norm(way, axis=1).max()
    return replace(frame, positions=frame.positions + way)


def strained(frame: Frame, size: float, seed: int = 1) -> Frame:
    """A strain of all six kinds, the largest component ``size``."""
    strain = np.random.default_rng(seed).uniform(-1, 1, size=(3, 3))
    strain = strain + strain.T
    deformation = np.eye(3) + size * strain / np.abs(strain).max()
    return replace(frame, cell=frame.cell @ deformation, positions=frame.positions @ deformation)


def downhill(start: Labelled, length: float) -> Frame:
    """Along the forces, so that they do work."""
    frame, label = start
    way = label.forces * length / np.linalg.norm(label.forces, axis=1).max()
    return replace(frame, positions=frame.positions + way)


def compressed(frame: Frame, size: float) -> Frame:
    return replace(frame, cell=frame.cell * (1 - size), positions=frame.positions * (1 - size))


def refused(match: str):
    return pytest.raises(ReferenceFailure, match=f"(?s)^energy_inconsistent: .*{match}")


@pytest.mark.parametrize("seed", range(6))
def test_a_step_of_a_real_potential_passes(start, seed):
    frame = moved(strained(start[0], 0.0149, seed), 0.09, seed)
    assert check_step(start, labelled(frame), GATE)


@pytest.mark.parametrize("seed", range(3))
def test_the_mismatch_falls_faster_than_the_square_of_the_step(start, seed):
    def mismatch(scale: float) -> float:
        frame = moved(strained(start[0], 0.014 * scale, seed), 0.09 * scale, seed)
        end = labelled(frame)
        work = _Step.between(start[0], frame).work(start[1], end[1])
        return abs(end[1].energy - start[1].energy - work)

    sizes = [mismatch(scale) for scale in (1.0, 0.5, 0.25)]
    assert sizes[0] < 1e-3 * len(start[0])
    assert sizes[2] < sizes[0] / 4**2


def test_a_shifted_energy_is_refused_and_the_label_kept(start):
    frame, label = labelled(moved(start[0], 0.05))
    jumped = replace(label, energy=label.energy + 0.03 * len(frame))
    with refused(
        r"the energy changed by .* up to 0\.05.*Å and whose cell is 0\.00% away; forces and "
        r"stresses call for .*max_energy_mismatch_eV_per_atom"
    ) as caught:
        check_step(start, (frame, jumped), GATE)
    assert caught.value.label is jumped


@pytest.mark.parametrize("factor", [0.5, -1.0])
def test_wrong_forces_are_refused(start, factor):
    end = downhill(start, 0.09)
    assert check_step(start, labelled(end), GATE)

    def wrong(one: Labelled) -> Labelled:
        return one[0], replace(one[1], forces=factor * one[1].forces)

    with refused("forces and stresses call for"):
        check_step(wrong(start), wrong(labelled(end)), GATE)


@pytest.mark.parametrize("factor", [-1.0, 0.5])
def test_a_wrong_stress_is_refused(start, factor):
    end = compressed(start[0], 0.0149)
    assert check_step(start, labelled(end), GATE)

    def wrong(one: Labelled) -> Labelled:
        return one[0], replace(one[1], stress=factor * one[1].stress)

    with refused("whose cell is 1.5"):
        check_step(wrong(start), wrong(labelled(end)), GATE)


def test_the_same_geometry_must_have_the_same_energy(start):
    frame, label = start
    assert check_step(start, start, GATE)
    near = replace(label, energy=label.energy + 0.0009 * len(frame))
    assert check_step(start, (frame, near), GATE)
    other = replace(label, energy=label.energy + 0.0011 * len(frame))
    with refused(
        r"the same geometry has an energy that is 1\.1 meV/atom off an earlier label's, allowed "
        r"is 1 meV/atom \(max_energy_repeat_eV_per_atom\)"
    ):
        check_step(start, (frame, other), GATE)


def test_moving_the_crystal_or_an_atom_by_a_lattice_vector_is_no_step(start):
    frame, label = start
    positions = frame.positions + np.array([0.3, -2.0, 1.0])
    positions[2] += frame.cell[1] - frame.cell[0]
    assert check_step(start, (replace(frame, positions=positions), label), GATE)


def test_without_stress_only_a_fixed_cell_is_compared(start):
    frame, label = start
    bare = frame, replace(label, stress=None)
    other = moved(frame, 0.05)
    assert check_step(bare, labelled(other), GATE)
    assert not check_step(bare, labelled(strained(frame, 0.01)), GATE)
    wrong = replace(label, energy=label.energy + 100, stress=None)
    assert not check_step(labelled(strained(frame, 0.01)), (frame, wrong), GATE)


@pytest.mark.parametrize(
    "far",
    [
        lambda frame: moved(frame, 0.11),
        lambda frame: strained(frame, 0.016),
        lambda frame: replace(frame, numbers=frame.numbers + 18),
        lambda frame: Frame.from_atoms(frame.to_atoms() * (1, 1, 2)),
    ],
    ids=["moved far", "strained far", "other atoms", "more atoms"],
)
def test_geometries_that_are_not_near_are_not_compared(start, far):
    frame = far(start[0])
    nonsense = Label(energy=1e6, forces=np.zeros((len(frame), 3)), stress=np.zeros(6))
    assert not check_step(start, (frame, nonsense), GATE)

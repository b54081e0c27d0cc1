from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from scipy.optimize import minimize_scalar

from voltaloop.core import EV_PER_A3_IN_GPA, Frame, Label, ReferenceFailure, StructureError
from voltaloop.thermo import relax


def emt(frame: Frame) -> Label:
    """Effective medium theory: fast, smooth, with a stress."""
    atoms = frame.to_atoms()
    atoms.calc = EMT()
    return Label(
        energy=atoms.get_potential_energy(),
        forces=atoms.get_forces(),
        stress=atoms.get_stress(),
    )


def copper(lattice: float = 3.6) -> Frame:
    return Frame.from_atoms(bulk("Cu", cubic=True, a=lattice))


def disturbed(seed: int) -> Frame:
    atoms = bulk("Cu", cubic=True, a=3.65)
    rng = np.random.default_rng(seed)
    strain = rng.normal(0.0, 0.03, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain + strain.T), scale_atoms=True)
    atoms.positions += rng.normal(0.0, 0.08, (4, 3))
    return Frame.from_atoms(atoms)


def best_lattice(pressure: float = 0.0) -> float:
    """Å; the minimum of E + pV of the perfect crystal by a scan of its one parameter."""
    pv = pressure / EV_PER_A3_IN_GPA

    def enthalpy(lattice: float) -> float:
        return emt(copper(lattice)).energy + pv * lattice**3

    return float(minimize_scalar(enthalpy, bounds=(3.3, 3.9), options={"xatol": 1e-6}).x)


def uniform(energy_per_volume: float) -> Callable[[Frame], Label]:
    """An engine that knows only the volume: E = k·V."""

    def evaluate(frame: Frame) -> Label:
        stress = energy_per_volume * np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        return Label(
            energy=energy_per_volume * frame.volume,
            forces=np.zeros((len(frame), 3)),
            stress=stress,
        )

    return evaluate


@pytest.mark.parametrize("seed", range(3))
def test_a_disturbed_crystal_finds_the_lattice_constant_of_the_engine(seed: int) -> None:
    found = relax(disturbed(seed), emt, force_limit=0.002)
    assert found.converged
    assert found.frame.volume ** (1 / 3) == pytest.approx(best_lattice(), abs=2e-3)
    assert found.energy == pytest.approx(emt(copper(best_lattice())).energy, abs=1e-3)
    lengths = np.linalg.norm(found.frame.cell, axis=1)
    np.testing.assert_allclose(lengths, best_lattice(), atol=0.02)


@pytest.mark.parametrize("pressure", [-3.0, 10.0])
def test_pressure_moves_the_minimum_to_that_of_the_enthalpy(pressure: float) -> None:
    found = relax(copper(), emt, pressure_GPa=pressure, force_limit=0.001)
    assert found.frame.volume == pytest.approx(best_lattice(pressure) ** 3, rel=1e-3)
    stress = emt(found.frame).stress
    assert stress is not None
    expected = -pressure * np.array([1, 1, 1, 0, 0, 0])
    np.testing.assert_allclose(stress * EV_PER_A3_IN_GPA, expected, atol=0.05)


def test_the_energy_is_that_of_the_relaxed_frame_without_the_work_of_the_pressure() -> None:
    found = relax(copper(), emt, pressure_GPa=10.0)
    assert found.energy == pytest.approx(emt(found.frame).energy, abs=1e-12)


def test_a_relaxed_crystal_has_forces_and_stresses_below_the_limit() -> None:
    found = relax(disturbed(5), emt, force_limit=0.01)
    label = emt(found.frame)
    assert np.linalg.norm(label.forces, axis=1).max() < 0.01
    assert label.stress is not None
    assert np.abs(label.stress * found.frame.volume / 4).max() < 0.011


def test_a_relaxed_crystal_needs_no_step() -> None:
    first = relax(disturbed(6), emt, force_limit=0.005)
    again = relax(first.frame, emt, force_limit=0.01)
    assert (again.converged, again.steps) == (True, 1)
    assert again.frame.volume == pytest.approx(first.frame.volume, rel=1e-12)


def test_steps_are_the_evaluations_made_and_end_at_the_limit() -> None:
    calls: list[Frame] = []

    def counted(frame: Frame) -> Label:
        calls.append(frame)
        return emt(frame)

    found = relax(disturbed(7), counted, max_steps=3)
    assert not found.converged
    assert found.steps == len(calls) == 4
    assert found.energy < emt(disturbed(7)).energy


def test_the_start_is_not_changed_and_its_moments_are_kept() -> None:
    start = replace(disturbed(8), magmoms=np.array([1.0, 0.0, -1.0, 0.5]))
    before = start.digest
    found = relax(start, emt)
    assert start.digest == before
    assert found.frame.magmoms is not None
    np.testing.assert_array_equal(found.frame.magmoms, start.magmoms)


def test_an_engine_without_stress_is_a_clear_error() -> None:
    with pytest.raises(StructureError, match=r"gives no stress\. Use an engine or settings with"):
        relax(copper(), lambda frame: replace(emt(frame), stress=None))


@pytest.mark.parametrize(("k", "ratio"), [(-1.0, r"[23]\.\d\d"), (1.0, r"0\.[34]\d")])
def test_a_cell_that_explodes_or_collapses_is_an_error(k: float, ratio: str) -> None:
    with pytest.raises(StructureError, match=rf"ran away: the volume is {ratio} times the start's"):
        relax(copper(), uniform(k))


def test_a_failure_of_the_engine_reaches_the_caller_as_it_is() -> None:
    def broken(_: Frame) -> Label:
        raise ReferenceFailure("not_converged", "after 200 steps")

    with pytest.raises(ReferenceFailure, match="not_converged: after 200 steps"):
        relax(copper(), broken)

"""The committee as it is predicted with, stored and deployed in LAMMPS."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from voltaloop.core import Frame
from voltaloop.exploration import static_evaluator
from voltaloop.potentials.pod import BASES, Pod, PodCommittee, PodSettings, design_rows
from voltaloop.potentials.repulsion import ZBL_OUTER
from voltaloop.testing.potentials import MODEL_SPECIES, model_frames


def committee(name: str = "medium", scale: float = 0.01, members: int = 3) -> PodCommittee:
    basis = BASES[name]
    weights = np.random.default_rng(0).normal(0.0, scale, (members, basis.size(3)))
    return PodCommittee(basis=basis, species=MODEL_SPECIES, coefficients=weights)


def dimer(symbols: str, distance: float) -> Frame:
    return Frame.from_atoms(
        Atoms(symbols, positions=[[5, 5, 5], [5 + distance, 5, 5]], cell=[16, 15, 14], pbc=True)
    )


@pytest.mark.parametrize("name", ["small", "medium", "large"])
def test_the_deployed_potential_is_the_mean_of_the_members(name: str) -> None:
    model = committee(name)
    for frame in model_frames(2, seed=1):
        expected = model.predict(frame, stress=True)
        with static_evaluator(frame, model) as evaluate:
            label = evaluate(frame)
        assert expected.stress is not None
        assert label.energy == pytest.approx(expected.energy.mean(), abs=1e-9)
        np.testing.assert_allclose(label.forces, expected.forces.mean(axis=0), rtol=0, atol=1e-9)
        np.testing.assert_allclose(
            np.asarray(label.stress), expected.stress.mean(axis=0), rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("pair", ["LiLi", "LiNi", "LiO", "NiNi", "NiO", "O2"])
def test_atoms_are_pushed_apart_where_the_data_say_nothing(pair: str) -> None:
    """Ziegler, Biersack, Littmark: the universal screened nuclear repulsion."""
    silent = committee(scale=0.0)
    energies = {}
    for distance in (0.7, 0.9, 1.2, ZBL_OUTER + 0.01):
        frame = dimer(pair, distance)
        with static_evaluator(frame, silent) as evaluate:
            label = evaluate(frame)
        energies[distance] = label.energy
        if distance < ZBL_OUTER:
            assert label.forces[0, 0] < -0.5
            assert label.forces[1, 0] == pytest.approx(-label.forces[0, 0])
    assert energies[0.7] > energies[0.9] > energies[1.2] > 0
    assert energies[ZBL_OUTER + 0.01] == 0.0


def test_the_repulsion_has_the_strength_of_the_universal_potential() -> None:
    """Slope between 0.55 and 0.75 Å, below the smoothing, against the published formula."""
    silent = committee(scale=0.0)
    energies = []
    for distance in (0.55, 0.75):
        frame = dimer("NiO", distance)
        with static_evaluator(frame, silent) as evaluate:
            energies.append(evaluate(frame).energy)
    expected = universal_repulsion(28, 8, 0.55) - universal_repulsion(28, 8, 0.75)
    assert energies[0] - energies[1] == pytest.approx(expected, rel=1e-3)


def universal_repulsion(z1: int, z2: int, distance: float) -> float:
    """eV; Ziegler, Biersack & Littmark, The Stopping and Range of Ions in Solids (1985)."""
    x = distance * (z1**0.23 + z2**0.23) / 0.46850
    screening = sum(
        share * np.exp(-rate * x)
        for share, rate in (
            (0.18175, 3.19980),
            (0.50986, 0.94229),
            (0.28022, 0.40290),
            (0.02817, 0.20162),
        )
    )
    return float(14.399645 * z1 * z2 / distance * screening)


def test_labels_out_of_reach_of_the_repulsion_are_not_touched_by_it(tmp_path: Path) -> None:
    commands = committee().pair_commands(tmp_path)
    assert commands[0] == "pair_style hybrid/overlay pod zbl 0.8 1.4"
    assert commands[1].endswith("Li Ni O")
    pairs = [command.split()[1:3] for command in commands[2:]]
    assert pairs == [["1", "1"], ["1", "2"], ["1", "3"], ["2", "2"], ["2", "3"], ["3", "3"]]


def test_a_member_and_the_average_are_committees_of_one() -> None:
    model, frame = committee(), model_frames(1, seed=2)[0]
    every = model.predict(frame, stress=True)
    second, average = model.member(1), model.averaged()
    assert (model.size, second.size, average.size) == (3, 1, 1)
    np.testing.assert_allclose(second.predict(frame).forces[0], every.forces[1], atol=1e-12)
    np.testing.assert_allclose(
        average.predict(frame).forces[0], every.forces.mean(axis=0), atol=1e-12
    )


def test_rows_known_already_predict_the_same_as_the_frame() -> None:
    model, frame = committee(), model_frames(1, seed=3)[0]
    rows = design_rows(frame, model.basis, MODEL_SPECIES)
    by_rows, by_frame = model.predict_rows(rows), model.predict(frame, stress=True)
    np.testing.assert_array_equal(by_rows.forces, by_frame.forces)
    np.testing.assert_array_equal(np.asarray(by_rows.stress), np.asarray(by_frame.stress))
    np.testing.assert_array_equal(by_rows.descriptor, rows.energy / len(frame))


def test_descriptors_are_per_atom_so_a_supercell_is_no_new_frame() -> None:
    model, frame = committee(), model_frames(1, seed=4)[0]
    doubled = Frame.from_atoms(frame.to_atoms().repeat((2, 1, 1)))
    np.testing.assert_allclose(
        model.predict(doubled).descriptor, model.predict(frame).descriptor, atol=1e-9
    )


def test_storage_keeps_every_digit() -> None:
    model = committee()
    again = Pod(PodSettings()).load(model.to_json(), model.to_arrays())
    assert (again.basis, again.species) == (model.basis, model.species)
    np.testing.assert_array_equal(again.coefficients, model.coefficients)

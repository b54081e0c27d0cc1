"""Design rows against LAMMPS's own pair style, by finite differences, and under symmetry."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.spacegroup import crystal

from voltaloop.core import EV_PER_A3_IN_GPA, FloatArray, Frame
from voltaloop.core.lammps import LammpsBox, by_tag, fill, lammps_instance
from voltaloop.potentials.pod import BASES, DesignRows, PodBasis, design_rows
from voltaloop.potentials.pod.basis import coefficient_file

SPECIES = ("Li", "Ni", "O")
NAMES = ["small", "medium", "large"]
VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def layered(seed: int, rattle: float = 0.08) -> Frame:
    """A rattled primitive cell of LiNiO2, narrower than any cutoff and skewed."""
    atoms = crystal(
        ["Li", "Ni", "O"],
        [(0, 0, 0.5), (0, 0, 0), (0, 0, 0.2585)],
        spacegroup=166,
        cellpar=[2.878, 2.878, 14.19, 90, 90, 120],
        primitive_cell=True,
    )
    rng = np.random.default_rng(seed)
    atoms.positions += rng.normal(0.0, rattle, (4, 3))
    return Frame.from_atoms(atoms)


def at_the_faces(seed: int) -> Frame:
    """Atoms within a rounding error or a hair of the faces of the cell, on either side."""
    frame = layered(seed)
    rng = np.random.default_rng(seed)
    fractions = np.linalg.solve(frame.cell.T, frame.positions.T).T
    hair = rng.choice([-1e-3, -1e-9, -1e-15, 0.0, 1e-15, 1e-9, 1e-3], size=3)
    shift = hair - fractions[rng.integers(4)]
    return replace(frame, positions=(fractions + shift) @ frame.cell)


def on_whole_bins(seed: int) -> Frame:
    """Box lengths of a whole number of LAMMPS's neighbour bins, half of cutoff and skin wide.

    The least strain changes the number of bins; LAMMPS keeps the bin stencil of a time step, and
    stress rows once came out a hundred times too large.
    """
    rng = np.random.default_rng(seed)
    counts = np.array([3, 2, 2])
    lengths = counts * (BASES["small"].rcut + 0.3) / 2
    places = np.array(list(np.ndindex(*counts))) / counts * lengths
    return Frame(
        numbers=rng.choice([3, 28, 8], len(places)),
        positions=places + rng.normal(0.0, 0.1, places.shape),
        cell=np.diag(lengths),
    )


def coefficients(basis: PodBasis, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(0.0, 0.01, basis.size(3))


def by_pair_style(
    frame: Frame, basis: PodBasis, weights: FloatArray, folder: Path
) -> tuple[float, FloatArray, FloatArray]:
    """Energy, forces and stress (eV/Å3, Voigt) of LAMMPS's own potential, from a fresh instance."""
    (folder / "basis.pod").write_text(basis.parameter_file(SPECIES))
    (folder / "model.pod").write_text(coefficient_file(weights.tolist()))
    with lammps_instance() as lmp:
        box = fill(lmp, frame, SPECIES)
        lmp.commands_list(
            [
                "pair_style pod",
                f"pair_coeff * * {folder}/basis.pod {folder}/model.pod {' '.join(SPECIES)}",
                "thermo_style custom step pe pxx pyy pzz pxy pxz pyz",
                "run 0 post no",
            ]
        )
        bar = [lmp.get_thermo(key) for key in ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy")]
        xx, yy, zz, yz, xz, xy = -np.array(bar) / 1e4 / EV_PER_A3_IN_GPA
        turn = box.rotation
        stress = turn @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ turn.T
        forces = by_tag(lmp, "f") @ turn.T
        return lmp.get_thermo("pe"), forces, np.array([stress[a, b] for a, b in VOIGT])


def check_same(got: DesignRows, expected: DesignRows) -> None:
    assert got.stress is not None
    assert expected.stress is not None
    np.testing.assert_allclose(got.energy, expected.energy, rtol=0, atol=1e-9)
    np.testing.assert_allclose(got.forces, expected.forces, rtol=0, atol=1e-9)
    np.testing.assert_allclose(got.stress, expected.stress, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_rows_times_coefficients_are_what_the_pair_style_gives(name: str, tmp_path: Path) -> None:
    basis, frame = BASES[name], layered(1)
    weights, rows = coefficients(basis), design_rows(frame, basis, SPECIES)
    energy, forces, stress = by_pair_style(frame, basis, weights, tmp_path)
    assert rows.stress is not None
    assert rows.energy @ weights == pytest.approx(energy, abs=1e-10)
    np.testing.assert_allclose(rows.forces @ weights, forces, rtol=0, atol=1e-10)
    np.testing.assert_allclose(rows.stress @ weights, stress, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_forces_are_minus_the_gradient_of_the_pair_style_energy(name: str, tmp_path: Path) -> None:
    basis, frame, step = BASES[name], layered(2), 1e-4
    weights = coefficients(basis, seed=1)
    forces = design_rows(frame, basis, SPECIES, stress=False).forces @ weights
    for atom, axis in np.ndindex(4, 3):
        moved = np.zeros((4, 3))
        moved[atom, axis] = step
        plus, minus = (
            by_pair_style(
                replace(frame, positions=frame.positions + sign * moved), basis, weights, tmp_path
            )[0]
            for sign in (1, -1)
        )
        assert -(plus - minus) / (2 * step) == pytest.approx(forces[atom, axis], abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_stress_is_the_strain_derivative_of_the_pair_style_energy(
    name: str, tmp_path: Path
) -> None:
    basis, frame, step = BASES[name], layered(3), 1e-4
    weights = coefficients(basis, seed=2)
    rows = design_rows(frame, basis, SPECIES).stress
    assert rows is not None
    for (a, b), predicted in zip(VOIGT, rows @ weights, strict=True):
        energies = []
        for sign in (1, -1):
            deformation = np.eye(3)
            deformation[a, b] += sign * step / 2
            deformation[b, a] += sign * step / 2
            strained = replace(
                frame, positions=frame.positions @ deformation, cell=frame.cell @ deformation
            )
            energies.append(by_pair_style(strained, basis, weights, tmp_path)[0])
        slope = (energies[0] - energies[1]) / (2 * step) / frame.volume
        assert predicted == pytest.approx(slope, abs=1e-6)


def test_all_rows_turn_with_the_crystal() -> None:
    basis, frame = BASES["medium"], layered(4)
    turn, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    turned = replace(frame, positions=frame.positions @ turn, cell=frame.cell @ turn)
    expected, got = design_rows(frame, basis, SPECIES), design_rows(turned, basis, SPECIES)
    assert expected.stress is not None
    matrices = expected.stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    stress = np.einsum("abm,ax,by->xym", matrices, turn, turn)
    check_same(
        got,
        DesignRows(
            energy=expected.energy,
            forces=np.einsum("iam,ax->ixm", expected.forces, turn),
            stress=np.array([stress[a, b] for a, b in VOIGT]),
        ),
    )


def test_another_choice_of_lattice_vectors_changes_no_row() -> None:
    basis, frame = BASES["medium"], layered(5)
    other = np.array([[0, 1, 0], [1, 0, 0], [1, -1, 1]])  # left-handed, of the same volume
    expected = design_rows(frame, basis, SPECIES)
    check_same(design_rows(replace(frame, cell=other @ frame.cell), basis, SPECIES), expected)


def test_moving_the_crystal_and_atoms_by_lattice_vectors_changes_no_row() -> None:
    basis, frame = BASES["medium"], layered(6)
    shifts = np.array([[0, 0, 0], [1, 0, -2], [0, 3, 0], [-1, -1, 1]]) @ frame.cell
    moved = replace(frame, positions=frame.positions + shifts + np.array([0.4, -1.7, 6.1]))
    check_same(design_rows(moved, basis, SPECIES), design_rows(frame, basis, SPECIES))


def test_the_order_of_the_atoms_changes_only_the_order_of_the_forces() -> None:
    basis, frame = BASES["medium"], layered(7)
    order = np.array([3, 0, 2, 1])
    shuffled = replace(frame, numbers=frame.numbers[order], positions=frame.positions[order])
    expected = design_rows(frame, basis, SPECIES)
    check_same(
        design_rows(shuffled, basis, SPECIES), replace(expected, forces=expected.forces[order])
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [at_the_faces, on_whole_bins])
def test_every_row_is_that_of_a_supercell(make: Callable[[int], Frame], seed: int) -> None:
    basis, frame = BASES["small"], make(seed)
    shifts = np.array(list(np.ndindex(2, 2, 2))) @ frame.cell
    supercell = Frame(
        numbers=np.tile(frame.numbers, 8),
        positions=np.concatenate([frame.positions + shift for shift in shifts]),
        cell=2 * frame.cell,
    )
    one, eight = design_rows(frame, basis, SPECIES), design_rows(supercell, basis, SPECIES)
    check_same(
        eight,
        DesignRows(energy=8 * one.energy, forces=np.tile(one.forces, (8, 1, 1)), stress=one.stress),
    )


def test_the_one_body_column_of_a_species_counts_its_atoms() -> None:
    basis = BASES["small"]
    rows = design_rows(layered(8), basis, SPECIES)
    stride = 1 + basis.per_species(3)
    np.testing.assert_allclose(rows.energy[::stride], [1, 1, 2], rtol=0, atol=1e-12)
    assert rows.stress is not None
    assert not rows.forces[:, :, ::stride].any()
    assert not rows.stress[:, ::stride].any()


def test_a_species_that_is_not_there_has_empty_columns() -> None:
    basis = BASES["small"]
    rows = design_rows(Frame.from_atoms(bulk("Ni", cubic=True)), basis, SPECIES)
    stride = 1 + basis.per_species(3)
    lithium, nickel, oxygen = (rows.energy[k * stride : (k + 1) * stride] for k in range(3))
    assert nickel.any()
    assert not lithium.any()
    assert not oxygen.any()


def test_a_single_atom_in_its_lattice_feels_no_force_but_a_stress() -> None:
    rows = design_rows(Frame.from_atoms(bulk("Ni")), BASES["small"], SPECIES)
    np.testing.assert_allclose(rows.forces, 0.0, rtol=0, atol=1e-10)
    assert rows.stress is not None
    assert np.abs(rows.stress).max() > 1e-3


def test_rows_without_stress_are_otherwise_the_same_and_survive_storage() -> None:
    frame, basis = layered(9), BASES["small"]
    full, plain = (
        design_rows(frame, basis, SPECIES),
        design_rows(frame, basis, SPECIES, stress=False),
    )
    assert plain.stress is None
    np.testing.assert_array_equal(plain.energy, full.energy)
    np.testing.assert_array_equal(plain.forces, full.forces)
    assert DesignRows.from_arrays(plain.to_arrays()).stress is None
    again = DesignRows.from_arrays(full.to_arrays())
    np.testing.assert_array_equal(again.stress, full.stress)
    assert again.n_atoms == 4


def test_the_cell_reaches_lammps_as_it_is() -> None:
    frame = layered(10)
    box = LammpsBox.of(frame.cell)
    lx, ly, lz, xy, xz, yz = box.sizes
    lower = np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]])
    np.testing.assert_allclose(frame.cell @ box.rotation, lower, atol=1e-12)
    np.testing.assert_allclose(box.rotation @ box.rotation.T, np.eye(3), atol=1e-12)

import sys
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.spacegroup import crystal

from voltaloop.core import Frame, Label, MissingDependencyError
from voltaloop.references.dispersion import (
    DispersionSettings,
    check_dispersion,
    dispersion_label,
    with_dispersion,
)


@pytest.fixture
def frame() -> Frame:
    atoms = crystal(
        ["Li", "Ni", "O"],
        [(0, 0, 0.5), (0, 0, 0), (0, 0, 0.2585)],
        spacegroup=166,
        cellpar=[2.878, 2.878, 14.19, 90, 90, 120],
        primitive_cell=True,
    )
    atoms.rattle(0.05, seed=2)
    return Frame.from_atoms(atoms)


def d3(frame: Frame, cutoff_A: float = 31.75) -> Label:
    return dispersion_label(frame, functional="PBE", cutoff_A=cutoff_A, extra="chgnet")


def test_the_forces_are_the_derivative_of_the_energy(frame):
    step = 1e-3
    shift = np.random.default_rng(3).normal(size=frame.positions.shape)
    energies = [
        d3(replace(frame, positions=frame.positions + sign * step * shift)).energy
        for sign in (1, -1)
    ]
    measured = (energies[0] - energies[1]) / (2 * step)
    assert measured == pytest.approx(-float((d3(frame).forces * shift).sum()), abs=1e-6)


def test_the_stress_is_the_strain_derivative_of_the_energy(frame):
    step = 1e-4
    for component, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            energies.append(
                d3(
                    replace(frame, cell=frame.cell @ strain, positions=frame.positions @ strain)
                ).energy
            )
        measured = (energies[0] - energies[1]) / (2 * step) / frame.volume
        assert measured == pytest.approx(d3(frame).stress[component], abs=1e-7)


def test_dispersion_binds_and_pulls_the_cell_together(frame):
    label = d3(frame)
    assert label.energy < 0
    assert (label.stress[:3] > 0).all()


def test_bcc_lithium_gains_what_was_measured_for_it():
    lithium = Frame.from_atoms(bulk("Li", "bcc", a=3.44))
    assert d3(lithium).energy == pytest.approx(-0.168, abs=2e-3)


def test_a_short_cutoff_shifts_the_energy_by_what_its_option_says(frame):
    shift = (d3(frame, 15.9).energy - d3(frame).energy) / len(frame)
    assert shift == pytest.approx(3e-3, abs=1e-3)


def test_without_dispersion_the_label_stays_the_same_object(frame):
    label = Label(energy=0.0, forces=np.zeros((4, 3)))
    settings = DispersionSettings(dispersion=None)
    assert with_dispersion(label, frame, settings, functional="PBE", extra="chgnet") is label


def test_the_dispersion_energy_is_kept_beside_the_label(frame):
    label = Label(energy=1.0, forces=np.zeros((4, 3)))
    total = with_dispersion(label, frame, DispersionSettings(), functional="PBE", extra="chgnet")
    assert total.energy == 1.0 + total.details["dispersion_energy_eV"]
    assert total.details["dispersion"] == "D3(BJ) PBE"


def test_dftd3_is_asked_for_only_where_dispersion_is(monkeypatch):
    monkeypatch.setitem(sys.modules, "dftd3", None)
    check_dispersion(DispersionSettings(dispersion=None), extra="gpaw")
    with pytest.raises(MissingDependencyError, match=r"'dftd3'.*voltaloop\[gpaw\]"):
        check_dispersion(DispersionSettings(), extra="gpaw")

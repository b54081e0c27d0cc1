"""Real density-functional theory. VOLTALOOP_GPAW_PYTHON names an interpreter with GPAW, if the one
that runs the tests has none."""

import importlib.util
import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.spacegroup import crystal

from voltaloop.core import EV_PER_A3_IN_GPA, Frame, ReferenceFailure
from voltaloop.references import (
    Gate,
    build_reference,
    check_step,
    label_frame,
    moment_per_metal,
)
from voltaloop.references.gpaw import Gpaw

PYTHON = os.environ.get("VOLTALOOP_GPAW_PYTHON", sys.executable)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "VOLTALOOP_GPAW_PYTHON" not in os.environ and importlib.util.find_spec("gpaw") is None,
        reason="GPAW is not installed; see make gpaw",
    ),
]


def label(frame: Frame, **settings):
    reference = build_reference("gpaw", {"python": PYTHON, "timeout_s": 280, **settings})
    return label_frame(reference, frame, Gate())


@pytest.fixture
def lithium() -> Frame:
    return Frame.from_atoms(bulk("Li", "bcc", a=3.44))


def layered_oxide(metal: str, a: float, c: float, z: float) -> Frame:
    return Frame.from_atoms(
        crystal(
            ["Li", metal, "O"],
            [(0, 0, 0.5), (0, 0, 0), (0, 0, z)],
            spacegroup=166,
            cellpar=[a, a, c, 90, 90, 120],
            primitive_cell=True,
        )
    )


def rattled(frame: Frame) -> Frame:
    atoms = frame.to_atoms()
    atoms.rattle(0.05, seed=7)
    return Frame.from_atoms(atoms)


def test_bcc_lithium_has_the_measured_energy_no_force_and_little_stress(lithium):
    result = label(lithium, dispersion=None)
    assert result.energy == pytest.approx(-1.8913, abs=1e-3)
    np.testing.assert_allclose(result.forces, 0, atol=1e-6)
    assert np.abs(result.stress).max() * EV_PER_A3_IN_GPA < 0.5
    assert result.magmoms is None


def test_dispersion_adds_what_was_measured_for_bcc_lithium(lithium):
    assert label(lithium, ecut_eV=400).energy == pytest.approx(-2.0596, abs=3e-3)


def test_licoo2_has_only_the_forces_its_symmetry_allows():
    frame = layered_oxide("Co", 2.83, 14.05, 0.2605)
    result = label(frame, ecut_eV=400, dispersion=None)
    np.testing.assert_allclose(result.forces[:2], 0, atol=1e-3)
    np.testing.assert_allclose(result.forces[2:, :2], 0, atol=1e-3)
    np.testing.assert_allclose(result.forces.sum(axis=0), 0, atol=2e-2)
    assert result.forces[2, 2] == pytest.approx(-result.forces[3, 2], abs=2e-2)
    assert result.stress is None
    assert result.magmoms is None
    assert -24 < result.energy < -18


def test_linio2_with_u_is_a_low_spin_magnet():
    frame = layered_oxide("Ni", 2.878, 14.19, 0.2585)
    result = label(frame, ecut_eV=400, hubbard_u={"Ni": 6.2})
    assert result.details["total_magmom_muB"] == pytest.approx(1.0, abs=0.1)
    assert 0.4 < result.magmoms[1] < 1.5


def test_too_few_steps_are_named_not_converged(lithium):
    with pytest.raises(ReferenceFailure, match=r"(?s)^not_converged: .*Its last lines:\n.*\d"):
        label(lithium, ecut_eV=300, kpts=[2, 2, 2], maxiter=2)


@pytest.mark.parametrize(
    "rung",
    [rung for rung in Gpaw.LADDER if "not_converged" in rung.reasons],
    ids=lambda rung: rung.name,
)
def test_a_rung_labels_what_too_few_steps_did_not(lithium, rung):
    base = {"ecut_eV": 300, "kpts": [2, 2, 2], "dispersion": None, "maxiter": 4}
    with pytest.raises(ReferenceFailure, match=r"^not_converged: ") as caught:
        label(lithium, **base)
    assert "iter" in caught.value.files["gpaw.txt"]
    result = label(lithium, **rung.applied_to(base))
    patient = label(lithium, **{**base, "maxiter": 200})
    assert result.energy == pytest.approx(patient.energy, abs=1e-3)
    np.testing.assert_allclose(result.forces, 0, atol=1e-6)


def test_a_wider_smearing_at_the_start_leaves_the_label_as_it_is():
    frame = rattled(layered_oxide("Ni", 2.878, 14.19, 0.2585))
    settings = {"ecut_eV": 300, "kpts": [2, 2, 1], "dispersion": None}
    plain = label(frame, **settings)
    started_wide = label(frame, **settings, start_width_eV=0.2)
    wide = label(frame, **settings, width_eV=0.2)
    assert started_wide.energy == pytest.approx(plain.energy, abs=1e-3)
    np.testing.assert_allclose(started_wide.forces, plain.forces, atol=1e-2)
    # Wider all the way would be another label: energies that differ by more than the fit.
    assert abs(wide.energy - plain.energy) > 3e-3


def test_high_spin_at_the_start_finds_the_magnet_that_no_spin_cannot():
    frame = layered_oxide("Ni", 2.878, 14.19, 0.2585)
    settings = {"ecut_eV": 300, "kpts": [2, 2, 1], "dispersion": None}
    lost = label(frame, **settings, initial_moments={})
    high = next(r for r in Gpaw.LADDER if r.options.get("moments_from") == "high_spin")
    found = label(frame, **high.applied_to(settings))
    assert moment_per_metal(frame, lost) == pytest.approx(0.0, abs=1e-6)
    assert moment_per_metal(frame, found) == pytest.approx(1.0, abs=0.1)
    assert found.energy < lost.energy


def test_the_energy_of_a_step_follows_from_forces_and_stress():
    start = rattled(Frame.from_atoms(bulk("LiF", "rocksalt", a=3.9)))
    end = replace(
        start,
        cell=start.cell * 0.986,
        positions=start.positions * 0.986 + np.array([[0.04, 0.0, 0.02], [-0.04, 0.0, -0.02]]),
    )
    labels = [label(frame, kpts=[3, 3, 3]) for frame in (start, end)]
    assert check_step((start, labels[0]), (end, labels[1]), Gate())
    turned = [replace(one, stress=-one.stress) for one in labels]
    with pytest.raises(ReferenceFailure, match=r"^energy_inconsistent"):
        check_step((start, turned[0]), (end, turned[1]), Gate())

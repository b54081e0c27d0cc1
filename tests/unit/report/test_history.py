from dataclasses import replace

import pytest
from synthetic_history import full_history, newborn_history

from voltaloop.report import TaskRecord


def test_forces_that_do_not_fit_the_atoms_are_refused():
    audited = full_history().audit[0]
    with pytest.raises(ValueError, match=r"AuditRecord\.force_sigma: expected 48 numbers, got 1"):
        replace(audited, force_sigma=[0.1])


def test_a_stress_has_six_components():
    with pytest.raises(ValueError, match=r"reference_stress: expected 6 numbers, got 3"):
        replace(full_history().audit[0], reference_stress=[0.0] * 3)


def test_uncertainties_of_a_trajectory_have_their_steps():
    with pytest.raises(ValueError, match="max_force_sigma: expected 2 numbers, got 3"):
        replace(full_history().explorations[0], sigma_steps=[0, 1], max_force_sigma=[0.1] * 3)


def test_elapsed_time_is_that_of_the_latest_event():
    assert newborn_history().elapsed_s == 0
    assert full_history().elapsed_s == 318.0
    task = TaskRecord(id="t", pool="label", function="f", submitted_s=400.0)
    assert replace(full_history(), tasks=(task,)).elapsed_s == 400.0

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom
from synthetic_history import full_history, newborn_history

from voltaloop.report import AuditRecord, audit_coverage, audit_errors, clopper_pearson
from voltaloop.report.quality import (
    MOST_POINTS,
    WORST_KEPT,
    Z95,
    audit_energy_sigma,
    energy_parity,
    force_parity,
    force_reliability,
    running_coverage,
    running_energy_sigma,
    stress_parity,
    thinned,
)


def record(error=0.0, sigma=0.01, width=0.004, **more):
    """One atom whose force components are off by 0.1, 0.2 and 0.3 eV/Å."""
    fields = {
        "x": 0.5,
        "temperature_K": 300.0,
        "n_atoms": 1,
        "reference_energy_eV_per_atom": -5.0,
        "predicted_energy_eV_per_atom": -5.0 + error,
        "energy_sigma": sigma,
        "energy_t_width": width,
        "reference_forces": [0.0, 0.0, 0.0],
        "predicted_forces": [0.1, -0.2, 0.3],
        "force_sigma": [0.1, 0.1, 0.1],
    }
    return AuditRecord(**{**fields, **more})


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.3085),
        (10, 10, 0.6915, 1.0),
        (19, 20, 0.7513, 0.9987),
        (5, 10, 0.1871, 0.8129),
    ],
)
def test_clopper_pearson_matches_the_tables(hits, n, low, high):
    assert clopper_pearson(hits, n) == pytest.approx((low, high), abs=1e-4)


def test_clopper_pearson_bounds_leave_half_of_five_percent_in_each_tail():
    low, high = clopper_pearson(18, 25)
    assert binom.sf(17, 25, low) == pytest.approx(0.025)
    assert binom.cdf(18, 25, high) == pytest.approx(0.025)


@pytest.mark.parametrize(("hits", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_clopper_pearson_refuses_impossible_counts(hits, n):
    with pytest.raises(ValueError, match=f"hits={hits}, n={n}"):
        clopper_pearson(hits, n)


def test_coverage_is_counted_from_the_audit_when_the_answer_does_not_say():
    audit = [record(error=e) for e in (0.001, 0.0019, 0.003, 0.05)]
    rows = {
        (c.quantity, c.kind): c.fraction
        for c in audit_coverage(replace(newborn_history(), audit=audit))
    }
    assert rows == {
        ("energy", "raw"): 0.5,
        ("energy", "calibrated"): 0.75,
        ("forces", "calibrated"): pytest.approx(1 / 3),
    }


def test_raw_force_coverage_is_counted_where_the_width_is_known():
    history = replace(newborn_history(), audit=[record(force_t_width=[0.3, 0.3, 0.3])])
    raw = [c for c in audit_coverage(history) if (c.quantity, c.kind) == ("forces", "raw")]
    assert raw[0].fraction == pytest.approx(1 / 3)


def test_the_figure_of_the_answer_comes_before_a_count():
    history = replace(newborn_history(), audit=[record()] * 20, answer={"coverage95_energy": 0.95})
    row = next(
        c for c in audit_coverage(history) if (c.quantity, c.kind) == ("energy", "calibrated")
    )
    assert row.fraction == 0.95
    assert (row.low, row.high) == clopper_pearson(19, 20)


def test_coverage_without_an_audit_has_no_confidence_interval():
    history = replace(newborn_history(), answer={"coverage95_energy": 0.95})
    (row,) = audit_coverage(history)
    assert (row.n, row.low, row.high) == (None, None, None)


def test_audit_errors_are_root_mean_squares():
    errors = audit_errors(replace(newborn_history(), audit=[record(0.003), record(-0.004)]))
    assert errors.energy_rmse_meV_per_atom == pytest.approx(1000 * np.sqrt((9e-6 + 16e-6) / 2))
    assert errors.force_rmse_eV_per_A == pytest.approx(np.sqrt(0.14 / 3))
    assert errors.stress_rmse_GPa is None


def test_no_audit_no_parity():
    assert energy_parity(()) is None
    assert force_parity(()) is None
    assert stress_parity([record()]) is None
    assert audit_energy_sigma(()) is None
    assert force_reliability([record()]) is None


def test_stress_parity_takes_the_frames_that_have_both():
    both = record(reference_stress=[1.0] * 6, predicted_stress=[1.5] * 6)
    parity = stress_parity([both, record(reference_stress=[1.0] * 6)])
    assert parity.n == 6
    assert parity.rmse == pytest.approx(0.5)


def test_thinning_keeps_the_worst_and_is_the_same_each_time():
    error = np.random.default_rng(1).normal(size=10 * MOST_POINTS)
    kept = thinned(error)
    worst = np.argsort(-np.abs(error))[:WORST_KEPT]
    assert len(kept) == len(set(kept.tolist())) == MOST_POINTS
    assert set(worst.tolist()) <= set(kept.tolist())
    assert np.array_equal(kept, thinned(error))


def test_thinning_takes_all_three_cartesian_components():
    kept = thinned(np.random.default_rng(1).normal(size=6 * MOST_POINTS))
    shares = np.bincount(kept % 3) / len(kept)
    assert shares == pytest.approx([1 / 3] * 3, abs=0.03)


def test_parity_errors_are_of_all_points_not_of_the_thinned():
    n = MOST_POINTS
    big = record(
        n_atoms=n,
        reference_forces=[0.0] * (3 * n),
        predicted_forces=[0.1] * (3 * n - 1) + [1.0],
        force_sigma=[0.1] * (3 * n),
    )
    parity = force_parity([big])
    assert parity.n == 3 * n
    assert len(parity.reference) == MOST_POINTS
    assert parity.mae == pytest.approx((0.1 * (3 * n - 1) + 1.0) / (3 * n))


def test_points_on_the_line_are_inside():
    points = audit_energy_sigma([record(error=0.99 * Z95 * 0.01), record(error=1.01 * Z95 * 0.01)])
    assert points.inside.tolist() == [True, False]


def test_reliability_of_honest_uncertainties_lies_on_the_diagonal():
    rng = np.random.default_rng(5)
    n = 4000
    sigma = rng.uniform(0.05, 0.5, size=3 * n)
    honest = record(
        n_atoms=n,
        reference_forces=[0.0] * (3 * n),
        predicted_forces=rng.normal(0, sigma).tolist(),
        force_sigma=sigma.tolist(),
    )
    bins = force_reliability([honest])
    assert bins.rmse == pytest.approx(bins.sigma, rel=0.1)


def test_running_coverage_starts_when_labels_are_scored():
    rows = running_coverage(full_history().rounds, "energy")
    assert len(rows) == len(full_history().rounds) - 1
    last = rows[-1]
    assert last.band == clopper_pearson(round(last.calibrated * last.n_scored), last.n_scored)
    assert all(row.band is None for row in running_coverage(full_history().rounds, "forces"))


def test_running_points_are_the_labels_that_were_predicted():
    points = running_energy_sigma(full_history().labels)
    assert points.n == 104
    assert running_energy_sigma(full_history().labels[:25]) is None

import numpy as np
import pytest

from voltaloop.core import FloatArray
from voltaloop.uncertainty import (
    MIN_SCORES,
    Z95,
    Calibration,
    fit_calibration,
    prior_calibration,
    raw_covered,
)

PRIOR = prior_calibration(0.1)
N_MEMBERS = 8


def committee_scores(count: int, seed: int, bias: float) -> tuple[FloatArray, FloatArray]:
    """Errors of the committee mean and spreads of values of very different difficulty.

    The members of a value share a bias ``bias`` times as large as their own scatter, so the spread
    tells difficult values from easy ones but not how far the mean is off.
    """
    rng = np.random.default_rng(seed)
    difficulty = np.exp(rng.normal(-3.0, 1.0, count))
    shared = rng.normal(0.0, bias * difficulty + 0.02)
    members = shared[:, None] + rng.normal(size=(count, N_MEMBERS)) * difficulty[:, None]
    return members.mean(axis=1), members.std(axis=1, ddof=1)


def test_sigma_adds_the_scaled_spread_and_the_floor_in_quadrature() -> None:
    calibration = Calibration(slope=3.0, floor=0.4)
    np.testing.assert_allclose(calibration.sigma([0.0, 0.1, 1.0]), [0.4, 0.5, np.sqrt(9.16)])


def test_an_interval_is_covered_up_to_1_96_sigma() -> None:
    assert pytest.approx(1.959964, abs=1e-6) == Z95
    calibration = Calibration(slope=1.0, floor=0.0)
    errors = np.array([1.95, -1.95, 1.97, -1.97])
    assert calibration.covered(errors, np.ones(4)).tolist() == [True, True, False, False]


@pytest.mark.parametrize("seed", range(5))
def test_members_that_share_a_bias_cover_far_too_little_until_calibrated(seed: int) -> None:
    errors, s = committee_scores(800, seed, bias=4.0)
    fresh_errors, fresh_s = committee_scores(8000, seed + 100, bias=4.0)
    calibration = fit_calibration(errors, s, PRIOR)
    assert raw_covered(fresh_errors, fresh_s, N_MEMBERS).mean() < 0.3
    assert calibration.covered(fresh_errors, fresh_s).mean() == pytest.approx(0.95, abs=0.025)


@pytest.mark.parametrize("seed", range(5))
def test_easy_and_difficult_values_are_covered_alike(seed: int) -> None:
    calibration = fit_calibration(*committee_scores(3000, seed, bias=4.0), PRIOR)
    errors, s = committee_scores(9000, seed + 200, bias=4.0)
    order = np.argsort(s)
    for third in np.split(order, 3):
        share = calibration.covered(errors[third], s[third]).mean()
        assert share == pytest.approx(0.95, abs=0.05)


def test_the_slope_finds_how_much_too_small_the_spread_is() -> None:
    rng = np.random.default_rng(3)
    s = np.exp(rng.normal(-2.0, 1.5, 5000))
    found = fit_calibration(rng.normal(0.0, np.hypot(6.0 * s, 0.05)), s, PRIOR)
    assert found.slope == pytest.approx(6.0, rel=0.1)
    assert found.floor == pytest.approx(0.05, rel=0.2)


def test_members_without_a_bias_need_no_more_than_their_own_interval() -> None:
    rng = np.random.default_rng(4)
    members = rng.normal(0.0, 0.1, (20_000, N_MEMBERS))
    errors, s = members.mean(axis=1), members.std(axis=1, ddof=1)
    assert raw_covered(errors, s, N_MEMBERS).mean() == pytest.approx(0.95, abs=0.01)
    found = fit_calibration(errors, s, PRIOR)
    assert found.covered(errors, s).mean() == pytest.approx(0.95, abs=0.01)
    assert found.sigma(0.1) == pytest.approx(0.1 / np.sqrt(N_MEMBERS), rel=0.1)


@pytest.mark.parametrize(("count", "least"), [(MIN_SCORES, 0.85), (25, 0.92), (60, 0.93)])
def test_few_scores_still_cover_most_on_average(count: int, least: float) -> None:
    """The largest of 12 errors is exceeded by one in 13, more so when slope and floor fit it."""
    shares = []
    for seed in range(60):
        calibration = fit_calibration(*committee_scores(count, seed, bias=4.0), PRIOR)
        shares.append(calibration.covered(*committee_scores(500, seed + 500, bias=4.0)).mean())
    assert least < np.mean(shares) < 0.99


def test_the_interval_covers_at_least_95_percent_of_the_errors_it_was_fitted_to() -> None:
    for seed in range(20):
        errors, s = committee_scores(40, seed, bias=4.0)
        assert fit_calibration(errors, s, PRIOR).covered(errors, s).mean() >= 0.95


def test_heavy_tails_are_covered_too() -> None:
    rng = np.random.default_rng(8)
    s = np.exp(rng.normal(-2.0, 0.5, 4000))
    found = fit_calibration(5 * s[:2000] * rng.standard_t(3, 2000), s[:2000], PRIOR)
    share = found.covered(5 * s[2000:] * rng.standard_t(3, 2000), s[2000:]).mean()
    assert share == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("count", [0, 1, MIN_SCORES - 1])
def test_too_few_scores_leave_the_prior(count: int) -> None:
    assert fit_calibration(np.ones(count), np.ones(count), PRIOR) == PRIOR


def test_the_prior_has_the_held_out_error_as_floor() -> None:
    assert PRIOR.sigma(0.0) == pytest.approx(0.1)
    assert PRIOR.sigma(1.0) > 1.0


@pytest.mark.parametrize("spread", [0.0, 1e-12, 0.05, 1e3])
def test_spreads_that_are_all_equal_say_nothing_but_the_errors_do(spread: float) -> None:
    errors = np.random.default_rng(9).normal(0.0, 0.2, 400)
    s = np.full(400, spread)
    found = fit_calibration(errors, s, PRIOR)
    assert found.covered(errors, s).mean() == pytest.approx(0.95, abs=0.01)
    if spread < 1:
        assert found.sigma(spread) == pytest.approx(0.2, rel=0.15)


def test_errors_that_are_all_zero_leave_the_prior() -> None:
    assert fit_calibration(np.zeros(50), np.ones(50), PRIOR) == PRIOR


def test_a_calibration_can_be_the_prior_of_the_next() -> None:
    calibration = PRIOR
    for seed in range(6):
        calibration = fit_calibration(*committee_scores(200, seed, bias=4.0), calibration)
    assert calibration.covered(*committee_scores(5000, 99, bias=4.0)).mean() > 0.9


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_the_unit_does_not_matter(unit: float) -> None:
    errors, s = committee_scores(300, 1, bias=4.0)
    found = fit_calibration(errors * unit, s * unit, prior_calibration(0.1 * unit))
    plain = fit_calibration(errors, s, PRIOR)
    np.testing.assert_allclose(found.sigma(s * unit) / unit, plain.sigma(s), rtol=1e-2)

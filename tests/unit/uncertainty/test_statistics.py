import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gamma

from voltaloop.core.contracts import CommitteePrediction
from voltaloop.uncertainty import Calibration, Calibrations, Spread, t_width

T_TABLE = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 8: 2.365, 10: 2.262, 16: 2.131, 30: 2.045}
"""t(0.975, n−1) by the number of members n, as printed in textbooks."""


@pytest.mark.parametrize("n", T_TABLE)
def test_the_width_is_that_of_the_95_percent_interval_of_the_mean(n: int) -> None:
    s = 0.034
    assert t_width(s, n) == pytest.approx(2 * T_TABLE[n] * s / np.sqrt(n), rel=3e-4)


@pytest.mark.parametrize("n", [2, 5, 8])
def test_95_percent_of_students_density_lie_inside_the_width(n: int) -> None:
    dof = n - 1
    norm = gamma(n / 2) / (np.sqrt(dof * np.pi) * gamma(dof / 2))
    half = float(t_width(1.0, n)) / 2 * np.sqrt(n)
    inside = quad(lambda x: norm * (1 + x * x / dof) ** (-n / 2), -half, half)[0]
    assert inside == pytest.approx(0.95, abs=1e-7)


def test_the_interval_of_the_mean_covers_the_truth_in_95_of_100_draws() -> None:
    draws = np.random.default_rng(0).normal(3.0, 0.7, (20_000, 8))
    covered = np.abs(draws.mean(axis=1) - 3.0) <= t_width(draws.std(axis=1, ddof=1), 8) / 2
    assert covered.mean() == pytest.approx(0.95, abs=0.006)


def test_widths_of_many_atoms_at_once_are_those_of_each() -> None:
    s = np.array([0.0, 0.1, 2.0])
    np.testing.assert_allclose(t_width(s, 8), [t_width(one, 8) for one in s.tolist()])


def test_a_committee_of_one_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least 2 members, got 1"):
        t_width(0.1, 1)


def prediction(energies, forces, force_s=None) -> CommitteePrediction:
    return CommitteePrediction(
        energy=energies, forces=forces, stress=None, descriptor=np.zeros(1), force_s=force_s
    )


def test_a_models_own_standard_deviation_has_the_normal_interval() -> None:
    assert t_width(0.1, None) == pytest.approx(2 * 1.959963984540054 * 0.1)


def test_what_a_model_knows_of_its_own_forces_comes_before_the_spread_of_the_members() -> None:
    own = np.array([0.3, 0.1])
    spread = Spread.of(prediction(np.ones(3), np.ones((3, 2, 3)), own))
    np.testing.assert_array_equal(spread.force_s, own)
    assert (spread.n, spread.force_n) == (3, None)


def test_spreads_are_sample_standard_deviations_by_hand() -> None:
    energies = np.array([-10.0, -10.4, -9.9, -10.1])
    forces = np.zeros((4, 2, 3))
    forces[:, 1] = [[0.1, 0, 0], [0.3, 0, 0], [-0.1, 0, 0.6], [0.1, 0, 0.6]]
    spread = Spread.of(prediction(energies, forces))
    assert spread.n == 4
    # mean −10.1, squares 0.01 + 0.09 + 0.04 + 0 = 0.14
    assert spread.energy_s == pytest.approx(np.sqrt(0.14 / 3) / 2)
    # x: mean 0.1, squares 0.08; z: mean 0.3, squares 0.36; over three components
    np.testing.assert_allclose(spread.force_s, [0.0, np.sqrt((0.08 / 3 + 0.36 / 3) / 3)])


def test_the_force_spread_does_not_turn_with_the_crystal() -> None:
    rng = np.random.default_rng(1)
    forces = rng.normal(size=(8, 5, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    np.testing.assert_allclose(
        Spread.of(prediction(np.ones(8), forces @ turn)).force_s,
        Spread.of(prediction(np.ones(8), forces)).force_s,
    )


def test_an_assessment_has_everything_that_is_stored_of_a_frame() -> None:
    calibrations = Calibrations(
        energy=Calibration(slope=2.0, floor=0.003),
        force=Calibration(slope=3.0, floor=0.08),
        stress=Calibration(slope=1.0, floor=0.001),
    )
    spread = Spread(n=8, energy_s=0.002, force_s=np.array([0.02, 0.05]))
    found = calibrations.assess(spread)
    widths = 2 * 2.364624 * np.array([0.02, 0.05]) / np.sqrt(8)
    sigmas = np.sqrt((3.0 * np.array([0.02, 0.05])) ** 2 + 0.08**2)
    assert found.as_dict() == pytest.approx(
        {
            "n": 8,
            "energy_s": 0.002,
            "energy_width": 2 * 2.364624 * 0.002 / np.sqrt(8),
            "energy_sigma": 0.005,
            "force_s_max": 0.05,
            "force_s_mean": 0.035,
            "force_width_max": widths[1],
            "force_width_mean": widths.mean(),
            "force_sigma_max": sigmas[1],
            "force_sigma_mean": sigmas.mean(),
        },
        rel=1e-6,
    )
    assert all(isinstance(value, (int, float)) for value in found.as_dict().values())


def test_calibrations_survive_json() -> None:
    calibrations = Calibrations(
        energy=Calibration(slope=1 / 3, floor=1e-3),
        force=Calibration(slope=5.0, floor=0.1),
        stress=Calibration(slope=0.1, floor=1e-9),
    )
    assert Calibrations.from_json(calibrations.to_json()) == calibrations

import numpy as np
import pytest

from voltaloop.campaigns.scores import (
    QUANTITIES,
    RECENT_FRAMES,
    Coverage,
    Scored,
    appended,
    as_arrays,
    noise_floor,
    recalibrated,
)
from voltaloop.core import FloatArray, Frame, Label
from voltaloop.core.contracts import CommitteePrediction
from voltaloop.uncertainty import Calibration, Calibrations, Spread, t_width

FRAME = Frame(numbers=[3, 28], positions=[[0, 0, 0], [2, 2, 2]], cell=4 * np.eye(3))
PRIOR = Calibrations(
    energy=Calibration(slope=3.0, floor=0.5),
    force=Calibration(slope=3.0, floor=0.5),
    stress=Calibration(slope=3.0, floor=0.5),
)


def prediction(rng: np.random.Generator, members: int = 5) -> CommitteePrediction:
    return CommitteePrediction(
        energy=rng.normal(-10, 0.2, size=members),
        forces=rng.normal(size=(members, 2, 3)),
        stress=rng.normal(scale=0.01, size=(members, 6)),
        descriptor=np.zeros(3),
    )


def scored(
    energy: float, energy_s: float, force: FloatArray, force_s: FloatArray, n: int = 4
) -> Scored:
    return Scored(
        n_members=n,
        energy_error=energy,
        energy_s=energy_s,
        force_error=force,
        force_s=force_s,
        stress_error=np.zeros(0),
        stress_s=np.zeros(0),
    )


def drawn(rng: np.random.Generator, frames: int, factor: float) -> list[Scored]:
    """Frames whose true errors are ``factor`` times their spread."""
    found = []
    for _ in range(frames):
        spread, energy_s = rng.uniform(0.05, 0.2, size=12), rng.uniform(0.001, 0.004)
        error = rng.normal(scale=factor * spread)
        found.append(scored(rng.normal(scale=factor * energy_s), energy_s, error, spread))
    return found


def test_errors_are_the_mean_of_the_committee_minus_the_label() -> None:
    found = prediction(np.random.default_rng(0))
    label = Label(energy=-9.0, forces=np.ones((2, 3)), stress=np.full(6, 0.02))
    one = Scored.of(FRAME, label, found)
    assert one.n_members == 5
    assert one.energy_error == pytest.approx((found.energy.mean() + 9.0) / 2)
    np.testing.assert_allclose(one.force_error, (found.forces.mean(axis=0) - 1).ravel())
    assert found.stress is not None
    np.testing.assert_allclose(one.stress_error, found.stress.mean(axis=0) - 0.02)


def test_spreads_are_those_of_the_committee_one_for_each_component() -> None:
    found = prediction(np.random.default_rng(1))
    label = Label(energy=-9.0, forces=np.zeros((2, 3)), stress=np.zeros(6))
    one = Scored.of(FRAME, label, found)
    spread = Spread.of(found)
    assert one.energy_s == spread.energy_s == pytest.approx(np.std(found.energy, ddof=1) / 2)
    np.testing.assert_array_equal(one.force_s, np.repeat(spread.force_s, 3))
    assert found.stress is not None
    per_component = np.std(found.stress, axis=0, ddof=1)
    np.testing.assert_allclose(one.stress_s, np.sqrt(np.mean(per_component**2)))


def test_a_label_without_stress_is_scored_without_stress() -> None:
    label = Label(energy=-9.0, forces=np.zeros((2, 3)))
    one = Scored.of(FRAME, label, prediction(np.random.default_rng(2)))
    assert one.stress_error.size == one.stress_s.size == 0


def test_rounds_append_to_flat_arrays_with_the_number_of_their_frame() -> None:
    rng = np.random.default_rng(3)
    first, second = drawn(rng, 2, 1.0), drawn(rng, 1, 1.0)
    arrays = appended(as_arrays(first), as_arrays(second, first_frame=2))
    assert set(arrays) == {f"{q}_{part}" for q in QUANTITIES for part in ("error", "s", "frame")}
    np.testing.assert_array_equal(arrays["energy_frame"], [0, 1, 2])
    np.testing.assert_array_equal(arrays["force_frame"], np.repeat([0.0, 1.0, 2.0], 12))
    np.testing.assert_array_equal(arrays["force_error"][24:], second[0].force_error)
    assert arrays["stress_error"].size == 0


def test_the_first_round_appends_to_nothing() -> None:
    arrays = as_arrays(drawn(np.random.default_rng(4), 2, 1.0))
    assert appended(None, arrays) == arrays


@pytest.mark.parametrize("factor", [0.5, 2.0, 6.0])
def test_a_calibration_finds_how_much_larger_errors_are_than_spreads(factor: float) -> None:
    rng = np.random.default_rng(5)
    found = recalibrated(as_arrays(drawn(rng, 40, factor)), PRIOR)
    assert float(found.force.sigma(0.15)) == pytest.approx(factor * 0.15, rel=0.2)
    unseen = Coverage.of(drawn(rng, 60, factor), found)
    assert 0.92 < unseen.force < 0.98
    assert 0.87 < unseen.energy <= 1.0


def test_a_calibration_forgets_the_frames_of_long_ago() -> None:
    rng = np.random.default_rng(6)
    bad, good = drawn(rng, 100, 20.0), drawn(rng, RECENT_FRAMES, 1.0)
    both = appended(as_arrays(bad), as_arrays(good, first_frame=len(bad)))
    fresh = recalibrated(as_arrays(good), PRIOR)
    found = recalibrated(both, PRIOR)
    assert found.force == fresh.force
    assert found.energy == fresh.energy


def test_too_few_scores_leave_the_prior() -> None:
    found = recalibrated(as_arrays(drawn(np.random.default_rng(7), 3, 1.0)), PRIOR)
    assert found.energy == PRIOR.energy
    assert found.stress == PRIOR.stress
    assert found.force != PRIOR.force


def test_the_noise_floor_is_the_sigma_of_a_typical_recent_atom() -> None:
    rng = np.random.default_rng(8)
    old, new = drawn(rng, 50, 1.0), drawn(rng, RECENT_FRAMES, 1.0)
    arrays = appended(as_arrays(old), as_arrays(new, first_frame=len(old)))
    calibration = Calibration(slope=2.0, floor=0.03)
    typical = np.median(np.concatenate([one.force_s for one in new]))
    assert noise_floor(arrays, calibration) == pytest.approx(float(calibration.sigma(typical)))


def test_coverage_counts_energies_and_force_components_inside_both_intervals() -> None:
    n, s = 4, 0.1
    half = float(t_width(s, n)) / 2
    calibrations = Calibrations(
        energy=Calibration(slope=0.0, floor=1.0),
        force=Calibration(slope=1.0, floor=0.0),
        stress=PRIOR.stress,
    )
    spread = np.full(4, s)
    inside = scored(0.9 * half, s, np.array([0.9 * half, -0.9 * half, 1.1 * half, 0]), spread)
    outside = scored(1.1 * half, s, np.array([1.9 * s, -1.9 * s, 2.0 * s, 9.0]), spread)
    found = Coverage.of([inside, outside], calibrations)
    assert found.energy_raw == 0.5
    assert found.energy == 1.0
    errors = np.abs(np.concatenate([inside.force_error, outside.force_error]))
    assert found.force_raw == np.mean(errors <= half)
    assert found.force == np.mean(errors <= 1.959964 * s)
    assert 0 < found.force < 1

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pair_models import COLLAPSING, COPPER, PairModel, copper, moved

from voltaloop.core import Frame
from voltaloop.exploration import MdLimits, MdPlan, MdResult, Outcome, run_md

NO_LIMITS = MdLimits(
    min_distance=0.0, volume_low=0.0, volume_high=np.inf, temperature_factor=np.inf
)


def plan(**changes: Any) -> MdPlan:
    settings: dict[str, Any] = {
        "ensemble": "nvt",
        "temperature_from": 300.0,
        "temperature_to": 300.0,
        "steps": 200,
        "sample_every": 20,
        "seed": 1,
    }
    return MdPlan(**{**settings, **changes})


def run(
    start: Frame | None = None,
    model: PairModel = COPPER,
    limits: MdLimits | None = None,
    force_sigma: Callable[[Frame], float] | None = None,
    **changes: Any,
) -> MdResult:
    return run_md(start or copper(), model, plan(**changes), limits or MdLimits(), force_sigma)


def mean_temperature(result: MdResult, after: int, until: float = np.inf) -> float:
    return float(np.mean([s.temperature for s in result.samples if after <= s.step <= until]))


@pytest.mark.parametrize("target", [150.0, 600.0])
def test_the_thermostat_holds_its_temperature(target: float) -> None:
    result = run(temperature_from=target, temperature_to=target, steps=6000, sample_every=10)
    assert result.outcome == "completed"
    assert mean_temperature(result, after=1000) == pytest.approx(target, rel=0.06)


def test_a_thermostat_keeps_the_cell_and_the_centre_of_mass() -> None:
    start = copper()
    result = run(start, steps=400, sample_every=100)
    for sample in result.samples:
        np.testing.assert_allclose(sample.frame.cell, start.cell, atol=1e-9)
    steps = np.diff([s.frame.positions for s in result.samples], axis=0)
    steps -= np.round(steps / start.cell[0, 0]) * start.cell[0, 0]
    np.testing.assert_allclose(steps.mean(axis=1), 0.0, atol=1e-8)


def test_a_ramp_ends_at_its_last_temperature() -> None:
    result = run(temperature_from=100.0, temperature_to=700.0, steps=6000, sample_every=10)
    assert mean_temperature(result, after=0, until=600) == pytest.approx(130.0, rel=0.3)
    assert mean_temperature(result, after=2700, until=3300) == pytest.approx(400.0, rel=0.15)
    assert mean_temperature(result, after=5400) == pytest.approx(670.0, rel=0.15)


def test_the_barostat_reaches_its_pressure_and_squeezes_the_crystal() -> None:
    volumes = []
    for pressure in (0.0, 10.0):
        result = run(ensemble="npt", pressure_GPa=pressure, steps=8000, sample_every=10)
        assert result.outcome == "completed"
        settled = [s for s in result.samples if s.step > 3000]
        assert np.mean([s.pressure_GPa for s in settled]) == pytest.approx(pressure, abs=0.5)
        volumes.append(np.mean([s.frame.volume for s in settled]))
    assert 0.88 < volumes[1] / volumes[0] < 0.97  # bulk modulus of some 130 GPa


def test_the_same_seed_gives_the_same_trajectory_and_another_one_another() -> None:
    first, again, other = (run(ensemble="npt", seed=seed) for seed in (5, 5, 6))
    for one, two in zip(first.samples, again.samples, strict=True):
        np.testing.assert_array_equal(one.frame.positions, two.frame.positions)
        assert (one.temperature, one.pressure_GPa) == (two.temperature, two.pressure_GPa)
    assert not np.allclose(first.samples[0].frame.positions, other.samples[0].frame.positions)


@pytest.mark.parametrize("seed", [0, 2**31, 2**62 + 1])
def test_any_seed_of_a_numpy_generator_is_a_seed(seed: int) -> None:
    assert run(seed=seed, steps=20).outcome == "completed"


@pytest.mark.parametrize(
    ("steps", "sample_every", "expected"),
    [(60, 20, [20, 40, 60]), (50, 20, [20, 40, 50]), (10, 20, [10]), (1, 1, [1])],
)
def test_all_steps_are_run_and_the_last_one_is_sampled(
    steps: int, sample_every: int, expected: list[int]
) -> None:
    result = run(steps=steps, sample_every=sample_every)
    assert [sample.step for sample in result.samples] == expected
    assert (result.outcome, result.steps, result.detail) == ("completed", steps, "")


def test_samples_carry_the_atoms_and_moments_of_the_start() -> None:
    perfect = copper()
    start = Frame(
        numbers=perfect.numbers,
        positions=perfect.positions,
        cell=perfect.cell,
        magmoms=np.linspace(-1, 1, len(perfect)),
    )
    frame = run(start, steps=20).samples[-1].frame
    np.testing.assert_array_equal(frame.numbers, start.numbers)
    assert frame.magmoms is not None
    np.testing.assert_array_equal(frame.magmoms, start.magmoms)


def test_a_sampled_frame_is_in_the_order_of_the_start_and_near_it() -> None:
    start = copper()
    frame = run(start, steps=20, sample_every=20).samples[-1].frame
    moves = frame.positions - start.positions
    moves -= np.round(moves / start.cell[0, 0]) * start.cell[0, 0]
    assert 0.0 < np.abs(moves).max() < 0.4


def check_bad(result: MdResult, outcome: Outcome, detail: str, steps: int) -> None:
    assert result.outcome == outcome
    assert detail in result.detail
    assert result.steps < steps
    assert not result.samples or result.samples[-1].step == result.steps


def test_atoms_that_come_too_close_end_the_run() -> None:
    limits = MdLimits(min_distance=2.0, temperature_factor=np.inf)
    result = run(model=COLLAPSING, limits=limits, sample_every=5)
    check_bad(result, "atoms_too_close", "Å, limit 2.0 Å", steps=200)
    assert result.samples[-1].force_sigma is None


def test_atoms_that_start_on_top_of_each_other_heat_up_and_end_the_run() -> None:
    start = moved(copper(), 0, (1.0, 1.0, 0.0))
    result = run(start, limits=MdLimits(min_distance=0.1), sample_every=10)
    check_bad(result, "temperature_exploded", "K at a thermostat of 300.0 K", steps=200)


@pytest.mark.parametrize("pressure", [-60.0, 400.0])
def test_a_cell_that_grows_or_shrinks_without_end_ends_the_run(pressure: float) -> None:
    limits = MdLimits(temperature_factor=np.inf, min_distance=0.1)
    result = run(limits=limits, ensemble="npt", pressure_GPa=pressure, steps=5000)
    check_bad(result, "cell_ran_away", "times the starting volume", steps=5000)


def test_a_frame_beyond_the_upper_trust_level_ends_the_run() -> None:
    sigmas = iter([0.1, 0.2, 0.9, 5.0])
    result = run(limits=MdLimits(force_sigma=0.8), force_sigma=lambda _: next(sigmas))
    check_bad(result, "uncertain", "force sigma 0.90 eV/Å, upper trust level 0.80", steps=200)
    assert [sample.force_sigma for sample in result.samples] == [0.1, 0.2, 0.9]


def test_without_a_trust_level_the_sigma_is_only_noted() -> None:
    result = run(force_sigma=lambda _: 99.0, steps=40)
    assert result.outcome == "completed"
    assert [sample.force_sigma for sample in result.samples] == [99.0, 99.0]


def test_the_sigma_is_asked_for_the_sampled_frames() -> None:
    seen: list[Frame] = []
    result = run(force_sigma=lambda frame: float(len(seen.append(frame) or seen)), steps=60)
    assert [sample.frame for sample in result.samples] == seen


def test_a_nonsense_potential_crashes_the_run_and_not_the_process() -> None:
    result = run(model=COLLAPSING, limits=NO_LIMITS, timestep_fs=500.0, sample_every=50)
    check_bad(result, "crashed", "Exception: ", steps=200)
    assert len(result.detail) > len("Exception: ")
    again = run(steps=40)
    assert (again.outcome, again.steps) == ("completed", 40)


def test_a_potential_that_lammps_refuses_is_a_crash_with_its_words() -> None:
    broken = PairModel(species=("Cu",), commands=("pair_style no_such_style",))
    result = run(model=broken)
    assert (result.outcome, result.samples) == ("crashed", [])
    assert "no_such_style" in result.detail


def test_an_error_of_our_own_code_is_no_crash_of_the_dynamics() -> None:
    def broken(_: Frame) -> float:
        raise KeyError("calibration")

    with pytest.raises(KeyError, match="calibration"):
        run(force_sigma=broken)


def test_the_limits_are_checked_in_the_order_temperature_cell_distance_sigma() -> None:
    tight = {"temperature_factor": 0.01, "volume_low": 2.0, "min_distance": 9.0, "force_sigma": 0.0}
    outcomes = []
    for loosened in ({}, {"temperature_factor": 99.0}, {"volume_low": 0.1}, {"min_distance": 0.1}):
        tight |= loosened
        result = run(limits=MdLimits(**tight), force_sigma=lambda _: 1.0, steps=20)
        outcomes.append(result.outcome)
    assert outcomes == ["temperature_exploded", "cell_ran_away", "atoms_too_close", "uncertain"]

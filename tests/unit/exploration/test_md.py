from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from pair_models import COLLAPSING, COPPER, PairModel, copper, moved

from voltaloop.core import Frame
from voltaloop.exploration import MdLimits, MdPlan, MdResult, Outcome, md, run_md
from voltaloop.exploration.md import LOOK_EVERY

NO_LIMITS = MdLimits(
    min_distance=0.0, volume_low=0.0, volume_high=np.inf, temperature_factor=np.inf
)


@dataclass(frozen=True)
class Judged:
    """An assessment."""

    force_sigma_max: float


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
    assess: Callable[[Frame], Judged] | None = None,
    **changes: Any,
) -> MdResult[Judged]:
    return run_md(start or copper(), model, plan(**changes), limits or MdLimits(), assess)


def remembering(seen: list[Frame]) -> Callable[[Frame], Judged]:
    def assess(frame: Frame) -> Judged:
        seen.append(frame)
        return Judged(0.1)

    return assess


def mean_temperature(result: MdResult[Judged], after: int, until: float = np.inf) -> float:
    return float(np.mean([s.temperature for s in result.samples if after <= s.step <= until]))


@pytest.mark.parametrize("target", [150.0, 600.0])
def test_the_thermostat_holds_its_temperature(target: float) -> None:
    result = run(temperature_from=target, temperature_to=target, steps=4000, sample_every=10)
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
        result = run(ensemble="npt", pressure_GPa=pressure, steps=6000, sample_every=10)
        assert result.outcome == "completed"
        settled = [s for s in result.samples if s.step > 2000]
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


def check_bad(result: MdResult[Judged], outcome: Outcome, detail: str, steps: int) -> None:
    assert result.outcome == outcome
    assert detail in result.detail
    assert result.steps < steps
    assert all(s.step <= result.steps for s in result.samples)


def test_atoms_that_come_too_close_end_the_run() -> None:
    limits = MdLimits(min_distance=2.0, temperature_factor=np.inf)
    result = run(model=COLLAPSING, limits=limits, sample_every=5)
    check_bad(result, "atoms_too_close", "Å, limit 2.0 Å", steps=200)


def test_atoms_that_start_on_top_of_each_other_heat_up_and_end_the_run() -> None:
    start = moved(copper(), 0, (1.0, 1.0, 0.0))
    result = run(start, limits=MdLimits(min_distance=0.1), sample_every=10)
    check_bad(result, "temperature_exploded", "K at a thermostat of 300 K", steps=200)


@pytest.mark.parametrize("pressure", [-60.0, 400.0])
def test_a_cell_that_grows_or_shrinks_without_end_ends_the_run(pressure: float) -> None:
    limits = MdLimits(temperature_factor=np.inf, min_distance=0.1)
    result = run(limits=limits, ensemble="npt", pressure_GPa=pressure, steps=5000)
    check_bad(result, "cell_ran_away", "times the starting volume", steps=5000)


def test_a_frame_beyond_the_upper_trust_level_ends_the_run() -> None:
    sigmas = iter([0.1, 0.2, 0.9, 5.0])
    result = run(limits=MdLimits(force_sigma=0.8), assess=lambda _: Judged(next(sigmas)))
    check_bad(result, "uncertain", "force sigma 0.90 eV/Å, upper trust level 0.80", steps=200)
    assert [s.step for s in result.samples if s.step % 20 == 0] == [20, 40, 60]


def test_without_a_trust_level_the_sigma_is_only_noted() -> None:
    result = run(assess=lambda _: Judged(99.0), steps=40)
    assert result.outcome == "completed"
    assert [s.assessment for s in result.samples] == [Judged(99.0), Judged(99.0)]


def test_without_an_assessment_nothing_is_uncertain() -> None:
    result = run(limits=MdLimits(force_sigma=0.0), steps=40)
    assert result.outcome == "completed"
    assert [s.assessment for s in result.samples] == [None, None]


def test_a_run_that_completes_assesses_its_samples_only() -> None:
    seen: list[Frame] = []
    result = run(assess=remembering(seen), sample_every=3 * LOOK_EVERY, steps=90)
    assert [s.frame for s in result.samples] == seen
    assert [s.step for s in result.samples] == [30, 60, 90]


def test_a_run_that_goes_wrong_shows_the_frames_on_the_way_there() -> None:
    limits = MdLimits(min_distance=1.7, temperature_factor=np.inf)
    slow = replace(COLLAPSING, commands=("pair_style gauss 5.0", "pair_coeff * * 1.0 0.3"))
    seen: list[Frame] = []
    result = run(model=slow, limits=limits, assess=remembering(seen), sample_every=200, steps=400)
    check_bad(result, "atoms_too_close", "limit 1.7 Å", steps=400)
    assert [s.step for s in result.samples] == list(range(LOOK_EVERY, result.steps, LOOK_EVERY))
    assert result.samples
    assert all(s.assessment is not None for s in result.samples)
    assert len(seen) == len(result.samples)


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


def test_a_crash_shows_the_frames_on_the_way_there(monkeypatch: pytest.MonkeyPatch) -> None:
    look = md._look

    def lost_after_35_steps(lmp: Any, start: Frame, step: int) -> Any:
        if step > 35:
            raise Exception("ERROR: Lost atoms")
        return look(lmp, start, step)

    monkeypatch.setattr(md, "_look", lost_after_35_steps)
    result = run(assess=lambda _: Judged(0.1), sample_every=20)
    check_bad(result, "crashed", "Exception: ERROR: Lost atoms", steps=200)
    assert [s.step for s in result.samples] == [20, 30]
    assert all(s.assessment == Judged(0.1) for s in result.samples)


def test_a_frame_too_broken_to_be_assessed_ends_the_run_as_a_crash() -> None:
    def fails_at_the_third(seen: list[Frame]) -> Callable[[Frame], Judged]:
        def assess(frame: Frame) -> Judged:
            seen.append(frame)
            if len(seen) >= 3:
                raise Exception("ERROR: Neighbor list overflow")
            return Judged(0.1)

        return assess

    result = run(assess=fails_at_the_third([]))
    check_bad(result, "crashed", "Neighbor list overflow", steps=200)
    assert [s.step for s in result.samples] == [20, 40]


def test_an_error_of_our_own_code_is_no_crash_of_the_dynamics() -> None:
    def broken(_: Frame) -> Judged:
        raise KeyError("calibration")

    with pytest.raises(KeyError, match="calibration"):
        run(assess=broken)


def test_the_limits_are_checked_in_the_order_temperature_cell_distance_sigma() -> None:
    tight = {"temperature_factor": 0.01, "volume_low": 2.0, "min_distance": 9.0, "force_sigma": 0.0}
    outcomes = []
    for loosened in ({}, {"temperature_factor": 99.0}, {"volume_low": 0.1}, {"min_distance": 0.1}):
        tight |= loosened
        result = run(limits=MdLimits(**tight), assess=lambda _: Judged(1.0), steps=20)
        outcomes.append(result.outcome)
    assert outcomes == ["temperature_exploded", "cell_ran_away", "atoms_too_close", "uncertain"]

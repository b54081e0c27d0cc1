"""Normal equations, members, held-out errors and the search for hyperparameters.

On random equations with a known solution: what is tested here knows nothing of atoms.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import LinAlgError

from voltaloop.core import FloatArray, Frame, Label
from voltaloop.potentials.pod import DesignRows
from voltaloop.potentials.pod.fit import (
    LIMITS,
    Examples,
    FrameErrors,
    Hyperparameters,
    fit_committee,
    fit_or_stiffen,
    search,
    solve,
)
from voltaloop.potentials.pod.normal import (
    QUANTITIES,
    Equations,
    NormalEquations,
    empty_block,
    equations,
)

SIZE, BLOCKS = 12, 4
TRUTH = np.random.default_rng(7).normal(size=SIZE)
STIFF = Hyperparameters(ridge=1e-9)


def frame_equations(rng: np.random.Generator, noise: float = 0.01) -> Equations:
    """Rows of one frame with ``TRUTH`` as solution, but for the noise."""
    pairs = {}
    for quantity, count in zip(QUANTITIES, (1, 9, 6), strict=True):
        rows = rng.normal(size=(count, SIZE))
        pairs[quantity] = (rows, rows @ TRUTH + rng.normal(0.0, noise, count))
    return pairs


def some_examples(count: int, seed: int = 0, noise: float = 0.01) -> Examples:
    rng = np.random.default_rng(seed)
    examples = Examples.empty(SIZE, BLOCKS)
    for _ in range(count):
        examples.add(frame_equations(rng, noise))
    return examples


def fitted_directly(frames: list[Equations], hyper: Hyperparameters) -> FloatArray:
    """Weighted ridge least squares by stacking rows: the same problem, another way."""
    rows = np.concatenate([hyper.weight(q) * f[q][0] for f in frames for q in f])
    targets = np.concatenate([hyper.weight(q) * f[q][1] for f in frames for q in f])
    norms = np.linalg.norm(rows, axis=0)
    stacked = np.concatenate([rows / norms, np.sqrt(hyper.ridge) * np.eye(SIZE)])
    scaled = np.linalg.lstsq(stacked, np.concatenate([targets, np.zeros(SIZE)]))[0]
    return scaled / norms


def test_sums_frame_by_frame_are_the_sums_of_all_rows_at_once() -> None:
    rng = np.random.default_rng(0)
    rows, targets = rng.normal(size=(30, SIZE)), rng.normal(size=30)
    sums = NormalEquations.empty(SIZE)
    for start in range(0, 30, 7):
        sums.add(rows[start : start + 7], targets[start : start + 7])
    np.testing.assert_allclose(sums.gram, rows.T @ rows, rtol=1e-12)
    np.testing.assert_allclose(sums.moment, rows.T @ targets, rtol=1e-12, atol=1e-12)


def test_frame_i_belongs_to_block_i_modulo_the_number_of_blocks() -> None:
    examples = some_examples(10)
    for block in range(BLOCKS):
        own = [f["force"] for f in examples.frames[block::BLOCKS]]
        gram = np.sum([rows.T @ rows for rows, _ in own], axis=0)
        np.testing.assert_allclose(examples.blocks[block]["force"].gram, gram, rtol=1e-12)


def test_energies_are_per_atom_and_stresses_virials_per_atom() -> None:
    rng = np.random.default_rng(1)
    frame = Frame(numbers=[3, 8], positions=np.zeros((2, 3)), cell=np.diag([2.0, 3.0, 4.0]))
    rows = DesignRows(
        energy=rng.normal(size=SIZE),
        forces=rng.normal(size=(2, 3, SIZE)),
        stress=rng.normal(size=(6, SIZE)),
    )
    label = Label(energy=-7.0, forces=rng.normal(size=(2, 3)), stress=np.arange(6.0))
    found = equations(rows, frame, label, offset=-5.0)
    assert set(found) == set(QUANTITIES)
    np.testing.assert_allclose(found["energy"][0], rows.energy[None] / 2)
    np.testing.assert_allclose(found["energy"][1], [-1.0])
    np.testing.assert_allclose(found["force"][0] @ TRUTH, (rows.forces @ TRUTH).ravel())
    np.testing.assert_allclose(found["force"][1], label.forces.ravel())
    assert rows.stress is not None
    np.testing.assert_allclose(found["stress"][0], rows.stress * 24.0 / 2)
    np.testing.assert_allclose(found["stress"][1], np.arange(6.0) * 24.0 / 2)


def test_a_label_without_stress_gives_no_stress_equations() -> None:
    frame = Frame(numbers=[3], positions=np.zeros((1, 3)), cell=np.eye(3))
    rows = DesignRows(energy=np.ones(SIZE), forces=np.ones((1, 3, SIZE)), stress=np.ones((6, SIZE)))
    label = Label(energy=0.0, forces=np.zeros((1, 3)))
    assert set(equations(rows, frame, label, offset=0.0)) == {"energy", "force"}


def test_the_ridge_solution_is_that_of_stacked_least_squares() -> None:
    examples = some_examples(9)
    sums = empty_block(SIZE)["force"]
    for found in examples.frames:
        sums.add(*found["force"])
    only_forces = [{"force": found["force"]} for found in examples.frames]
    for ridge in (1e-9, 1e-3, 0.1):
        direct = fitted_directly(only_forces, Hyperparameters(ridge=ridge))
        np.testing.assert_allclose(solve(sums.gram, sums.moment, ridge), direct, rtol=1e-7)


def test_a_column_without_data_gets_no_coefficient() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(40, SIZE))
    rows[:, 4] = 0.0
    found = solve(rows.T @ rows, rows.T @ (rows @ TRUTH), 1e-12)
    expected = np.where(np.arange(SIZE) == 4, 0.0, TRUTH)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_singular_equations_are_an_error_until_the_ridge_is_stiff_enough() -> None:
    one = np.ones((1, SIZE))
    with pytest.raises(LinAlgError):
        solve(one.T @ one, one[0], 0.0)
    examples = Examples.empty(SIZE, BLOCKS)
    for _ in range(BLOCKS):
        examples.add({"force": (one, np.array([3.0]))})
    fit = fit_or_stiffen(examples, Hyperparameters(ridge=1e-20))
    assert fit.hyperparameters.ridge > 1e-20
    np.testing.assert_allclose(fit.coefficients @ one[0], 3.0, rtol=1e-3)


def test_numbers_that_are_not_finite_are_refused_and_do_not_hang() -> None:
    examples = some_examples(8)
    examples.add({"force": (np.full((1, SIZE), np.nan), np.array([1.0]))})
    with pytest.raises(ValueError, match="expected finite design rows and labels"):
        fit_or_stiffen(examples, STIFF)


def test_each_member_is_the_fit_to_all_blocks_but_its_own() -> None:
    examples = some_examples(14, noise=0.1)
    hyper = Hyperparameters(energy=10.0, stress=0.7, ridge=1e-4)
    fit = fit_committee(examples, hyper)
    assert fit.coefficients.shape == (BLOCKS, SIZE)
    for member in range(BLOCKS):
        others = [f for i, f in enumerate(examples.frames) if i % BLOCKS != member]
        np.testing.assert_allclose(
            fit.coefficients[member], fitted_directly(others, hyper), rtol=1e-7
        )


def test_a_wrong_label_changes_every_member_but_the_one_that_has_not_seen_it() -> None:
    sound, spoiled = some_examples(14), some_examples(13)
    wrong = {q: (rows, targets + 100.0) for q, (rows, targets) in sound.frames[13].items()}
    spoiled.add(wrong)
    before, after = fit_committee(sound, STIFF), fit_committee(spoiled, STIFF)
    change = np.abs(after.coefficients - before.coefficients).max(axis=1)
    assert change[13 % BLOCKS] < 1e-9
    assert (np.delete(change, 13 % BLOCKS) > 1e-3).all()


def test_held_out_errors_are_those_of_the_member_that_has_not_seen_the_frame() -> None:
    examples = some_examples(14, noise=0.1)
    fit = fit_committee(examples, STIFF)
    for i, found in enumerate(examples.frames):
        for quantity, (rows, targets) in found.items():
            misses = rows @ fit.coefficients[i % BLOCKS] - targets
            expected = np.sqrt(np.mean(misses**2))
            assert getattr(fit.held_out, quantity)[i] == pytest.approx(expected, rel=1e-12)


def test_held_out_errors_of_an_exact_model_vanish_and_of_noise_do_not() -> None:
    exact = fit_committee(some_examples(20, noise=0.0), STIFF).held_out
    assert max(exact.rmse(q) for q in QUANTITIES) < 1e-6
    noisy = fit_committee(some_examples(200, noise=0.1), STIFF).held_out
    assert [noisy.rmse(q) for q in QUANTITIES] == pytest.approx([0.1] * 3, rel=0.2)


def test_errors_are_root_mean_squares_over_the_better_share_of_the_frames() -> None:
    values = np.array([4.0, 1.0, np.nan, 3.0, 2.0])
    held_out = FrameErrors(energy=values, force=values, stress=np.full(5, np.nan))
    assert held_out.rmse("energy") == pytest.approx(np.sqrt(30 / 4))
    assert held_out.rmse("energy", share=0.5) == pytest.approx(np.sqrt(5 / 2))
    assert np.isnan(held_out.rmse("stress"))
    assert held_out.score == pytest.approx(2 * np.log(np.sqrt(30 / 4)))


def test_a_tenth_of_the_frames_far_from_all_others_does_not_decide_the_score() -> None:
    typical = np.full(20, 0.5)
    wild = np.where(np.arange(20) < 2, 1e6, typical)
    scores = [FrameErrors(energy=e, force=typical, stress=typical).score for e in (typical, wild)]
    assert scores[0] == scores[1]


def test_every_frame_decides_the_score_where_the_share_is_all() -> None:
    errors = np.where(np.arange(20) < 2, 8.0, 0.5)
    held_out = FrameErrors(energy=errors, force=errors, stress=errors, kept_share=1.0)
    assert held_out.score == pytest.approx(3 * np.log(held_out.rmse("energy")))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "start", [Hyperparameters(), Hyperparameters(energy=10.0, stress=31.6, ridge=1e-5)]
)
def test_the_search_never_ends_worse_than_it_started_nor_off_its_limits(
    seed: int, start: Hyperparameters
) -> None:
    examples = some_examples(10, seed=seed, noise=0.3)
    found = search(examples, start)[-1]
    assert found.held_out.score <= fit_committee(examples, start).held_out.score
    again = fit_committee(examples, found.hyperparameters)
    np.testing.assert_array_equal(again.coefficients, found.coefficients)
    for name, (low, high) in LIMITS.items():
        assert low <= getattr(found.hyperparameters, name) <= high


def test_the_search_ends_where_no_neighbour_on_the_grid_is_better() -> None:
    examples = some_examples(10, seed=3, noise=0.3)
    best = search(examples, Hyperparameters())[-1]
    for name, (low, high) in LIMITS.items():
        for factor in (10**0.5, 10**-0.5):
            value = float(f"{getattr(best.hyperparameters, name) * factor:.3g}")
            if low <= value <= high:
                other = replace(best.hyperparameters, **{name: value})
                assert fit_committee(examples, other).held_out.score >= best.held_out.score


def test_a_heavier_weight_buys_smaller_errors_of_that_quantity() -> None:
    rng = np.random.default_rng(5)
    examples = Examples.empty(SIZE, BLOCKS)
    for _ in range(40):
        found = frame_equations(rng)
        rows, targets = found["energy"]
        examples.add({**found, "energy": (rows, targets + rows[:, 0])})  # energies disagree
    light = fit_committee(examples, Hyperparameters(energy=0.1, ridge=1e-9)).held_out
    heavy = fit_committee(examples, Hyperparameters(energy=30.0, ridge=1e-9)).held_out
    assert heavy.rmse("energy") < light.rmse("energy") / 2
    assert heavy.rmse("force") > 2 * light.rmse("force")

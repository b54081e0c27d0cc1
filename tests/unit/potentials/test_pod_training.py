"""Training of the potential ``pod`` on labels whose truth is known."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

from voltaloop.core import FloatArray, Frame, Label
from voltaloop.core.training import Example, Previous, Trained
from voltaloop.potentials.pod import Pod, PodBasis, PodCommittee, PodSettings, fit, pod
from voltaloop.testing.potentials import (
    MODEL_SPECIES,
    DictMemo,
    model_crystal,
    model_examples,
    model_frames,
    model_label,
)

BASIS = PodBasis(
    rcut=4.2, twobody=5, threebody=3, threebody_degree=2, fourbody=0, fourbody_degree=0
)
POTENTIAL = Pod(PodSettings(members=4, basis=BASIS))
SETTLED = Previous(
    hyperparameters={"energy": 10.0, "stress": 3.16, "ridge": 1e-9, "searched_at": 1000},
    committee=PodCommittee(
        basis=PodSettings().chosen_basis, species=MODEL_SPECIES, coefficients=np.zeros((0, 0))
    ),
)
"""Hyperparameters searched with so many examples that no test searches again."""
ROWS = DictMemo()
"""Design rows for all tests that do not count them."""


@pytest.fixture(autouse=True)
def _nothing_remembered_from_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod, "_memories", {})


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many examples each search for hyperparameters had."""
    calls: list[int] = []

    def counted(examples: fit.Examples, start: fit.Hyperparameters) -> fit.Fit:
        calls.append(len(examples.frames))
        return fit.search(examples, start)

    monkeypatch.setattr(pod, "search", counted)
    return calls


def train(
    examples: list[Example],
    memo: DictMemo = ROWS,
    previous: Previous | None = None,
) -> Trained:
    return POTENTIAL.train(MODEL_SPECIES, examples, memo, previous)


def previous_of(trained: Trained) -> Previous:
    return Previous(hyperparameters=trained.hyperparameters, committee=trained.committee)


def shifted(examples: list[Example], energies: Mapping[int, float]) -> list[Example]:
    """The same examples with a constant energy in eV for every atom of a species."""
    return [
        replace(
            e,
            label=replace(
                e.label, energy=e.label.energy + sum(energies[z] for z in e.frame.numbers.tolist())
            ),
        )
        for e in examples
    ]


def known_committee() -> PodCommittee:
    """A linear potential that the training can find exactly."""
    weights = np.random.default_rng(1).normal(0.0, 0.02, (1, BASIS.size(3)))
    return PodCommittee(basis=BASIS, species=MODEL_SPECIES, coefficients=weights)


def labelled_by(committee: PodCommittee, frame: Frame) -> Label:
    got = committee.predict(frame, stress=True)
    assert got.stress is not None
    return Label(energy=got.energy[0], forces=got.forces[0], stress=got.stress[0])


def test_a_linear_truth_is_recovered_on_frames_never_seen() -> None:
    truth = known_committee()
    examples = [
        Example(key=str(i), frame=frame, label=labelled_by(truth, frame))
        for i, frame in enumerate(model_frames(40, seed=2))
    ]
    trained = train(examples, previous=SETTLED)
    for frame in model_frames(4, seed=50):
        expected, got = labelled_by(truth, frame), trained.committee.predict(frame, stress=True)
        assert got.stress is not None
        np.testing.assert_allclose(got.energy / 8, expected.energy / 8, rtol=0, atol=2e-5)
        for forces, stress in zip(got.forces, got.stress, strict=True):
            np.testing.assert_allclose(forces, expected.forces, rtol=0, atol=2e-3)
            np.testing.assert_allclose(stress, np.asarray(expected.stress), rtol=0, atol=1e-4)
    assert trained.held_out["energy"] < 2e-5
    assert trained.held_out["force"] < 1e-3


def test_rows_of_a_frame_are_computed_once_and_read_from_the_memo_ever_after() -> None:
    memo, examples = DictMemo(), model_examples(12)
    train(examples[:8], memo, SETTLED)
    assert (memo.puts, memo.hits) == (8, 0)
    train(examples, memo, SETTLED)
    assert memo.puts == 12


def test_another_process_computes_no_row_again(monkeypatch: pytest.MonkeyPatch) -> None:
    memo, examples = DictMemo(), model_examples(12)
    here = train(examples, memo, SETTLED)
    monkeypatch.setattr(pod, "_memories", {})  # what a new process knows
    monkeypatch.setattr(pod, "design_rows", _fail)
    there = train(examples, memo, SETTLED)
    assert memo.hits == 12
    np.testing.assert_array_equal(_weights(there), _weights(here))


def test_labels_without_stress_cost_no_rows_of_stress() -> None:
    memo, examples = DictMemo(), model_examples(12)
    bare = [replace(one, label=replace(one.label, stress=None)) for one in examples]
    trained = train(bare, memo, SETTLED)
    assert all("stress" not in rows for rows in memo.kept.values())
    assert "stress" not in trained.held_out
    again = train([*bare[:-1], examples[-1]], memo, SETTLED)
    assert "stress" in again.held_out
    assert memo.puts == 13


def test_the_share_of_frames_that_decide_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []

    def noted(examples: fit.Examples, start: fit.Hyperparameters) -> list[fit.Fit]:
        shares.append(fit.fit_or_stiffen(examples, start).held_out.kept_share)
        return fit.search(examples, start)

    monkeypatch.setattr(pod, "search", noted)
    for share in (0.9, 1.0):
        settings = PodSettings(members=4, basis=BASIS, kept_share=share)
        Pod(settings).train(MODEL_SPECIES, model_examples(12), ROWS)
    assert shares == [0.9, 1.0]


def test_without_stress_no_weight_of_it_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float] = []

    def noted(examples: fit.Examples, hyper: fit.Hyperparameters) -> fit.Fit:
        tried.append(hyper.stress)
        return once(examples, hyper)

    once = fit.fit_committee
    monkeypatch.setattr(fit, "fit_committee", noted)
    bare = [replace(one, label=replace(one.label, stress=None)) for one in model_examples(12)]
    train(bare)
    assert len(tried) > 1
    assert set(tried) == {fit.Hyperparameters().stress}


def _fail(*_: object, **__: object) -> None:
    raise AssertionError("design rows were computed again")


def test_this_process_asks_the_memo_for_new_frames_only() -> None:
    memo, examples = DictMemo(), model_examples(40)
    train(examples[:36], memo, SETTLED)
    forgetful = DictMemo()
    train(examples, forgetful, SETTLED)
    assert (memo.puts, forgetful.puts) == (36, 4)


@pytest.mark.parametrize("steps", [(8, 20), (8, 31, 33), (33, 34, 40)])
def test_learning_in_steps_is_learning_at_once(
    steps: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = model_examples(steps[-1])
    previous: Previous | None = None
    for count in steps:
        before, stepwise = previous, train(examples[:count], previous=previous)
        previous = previous_of(stepwise)
    monkeypatch.setattr(pod, "_memories", {})
    at_once = train(examples, previous=before)
    np.testing.assert_array_equal(_weights(at_once), _weights(stepwise))
    np.testing.assert_array_equal(at_once.descriptors, stepwise.descriptors)
    assert at_once.hyperparameters == stepwise.hyperparameters
    assert at_once.held_out == stepwise.held_out


def test_labels_that_changed_or_moved_are_learned_anew() -> None:
    examples = model_examples(34)
    train(examples, previous=SETTLED)
    corrected = [*examples[:-1], replace(examples[-1], label=model_label(model_crystal()))]
    turned = examples[::-1]
    for other in (corrected, turned, shifted(examples, {3: -1.0, 28: -2.0, 8: -3.0})):
        after = train(other, previous=SETTLED)
        pod._memories.clear()
        fresh = train(other, previous=SETTLED)
        np.testing.assert_array_equal(_weights(after), _weights(fresh))


def test_hyperparameters_are_searched_again_only_when_the_set_has_grown_by_a_quarter(
    searches: list[int],
) -> None:
    examples = model_examples(40)
    previous: Previous | None = None
    for count in (20, 22, 24, 25, 30, 31, 32, 40):
        previous = previous_of(train(examples[:count], previous=previous))
    assert searches == [20, 25, 32, 40]


def test_a_new_process_does_not_search_where_the_old_one_would_not(
    searches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = model_examples(22)
    previous = previous_of(train(examples[:20]))
    monkeypatch.setattr(pod, "_memories", {})
    trained = train(examples, previous=previous)
    assert searches == [20]
    assert trained.hyperparameters == previous.hyperparameters


def test_constant_energies_per_species_change_energies_only() -> None:
    """Total energies of DFT are tens of eV below the free atoms: forces must not notice."""
    energies = {3: -1.9, 28: -5.5, 8: -432.1}
    plain = train(model_examples(40), previous=SETTLED)
    deep = train(shifted(model_examples(40), energies), previous=SETTLED)
    for frame in model_frames(3, seed=60):
        below = sum(energies[z] for z in frame.numbers.tolist())
        a, b = plain.committee.predict(frame), deep.committee.predict(frame)
        np.testing.assert_allclose((b.energy - below) / 8, a.energy / 8, rtol=0, atol=1e-5)
        np.testing.assert_allclose(b.forces, a.forces, rtol=0, atol=1e-3)
    assert deep.held_out["energy"] == pytest.approx(plain.held_out["energy"], rel=0.2)


def test_one_body_coefficients_share_the_energy_sanely_when_compositions_tell_nothing() -> None:
    frames = [f for f in model_frames(60, seed=70) if f.n_lithium == 2][:8]
    examples = [
        Example(
            key=str(i), frame=f, label=replace(model_label(f), energy=model_label(f).energy - 40.0)
        )
        for i, f in enumerate(frames)
    ]
    trained = train(examples)
    stride = 1 + BASIS.per_species(3)
    assert (np.abs(_weights(trained)[:, ::stride]) < 40.0).all()
    assert trained.held_out["energy"] < 0.05


def test_stresses_are_held_out_in_stress_units() -> None:
    examples = model_examples(40)
    trained = train(examples, previous=SETTLED)
    misses = []
    for i, example in enumerate(examples):
        got = trained.committee.member(i % 4).predict(example.frame, stress=True).stress
        assert got is not None
        misses.append(got[0] - np.asarray(example.label.stress))
    expected = np.sqrt(np.mean(np.square(misses)))
    assert trained.held_out["stress"] == pytest.approx(expected, rel=0.2)


def test_labels_with_and_without_stress_may_be_mixed() -> None:
    examples = [
        replace(e, label=replace(e.label, stress=None)) if i % 2 else e
        for i, e in enumerate(model_examples(32))
    ]
    trained = train(examples, previous=SETTLED)
    assert trained.held_out["stress"] < 1e-3
    assert trained.held_out["force"] < 0.02


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_examples_than_members_give_a_finite_committee(count: int) -> None:
    trained = train(model_examples(count))
    assert np.isfinite(_weights(trained)).all()
    assert all(np.isfinite(value) for value in trained.held_out.values())
    assert trained.descriptors.shape == (count, BASIS.size(3))


def test_training_without_examples_is_refused() -> None:
    with pytest.raises(ValueError, match="needs at least one labelled frame, got none"):
        train([])


def _weights(trained: Trained) -> FloatArray:
    return trained.committee.to_arrays()["coefficients"]

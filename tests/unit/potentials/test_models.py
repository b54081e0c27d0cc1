"""Committees of models outside LAMMPS, on models whose energies are known."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from voltaloop.core import Frame, Label
from voltaloop.core.training import Example
from voltaloop.exploration import MdLimits, MdPlan, run_md, static_evaluator
from voltaloop.potentials.blocks import (
    check_examples,
    held_out_errors,
    held_out_from,
    learned_by,
    root_mean_squares,
)
from voltaloop.potentials.models import ModelCommittee, descriptors_of
from voltaloop.testing.potentials import (
    MODEL_SPECIES,
    DictMemo,
    model_crystal,
    model_examples,
    model_frames,
    model_label,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaled(ModelCommittee):
    """The model system with everything times a factor."""

    def open(self, model: Mapping[str, np.ndarray]):
        factor = float(model["factor"])
        fails = self.meta.get("fails_at_x", np.inf)

        def evaluate(frame: Frame) -> Label:
            if frame.positions[0, 0] > fails:
                raise RuntimeError("the model's program has died")
            label = model_label(frame)
            return Label(
                energy=factor * label.energy,
                forces=factor * label.forces,
                stress=factor * label.stress,
            )

        return evaluate


def committee(*factors: float, **meta: float) -> Scaled:
    models = tuple({"factor": np.array(factor)} for factor in factors)
    return Scaled(species=MODEL_SPECIES, models=models, meta=meta)


def test_lammps_gets_energy_forces_and_stress_of_the_mean() -> None:
    frame = model_frames(1, seed=4)[0]
    expected = model_label(frame)
    with static_evaluator(frame, committee(0.8, 1.0, 1.5)) as evaluate:
        got = [evaluate(one) for one in (frame, model_frames(1, seed=4)[0])]
    for label in got:
        assert label.energy == pytest.approx(1.1 * expected.energy, abs=1e-10)
        np.testing.assert_allclose(label.forces, 1.1 * expected.forces, atol=1e-10)
        np.testing.assert_allclose(label.stress, 1.1 * expected.stress, atol=1e-10)


def test_energy_is_conserved_in_molecular_dynamics_and_pressure_is_felt() -> None:
    base = {"temperature_from": 300.0, "temperature_to": 300.0, "sample_every": 50, "seed": 1}
    plan = MdPlan(ensemble="npt", pressure_GPa=20.0, steps=400, **base)
    squeezed = run_md(model_crystal(), committee(1.0), plan, MdLimits())
    assert squeezed.outcome == "completed"
    assert squeezed.samples[-1].frame.volume < 0.97 * model_crystal().volume
    resting = run_md(model_crystal(), committee(1.0), replace(plan, pressure_GPa=0.0), MdLimits())
    assert resting.samples[-1].frame.volume > squeezed.samples[-1].frame.volume


def test_a_model_that_fails_inside_lammps_tells_so() -> None:
    plan = MdPlan(
        ensemble="nvt",
        temperature_from=300.0,
        temperature_to=300.0,
        steps=40,
        sample_every=10,
        seed=1,
    )
    with pytest.raises(RuntimeError, match="program has died"):
        run_md(model_crystal(), committee(1.0, fails_at_x=-100.0), plan, MdLimits())


def test_stored_and_loaded_it_is_the_same_committee() -> None:
    model, frame = committee(0.9, 1.1), model_frames(1, seed=5)[0]
    again = Scaled.load(model.to_json(), model.to_arrays())
    np.testing.assert_array_equal(again.predict(frame).energy, model.predict(frame).energy)
    averaged = Scaled.load(model.averaged().to_json(), model.averaged().to_arrays())
    assert averaged.size == 1
    assert averaged.predict(frame).energy[0] == pytest.approx(model_label(frame).energy)


def test_a_member_that_was_averaged_before_is_itself() -> None:
    frame = model_frames(1, seed=5)[0]
    alone = committee(0.5, 1.5).averaged().member(1)
    assert alone.predict(frame).energy[0] == pytest.approx(1.5 * model_label(frame).energy)


def test_members_learn_from_all_blocks_but_their_own() -> None:
    examples = model_examples(7)
    assert [e.key[-1] for e in held_out_from(examples, 1, 3)] == ["1", "4"]
    assert [e.key[-1] for e in learned_by(examples, 1, 3)] == ["0", "2", "3", "5", "6"]
    assert len(learned_by(examples, 0, 1)) == 7
    assert held_out_from(examples, 0, 1) == []


def test_errors_are_those_of_the_member_that_has_not_learned_from_the_frame() -> None:
    examples = model_examples(6)
    model = committee(1.0, 1.2)
    odd = [e for i, e in enumerate(examples) if i % 2]
    expected = root_mean_squares(model.evaluators[1], odd)
    found = held_out_errors(model.evaluators, examples)
    assert found["energy"] == pytest.approx(expected["energy"] / np.sqrt(2))
    assert found["force"] == pytest.approx(expected["force"] / np.sqrt(2))
    assert found["stress"] == pytest.approx(expected["stress"] / np.sqrt(2))
    forces = np.concatenate([0.2 * e.label.forces.ravel() for e in odd])
    assert expected["force"] == pytest.approx(np.sqrt(np.mean(forces**2)))


def test_too_few_or_broken_examples_are_refused() -> None:
    examples = model_examples(4)
    with pytest.raises(ValueError, match="at least one labelled frame for each of its 5 members"):
        check_examples(examples, 5, "mine")
    broken = replace(examples[2], label=replace(examples[2].label, energy=np.inf))
    with pytest.raises(ValueError, match=r"labels of 1 examples are not finite.*model-0-2"):
        check_examples([*examples, broken], 4, "mine")


def test_descriptors_come_from_the_memo_the_second_time() -> None:
    examples: list[Example] = model_examples(3)
    memo = DictMemo()
    first = descriptors_of(examples, MODEL_SPECIES, memo)
    again = descriptors_of(examples, MODEL_SPECIES, memo)
    np.testing.assert_array_equal(first, again)
    assert (memo.puts, memo.hits) == (3, 3)
    own = committee(1.0).predict(examples[1].frame).descriptor
    np.testing.assert_allclose(first[1], own, rtol=1e-12)

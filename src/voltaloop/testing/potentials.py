"""What every potential promises, as tests to inherit."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list
from pydantic import BaseModel, ValidationError

from voltaloop.core import FloatArray, Frame, Label, StructureError
from voltaloop.core.contracts import Committee, CommitteePrediction
from voltaloop.core.training import Example, Memo, Previous, Trained
from voltaloop.exploration import MdLimits, MdPlan, MdResult, run_md, static_evaluator
from voltaloop.potentials import Potential

MODEL_SPECIES = ("Li", "Ni", "O")
PROPERTIES = ("energy", "force", "stress")
MODEL_LATTICE = 4.2
"""Å. Rock salt lattice constant at which the model system is nearly free of stress."""

_RADII = {3: 1.22, 28: 1.12, 8: 1.08}
_DEPTH, _STIFFNESS, _CUTOFF = 0.6, 1.4, 4.0


def model_label(frame: Frame) -> Label:
    """Exact energy, forces and stress of the model system: pairs with a smooth cutoff.

    Metal and oxygen attract each other (Morse), like ones repel, so that rock salt is stable;
    radii depend on the species. Any potential with neighbours within 4 Å can learn it.
    """
    atoms = frame.to_atoms()
    i, j, d, vectors = neighbor_list("ijdD", atoms, _CUTOFF)
    numbers = frame.numbers
    bottom = np.array([_RADII[a] + _RADII[b] for a, b in zip(numbers[i], numbers[j], strict=True)])
    attraction = np.where((numbers[i] == 8) == (numbers[j] == 8), 0.0, 2.0)
    decay = np.exp(-_STIFFNESS * (d - bottom))
    pair = _DEPTH * (decay**2 - attraction * decay)
    pair_slope = _DEPTH * _STIFFNESS * (attraction * decay - 2 * decay**2)
    inside = 1 - (d / _CUTOFF) ** 2
    smooth, smooth_slope = inside**3, -6 * inside**2 * d / _CUTOFF**2
    slope = pair_slope * smooth + pair * smooth_slope
    pulls = (slope / d)[:, None] * vectors
    forces = np.zeros((len(frame), 3))
    np.add.at(forces, i, pulls)
    virial = 0.5 * np.einsum("ka,kb->ab", pulls, vectors) / frame.volume
    return Label(
        energy=0.5 * float(np.sum(pair * smooth)),
        forces=forces,
        stress=virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
    )


def model_crystal(n_lithium: int = 2) -> Frame:
    """The perfect rock salt cell of 8 atoms with ``n_lithium`` of its 4 metals lithium."""
    atoms = bulk("NiO", "rocksalt", a=MODEL_LATTICE, cubic=True)
    atoms.numbers[np.flatnonzero(atoms.numbers == 28)[:n_lithium]] = 3
    return Frame.from_atoms(atoms)


def model_frames(count: int, seed: int) -> list[Frame]:
    """Rattled, strained rock salt cells of 8 atoms with 0 to 4 of 4 metals lithium."""
    rng = np.random.default_rng(seed)
    return [_model_frame(rng) for _ in range(count)]


def _model_frame(rng: np.random.Generator) -> Frame:
    atoms = bulk("NiO", "rocksalt", a=MODEL_LATTICE, cubic=True)
    metals = np.flatnonzero(atoms.numbers == 28)
    atoms.numbers[rng.permutation(metals)[: rng.integers(0, 5)]] = 3
    strain = rng.normal(0.0, 0.02, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    atoms.positions += rng.normal(0.0, 0.08, atoms.positions.shape)
    return Frame.from_atoms(atoms)


def model_examples(count: int, seed: int = 0) -> list[Example]:
    """Labelled frames of the model system."""
    return [
        Example(key=f"model-{seed}-{i}", frame=frame, label=model_label(frame))
        for i, frame in enumerate(model_frames(count, seed))
    ]


class DictMemo:
    """A memo in memory that counts what was put in and what was found."""

    def __init__(self) -> None:
        self.kept: dict[str, Mapping[str, Any]] = {}
        self.puts = 0
        self.hits = 0

    def memo_get(self, key: str) -> Mapping[str, Any] | None:
        self.hits += key in self.kept
        return self.kept.get(key)

    def memo_put(self, key: str, **arrays: Any) -> None:
        self.puts += 1
        self.kept[key] = arrays


class ForgetfulMemo:
    """A memo that keeps nothing, as a memo may."""

    def memo_get(self, key: str) -> None:  # noqa: ARG002 - the name is part of the contract
        return None

    def memo_put(self, key: str, **arrays: Any) -> None:
        """Forget at once."""


class PotentialContract:
    """Inherit, write ``engine`` and ``make_potential``, and the suite runs::

        class TestMine(PotentialContract):
            engine = "mine"

            def make_potential(self) -> Potential:
                return Mine(Mine.Settings(members=4))

    The potential learns the model system of :func:`model_label`; keep it small, it is trained a
    few times. Tolerances may be widened, with the reason beside them; a capability that is opted
    out of by its flag is not tested.
    """

    engine: ClassVar[str]
    """The name under which the potential is registered."""

    has_stress: ClassVar[bool] = True
    is_deterministic: ClassVar[bool] = True
    """False where training itself is random (stochastic gradients without a fixed seed)."""

    goes_on_from_previous: ClassVar[bool] = False
    """True where training starts at the last committee, so that its history matters."""

    n_examples: ClassVar[int] = 40
    energy_error: ClassVar[float] = 5e-3
    """Root mean square error on new frames in eV/atom; their energies spread by 0.04."""
    force_error: ClassVar[float] = 0.05
    """Root mean square error on new frames in eV/Å; their forces have 0.6."""
    stress_error: ClassVar[float] = 2e-3
    """Root mean square error on new frames in eV/Å3; their stresses have 0.03."""
    energy_tolerance: ClassVar[float] = 1e-8
    """In eV per atom, for what must be the same."""
    force_tolerance: ClassVar[float] = 1e-6
    """In eV/Å, also for forces against differences of the energy."""
    stress_tolerance: ClassVar[float] = 1e-6
    """In eV/Å3."""
    scratch_tolerance: ClassVar[float] = 1e-8
    """Retrained against trained from scratch: eV/atom and eV/Å."""

    def make_potential(self) -> Potential:
        raise NotImplementedError("return the potential under test")

    @pytest.fixture
    def trained(self) -> Trained:
        if type(self) not in _once:
            _once[type(self)] = self._train(model_examples(self.n_examples))
        return _once[type(self)]

    @pytest.fixture
    def committee(self, trained: Trained) -> Committee:
        return trained.committee

    @pytest.fixture
    def frame(self) -> Frame:
        return model_frames(1, seed=11)[0]

    def _train(
        self,
        examples: Sequence[Example],
        memo: Memo | None = None,
        previous: Previous | None = None,
    ) -> Trained:
        return self.make_potential().train(MODEL_SPECIES, examples, memo or DictMemo(), previous)

    def test_it_is_installed(self) -> None:
        self.make_potential().check_installed()

    def test_settings_refuse_an_unknown_key(self) -> None:
        with pytest.raises(ValidationError, match="no_such_option"):
            self._settings()(no_such_option=1)

    def test_every_setting_is_documented(self) -> None:
        fields = self._settings().model_fields
        assert [name for name, field in fields.items() if not field.description] == []

    def _settings(self) -> type[BaseModel]:
        potential: Any = self.make_potential()
        settings: type[BaseModel] = potential.Settings
        return settings

    def test_the_options_of_a_brief_training_are_options(self) -> None:
        potential: Any = self.make_potential()
        assert set(potential.BRIEF) <= set(self._settings().model_fields)
        assert isinstance(potential.NOTICE, str)

    def test_it_learns_the_model_system(self, committee: Committee) -> None:
        frames = model_frames(10, seed=99)
        pairs = [(committee.predict(f, stress=self.has_stress), model_label(f)) for f in frames]
        assert _rms([p.energy.mean() - t.energy for p, t in pairs]) / 8 < self.energy_error
        assert _rms([p.forces.mean(axis=0) - t.forces for p, t in pairs]) < self.force_error
        if self.has_stress:
            stresses = [_stress(p).mean(axis=0) - _truth(t) for p, t in pairs]
            assert _rms(stresses) < self.stress_error

    def test_held_out_errors_tell_those_of_new_frames_within_a_factor_of_five(
        self, trained: Trained
    ) -> None:
        frames = model_frames(20, seed=98)
        pairs = [(trained.committee.predict(f), model_label(f)) for f in frames]
        energy = _rms([(p.energy - t.energy) / 8 for p, t in pairs])
        force = _rms([p.forces - t.forces for p, t in pairs])
        assert energy / 5 < trained.held_out["energy"] < 5 * energy
        assert force / 5 < trained.held_out["force"] < 5 * force
        assert ("stress" in trained.held_out) == self.has_stress

    def test_labels_without_stress_are_enough(self) -> None:
        examples = [
            replace(e, key=f"{e.key} without stress", label=replace(e.label, stress=None))
            for e in model_examples(self.n_examples)
        ]
        trained = self._train(examples)
        assert "stress" not in trained.held_out
        assert trained.held_out["force"] < self.force_error

    def test_a_prediction_is_finite_and_has_the_shapes_of_the_contract(
        self, committee: Committee, frame: Frame
    ) -> None:
        got = committee.predict(frame, stress=self.has_stress)
        n = committee.size
        assert n >= 2
        assert got.energy.shape == (n,)
        assert got.forces.shape == (n, len(frame), 3)
        assert got.descriptor.ndim == 1
        arrays = [got.energy, got.forces, got.descriptor]
        if self.has_stress:
            assert _stress(got).shape == (n, 6)
            arrays.append(_stress(got))
        assert all(np.isfinite(array).all() for array in arrays)
        assert committee.predict(frame).stress is None

    def test_members_differ(self, committee: Committee, frame: Frame) -> None:
        got = committee.predict(frame)
        assert np.std(got.energy) > 0
        assert (np.std(got.forces, axis=0) > 0).any()

    def test_species_are_those_it_was_trained_for(self, committee: Committee) -> None:
        assert committee.species == MODEL_SPECIES

    def test_every_example_has_the_descriptor_of_its_prediction(self, trained: Trained) -> None:
        examples = model_examples(self.n_examples)
        assert len(trained.descriptors) == self.n_examples
        for k in (0, self.n_examples - 1):
            again = trained.committee.predict(examples[k].frame).descriptor
            np.testing.assert_allclose(trained.descriptors[k], again, rtol=1e-10, atol=1e-12)

    def test_the_order_of_the_atoms_does_not_matter(
        self, committee: Committee, frame: Frame
    ) -> None:
        order = np.random.default_rng(1).permutation(len(frame))
        shuffled = replace(frame, numbers=frame.numbers[order], positions=frame.positions[order])
        expected = committee.predict(frame, stress=self.has_stress)
        got = committee.predict(shuffled, stress=self.has_stress)
        self._check_same(got, replace(expected, forces=expected.forces[:, order]), len(frame))

    def test_moving_the_crystal_or_an_atom_by_a_lattice_vector_changes_nothing(
        self, committee: Committee, frame: Frame
    ) -> None:
        positions = frame.positions + np.array([0.37, -1.91, 5.3])
        positions[0] += frame.cell[1] - 2 * frame.cell[2]
        expected = committee.predict(frame, stress=self.has_stress)
        got = committee.predict(replace(frame, positions=positions), stress=self.has_stress)
        self._check_same(got, expected, len(frame))

    def test_forces_and_stress_turn_with_the_crystal(
        self, committee: Committee, frame: Frame
    ) -> None:
        turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
        turned = replace(frame, positions=frame.positions @ turn, cell=frame.cell @ turn)
        expected = committee.predict(frame, stress=self.has_stress)
        stress = None
        if self.has_stress:
            stress = _voigt(turn.T @ _matrices(_stress(expected)) @ turn)
        self._check_same(
            committee.predict(turned, stress=self.has_stress),
            replace(expected, forces=expected.forces @ turn, stress=stress),
            len(frame),
        )

    def test_two_cells_have_twice_the_energy_of_one(
        self, committee: Committee, frame: Frame
    ) -> None:
        doubled = Frame(
            numbers=np.tile(frame.numbers, 2),
            positions=np.concatenate([frame.positions, frame.positions + frame.cell[0]]),
            cell=frame.cell * np.array([[2], [1], [1]]),
        )
        expected = committee.predict(frame, stress=self.has_stress)
        self._check_same(
            committee.predict(doubled, stress=self.has_stress),
            replace(
                expected,
                energy=2 * expected.energy,
                forces=np.tile(expected.forces, (1, 2, 1)),
            ),
            len(doubled),
        )

    @pytest.mark.parametrize("seed", [1, 2])
    def test_forces_of_every_member_are_minus_the_gradient_of_its_energy(
        self, committee: Committee, frame: Frame, seed: int
    ) -> None:
        direction = np.random.default_rng(seed).normal(size=(len(frame), 3))
        direction /= np.linalg.norm(direction)
        slope = _slope(
            committee,
            lambda step: replace(frame, positions=frame.positions + step * direction),
            1e-3,
        )
        expected = -(committee.predict(frame).forces * direction).sum(axis=(1, 2))
        np.testing.assert_allclose(slope, expected, rtol=0, atol=10 * self.force_tolerance)

    @pytest.mark.parametrize("seed", [1, 2])
    def test_stress_of_every_member_is_the_strain_derivative_of_its_energy(
        self, committee: Committee, frame: Frame, seed: int
    ) -> None:
        if not self.has_stress:
            pytest.skip("the potential gives no stress (has_stress = False)")
        strain = np.random.default_rng(seed).normal(size=(3, 3))
        strain = (strain + strain.T) / np.linalg.norm(strain + strain.T)
        slope = _slope(committee, lambda step: _strained(frame, np.eye(3) + step * strain), 1e-4)
        predicted = _matrices(_stress(committee.predict(frame, stress=True)))
        expected = (predicted * strain).sum(axis=(1, 2))
        np.testing.assert_allclose(
            slope / frame.volume, expected, rtol=0, atol=10 * self.stress_tolerance
        )

    def test_a_committee_survives_storage(
        self, committee: Committee, frame: Frame, tmp_path: Path
    ) -> None:
        arrays: dict[str, Any] = dict(committee.to_arrays())
        np.savez(tmp_path / "committee.npz", **arrays)
        meta = json.loads(json.dumps(dict(committee.to_json())))
        with np.load(tmp_path / "committee.npz") as stored:
            again = self.make_potential().load(meta, dict(stored))
        expected = committee.predict(frame, stress=self.has_stress)
        got = again.predict(frame, stress=self.has_stress)
        np.testing.assert_array_equal(got.energy, expected.energy)
        np.testing.assert_array_equal(got.forces, expected.forces)
        assert again.species == committee.species

    def test_the_same_training_gives_the_same_committee(self, trained: Trained) -> None:
        if not self.is_deterministic:
            pytest.skip("training is random (is_deterministic = False)")
        again = self._train(model_examples(self.n_examples))
        for name, values in trained.committee.to_arrays().items():
            np.testing.assert_array_equal(again.committee.to_arrays()[name], values)

    def test_training_again_with_more_examples_is_training_from_scratch(self, frame: Frame) -> None:
        if self.goes_on_from_previous:
            pytest.skip("training goes on from the last committee (goes_on_from_previous = True)")
        examples = model_examples(self.n_examples)
        memo = DictMemo()
        few = self._train(examples[:-9], memo)
        more = self._train(examples, memo, _previous(few))
        # Other examples in between: nothing that the process remembers can help.
        self._train(model_examples(self.n_examples // 2, seed=5))
        scratch = self._train(examples, ForgetfulMemo(), _previous(few))
        assert more.hyperparameters == scratch.hyperparameters
        got, expected = (one.committee.predict(frame) for one in (more, scratch))
        np.testing.assert_allclose(
            got.energy / 8, expected.energy / 8, rtol=0, atol=self.scratch_tolerance
        )
        np.testing.assert_allclose(got.forces, expected.forces, rtol=0, atol=self.scratch_tolerance)

    def test_hyperparameters_are_json_and_are_accepted_back(self, trained: Trained) -> None:
        stored = json.loads(json.dumps(dict(trained.hyperparameters)))
        assert stored == trained.hyperparameters
        previous = Previous(hyperparameters=stored, committee=trained.committee)
        again = self._train(model_examples(self.n_examples), previous=previous)
        assert again.held_out["force"] < self.force_error

    def test_curves_are_json_and_have_columns_of_one_length(self, trained: Trained) -> None:
        assert trained.curves, "expected how the members learned, got nothing"
        for curve in trained.curves:
            columns = json.loads(json.dumps(dict(curve.columns), allow_nan=False))
            assert set(columns) <= CURVE_COLUMNS
            assert len({len(values) for values in columns.values()}) == 1
            assert len(columns["axis"]) > 0
            assert {"force", "held_out_force"} & set(columns)
        assert {curve.member for curve in trained.curves} <= set(range(trained.committee.size))

    def test_an_unknown_species_is_refused(self, committee: Committee, frame: Frame) -> None:
        numbers = frame.numbers.copy()
        numbers[0] = 79
        with pytest.raises(StructureError, match="Au"):
            committee.predict(replace(frame, numbers=numbers))

    def test_positions_that_are_no_numbers_are_refused(
        self, committee: Committee, frame: Frame
    ) -> None:
        positions = frame.positions.copy()
        positions[2, 1] = np.nan
        with pytest.raises(FloatingPointError, match="not finite"):
            committee.predict(replace(frame, positions=positions))

    def test_labels_that_are_no_numbers_are_refused(self) -> None:
        *sound, last = model_examples(self.n_examples)
        broken = replace(last, label=replace(last.label, energy=float("nan")))
        with pytest.raises(ValueError, match="finite"):
            self._train([*sound, broken])

    def test_a_prediction_leaves_the_frame_as_it_was_and_comes_out_the_same_again(
        self, committee: Committee, frame: Frame
    ) -> None:
        before = frame.digest
        first = committee.predict(frame, stress=self.has_stress)
        committee.predict(model_frames(1, seed=12)[0])
        again = committee.predict(frame, stress=self.has_stress)
        assert frame.digest == before
        np.testing.assert_array_equal(again.energy, first.energy)
        np.testing.assert_array_equal(again.forces, first.forces)
        np.testing.assert_array_equal(again.descriptor, first.descriptor)
        if self.has_stress:
            np.testing.assert_array_equal(_stress(again), _stress(first))

    def test_own_standard_deviations_are_positive_one_for_each_atom(
        self, committee: Committee, frame: Frame
    ) -> None:
        own = committee.predict(frame).force_s
        if own is not None:
            assert own.shape == (len(frame),)
            assert (own > 0).all()

    def test_a_member_predicts_what_it_predicts_in_the_committee(
        self, committee: Committee, frame: Frame
    ) -> None:
        every = committee.predict(frame)
        for k in range(committee.size):
            alone = committee.member(k)
            assert alone.size == 1
            got = alone.predict(frame)
            np.testing.assert_allclose(got.energy, every.energy[[k]], rtol=1e-12)
            np.testing.assert_allclose(got.forces, every.forces[[k]], rtol=0, atol=1e-9)

    def test_the_average_predicts_the_mean_of_the_members(
        self, committee: Committee, frame: Frame
    ) -> None:
        every, average = committee.predict(frame), committee.averaged().predict(frame)
        assert average.energy.shape == (1,)
        assert average.energy[0] / 8 == pytest.approx(
            every.energy.mean() / 8, abs=self.energy_tolerance
        )
        np.testing.assert_allclose(
            average.forces[0], every.forces.mean(axis=0), rtol=0, atol=self.force_tolerance
        )

    def test_lammps_runs_the_mean_of_the_members(self, committee: Committee, frame: Frame) -> None:
        expected = committee.predict(frame, stress=self.has_stress)
        with static_evaluator(frame, committee) as evaluate:
            label = evaluate(frame)
        assert label.energy / 8 == pytest.approx(
            expected.energy.mean() / 8, abs=self.energy_tolerance
        )
        np.testing.assert_allclose(
            label.forces, expected.forces.mean(axis=0), rtol=0, atol=self.force_tolerance
        )
        if self.has_stress:
            np.testing.assert_allclose(
                _truth(label), _stress(expected).mean(axis=0), rtol=0, atol=self.stress_tolerance
            )

    @pytest.mark.parametrize("ensemble", ["nvt", "npt"])
    def test_molecular_dynamics_of_the_mean_stays_a_crystal(
        self, committee: Committee, ensemble: Any
    ) -> None:
        plan = MdPlan(
            ensemble=ensemble,
            temperature_from=200.0,
            temperature_to=200.0,
            steps=200,
            sample_every=20,
            seed=3,
        )
        result: MdResult[Any] = run_md(model_crystal(), committee, plan, MdLimits())
        assert (result.outcome, result.detail) == ("completed", "")
        assert result.steps == 200

    def _check_same(
        self, got: CommitteePrediction, expected: CommitteePrediction, n_atoms: int
    ) -> None:
        np.testing.assert_allclose(
            got.energy, expected.energy, rtol=0, atol=self.energy_tolerance * n_atoms
        )
        np.testing.assert_allclose(got.forces, expected.forces, rtol=0, atol=self.force_tolerance)
        if self.has_stress:
            np.testing.assert_allclose(
                _stress(got), _stress(expected), rtol=0, atol=self.stress_tolerance
            )


_once: dict[type[PotentialContract], Trained] = {}
"""Trained once per contract class: most tests only look at it."""


CURVE_COLUMNS = {
    "axis",
    *(f"{part}{name}" for part in ("", "held_out_") for name in ("loss", *PROPERTIES)),
}


def _previous(trained: Trained) -> Previous:
    return Previous(hyperparameters=trained.hyperparameters, committee=trained.committee)


def _rms(values: Sequence[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(np.array(values)))))


def _stress(prediction: CommitteePrediction) -> FloatArray:
    if prediction.stress is None:
        raise AssertionError("expected a stress, got None; set has_stress = False to opt out")
    return prediction.stress


def _truth(label: Label) -> FloatArray:
    if label.stress is None:
        raise AssertionError("expected a stress, got None")
    return label.stress


def _matrices(stress: FloatArray) -> FloatArray:
    """(n, 6) in Voigt order as (n, 3, 3)."""
    return stress[:, [[0, 5, 4], [5, 1, 3], [4, 3, 2]]]


def _voigt(matrices: FloatArray) -> FloatArray:
    """(n, 3, 3) as (n, 6)."""
    return matrices[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def _strained(frame: Frame, deformation: FloatArray) -> Frame:
    return replace(frame, positions=frame.positions @ deformation, cell=frame.cell @ deformation)


def _slope(committee: Committee, frame_at: Callable[[float], Frame], step: float) -> FloatArray:
    """(n,) central difference of every member's energy."""
    plus, minus = (committee.predict(frame_at(sign * step)).energy for sign in (1, -1))
    slope: FloatArray = (plus - minus) / (2 * step)
    return slope

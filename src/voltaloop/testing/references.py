"""What every reference promises, as tests to inherit."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, Protocol, cast

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from voltaloop.core import FAILURE_REASONS, FloatArray, Frame, Label, ReferenceFailure, Rung
from voltaloop.core.contracts import Reference
from voltaloop.references import Gate, label_frame

NO_ELEMENT = 118
"""Oganesson, for which no engine has parameters."""


class Configured(Reference, Protocol):
    """A reference that keeps its settings, as every engine does, and says what they run."""

    settings: BaseModel

    def executes(self) -> list[str]:
        """What of the settings is run as code or as a command."""


class ReferenceContract:
    """Inherit, write ``engine``, ``make_reference`` and ``make_frame``, and the suite runs::

        class TestMine(ReferenceContract):
            engine = "mine"

            def make_reference(self) -> Reference:
                return Mine(Mine.Settings())

            def make_frame(self) -> Frame:
                return rattled_rocksalt()

    ``make_frame`` gives a small frame without symmetry (rattle it), so that no force is zero by
    chance. Capabilities are tested unless the class opts out by setting its flag to False;
    tolerances and steps are for double precision and may be widened, with the reason beside them.
    """

    engine: ClassVar[str]
    """The name under which the reference is registered."""

    has_stress: ClassVar[bool] = True
    has_magmoms: ClassVar[bool] = True
    is_extensive: ClassVar[bool] = True
    """False for engines at the gamma point only, whose energy depends on the supercell."""

    displacement: ClassVar[float] = 1e-3
    """Length of the finite displacement of all atoms together, in Å."""
    strain: ClassVar[float] = 1e-4
    """Size of the finite strain."""
    energy_tolerance: ClassVar[float] = 1e-6
    """In eV per atom."""
    force_tolerance: ClassVar[float] = 1e-4
    """In eV/Å."""
    stress_tolerance: ClassVar[float] = 1e-5
    """In eV/Å3."""
    magmom_tolerance: ClassVar[float] = 1e-3
    """In μB."""
    ladder_energy_tolerance: ClassVar[float] = 1e-4
    """In eV per atom, between the label of the first try and those of the ladder."""
    ladder_force_tolerance: ClassVar[float] = 1e-3
    """The same for forces, in eV/Å."""
    ladder_keeps_the_answer: ClassVar[bool] = True
    """False for engines whose frame has several solutions, between which rungs choose."""

    def make_reference(self) -> Reference:
        raise NotImplementedError("return the reference under test")

    def make_frame(self) -> Frame:
        raise NotImplementedError("return a small rattled frame the reference can label")

    @pytest.fixture
    def reference(self) -> Reference:
        return self.make_reference()

    @pytest.fixture
    def frame(self) -> Frame:
        return self.make_frame()

    def test_it_is_a_reference_and_is_installed(self, reference: Reference) -> None:
        assert isinstance(reference, Reference)
        reference.check_installed()

    def test_settings_refuse_an_unknown_key(self, reference: Reference) -> None:
        with pytest.raises(ValidationError, match="no_such_option"):
            reference.Settings(no_such_option=1)

    def test_every_setting_is_documented(self, reference: Reference) -> None:
        settings: type[BaseModel] = reference.Settings
        silent = [name for name, field in settings.model_fields.items() if not field.description]
        assert silent == []

    def test_it_survives_a_process_border(self, reference: Reference) -> None:
        assert pickle.loads(pickle.dumps(reference)) == reference  # noqa: S301 - our own bytes

    def test_it_says_in_plain_words_what_its_settings_run(self, reference: Reference) -> None:
        told = _configured(reference).executes()
        assert isinstance(told, list)
        assert all(isinstance(line, str) and line.strip() for line in told)

    def test_the_ladder_has_settings_the_engine_takes(self, reference: Reference) -> None:
        for rung in reference.LADDER:
            climbed = _climbed(reference, rung)
            assert climbed != reference or not rung.options

    def test_the_ladder_says_in_words_what_helps_against_which_failure(
        self, reference: Reference
    ) -> None:
        names = [rung.name for rung in reference.LADDER]
        assert len(set(names)) == len(names)
        for rung in reference.LADDER:
            assert len(rung.name.split()) > 1
            assert rung.reasons
            assert set(rung.reasons) <= set(FAILURE_REASONS)

    def test_every_rung_of_the_ladder_gives_the_same_label(
        self, reference: Reference, frame: Frame
    ) -> None:
        if not self.ladder_keeps_the_answer:
            pytest.skip("rungs choose between solutions (ladder_keeps_the_answer = False)")
        expected = reference.label(frame)
        for rung in reference.LADDER:
            got = _climbed(reference, rung).label(frame)
            assert got.energy == pytest.approx(
                expected.energy, abs=self.ladder_energy_tolerance * len(frame)
            ), rung.name
            np.testing.assert_allclose(
                got.forces,
                expected.forces,
                rtol=0,
                atol=self.ladder_force_tolerance,
                err_msg=rung.name,
            )

    def test_a_frame_it_cannot_do_is_a_failure_with_a_known_reason(
        self, reference: Reference, frame: Frame
    ) -> None:
        unknown = replace(frame, numbers=np.full(len(frame), NO_ELEMENT))
        with pytest.raises(ReferenceFailure) as caught:
            label_frame(reference, unknown, Gate())
        assert caught.value.reason in FAILURE_REASONS
        assert caught.value.detail
        assert all(isinstance(text, str) for text in caught.value.files.values())
        copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
        assert (copy.args, copy.files) == (caught.value.args, caught.value.files)

    def test_a_label_is_finite_and_has_the_shapes_of_the_contract(
        self, reference: Reference, frame: Frame
    ) -> None:
        label = reference.label(frame)
        assert label.converged
        assert np.isfinite(label.energy)
        assert label.forces.shape == (len(frame), 3)
        assert np.isfinite(label.forces).all()
        assert (label.stress is not None) == self.has_stress
        assert label.stress is None or np.isfinite(label.stress).all()
        assert (label.magmoms is not None) == self.has_magmoms
        assert label.magmoms is None or np.isfinite(label.magmoms).all()

    def test_a_label_survives_json(self, reference: Reference, frame: Frame) -> None:
        label = reference.label(frame)
        assert Label.from_json(label.to_json()).to_json() == label.to_json()

    def test_a_label_does_not_depend_on_what_was_labelled_before(
        self, reference: Reference, frame: Frame
    ) -> None:
        first = reference.label(frame)
        reference.label(_displaced(frame, _direction(frame, seed=5), 0.05))
        again = reference.label(frame)
        assert again.energy == first.energy
        np.testing.assert_array_equal(again.forces, first.forces)

    @pytest.mark.parametrize("seed", [1, 2])
    def test_forces_are_minus_the_gradient_of_the_energy(
        self, reference: Reference, frame: Frame, seed: int
    ) -> None:
        direction = _direction(frame, seed)
        measured = _slope(
            reference, lambda step: _displaced(frame, direction, step), self.displacement
        )
        expected = -float((reference.label(frame).forces * direction).sum())
        assert measured == pytest.approx(expected, abs=self.force_tolerance)

    @pytest.mark.parametrize("seed", [1, 2])
    def test_stress_is_the_strain_derivative_of_the_energy(
        self, reference: Reference, frame: Frame, seed: int
    ) -> None:
        if not self.has_stress:
            pytest.skip("the engine gives no stress (has_stress = False)")
        strain = _strain(seed)
        measured = _slope(reference, lambda step: _strained(frame, strain, step), self.strain)
        expected = float((_matrix(reference.label(frame)) * strain).sum())
        assert measured / frame.volume == pytest.approx(expected, abs=self.stress_tolerance)

    def test_the_order_of_the_atoms_does_not_matter(
        self, reference: Reference, frame: Frame
    ) -> None:
        order = np.random.default_rng(1).permutation(len(frame))
        shuffled = replace(
            frame,
            numbers=frame.numbers[order],
            positions=frame.positions[order],
            magmoms=None if frame.magmoms is None else frame.magmoms[order],
        )
        label = reference.label(frame)
        self._check_same(reference.label(shuffled), label, forces=label.forces[order])

    def test_moving_the_whole_crystal_changes_nothing(
        self, reference: Reference, frame: Frame
    ) -> None:
        moved = replace(frame, positions=frame.positions + np.array([0.37, -1.91, 5.3]))
        self._check_same(reference.label(moved), reference.label(frame))

    def test_moving_an_atom_by_a_lattice_vector_changes_nothing(
        self, reference: Reference, frame: Frame
    ) -> None:
        positions = frame.positions.copy()
        positions[0] += frame.cell[1] - 2 * frame.cell[2]
        self._check_same(
            reference.label(replace(frame, positions=positions)), reference.label(frame)
        )

    def test_a_left_handed_cell_of_the_same_crystal_changes_nothing(
        self, reference: Reference, frame: Frame
    ) -> None:
        mirrored = replace(frame, cell=frame.cell[[1, 0, 2]])
        self._check_same(reference.label(mirrored), reference.label(frame))

    def test_forces_and_stress_turn_with_the_crystal(
        self, reference: Reference, frame: Frame
    ) -> None:
        turn = _rotation(seed=3)
        turned = replace(frame, positions=frame.positions @ turn, cell=frame.cell @ turn)
        label = reference.label(frame)
        self._check_same(
            reference.label(turned),
            label,
            forces=label.forces @ turn,
            stress=None if label.stress is None else turn.T @ _matrix(label) @ turn,
        )

    def test_two_cells_have_twice_the_energy_of_one(
        self, reference: Reference, frame: Frame
    ) -> None:
        if not self.is_extensive:
            pytest.skip("the energy depends on the supercell (is_extensive = False)")
        label = reference.label(frame)
        doubled = reference.label(_doubled(frame))
        assert doubled.energy / 2 == pytest.approx(
            label.energy, abs=self._total_energy_tolerance(label)
        )
        self._check_arrays(
            doubled, forces=np.tile(label.forces, (2, 1)), stress=_matrix_or_none(label)
        )

    def _check_same(
        self,
        got: Label,
        expected: Label,
        *,
        forces: FloatArray | None = None,
        stress: FloatArray | None = None,
    ) -> None:
        """Compare with ``expected``, its forces and stress replaced by the given ones."""
        assert got.energy == pytest.approx(
            expected.energy, abs=self._total_energy_tolerance(expected)
        )
        self._check_arrays(
            got,
            forces=expected.forces if forces is None else forces,
            stress=_matrix_or_none(expected) if stress is None else stress,
        )
        if got.magmoms is not None and expected.magmoms is not None and forces is None:
            np.testing.assert_allclose(
                got.magmoms, expected.magmoms, rtol=0, atol=self.magmom_tolerance
            )

    def _check_arrays(self, got: Label, *, forces: FloatArray, stress: FloatArray | None) -> None:
        np.testing.assert_allclose(got.forces, forces, rtol=0, atol=self.force_tolerance)
        if stress is not None:
            np.testing.assert_allclose(_matrix(got), stress, rtol=0, atol=self.stress_tolerance)

    def _total_energy_tolerance(self, label: Label) -> float:
        return self.energy_tolerance * len(label.forces)


def _configured(reference: Reference) -> Configured:
    return cast("Configured", reference)


def _climbed(reference: Reference, rung: Rung) -> Reference:
    """The engine with the options of a rung on top of its own."""
    given = _configured(reference).settings.model_dump(exclude_unset=True)
    engine = cast("Callable[[BaseModel], Reference]", type(reference))
    return engine(reference.Settings.model_validate(rung.applied_to(given)))


def _slope(reference: Reference, frame_at: Callable[[float], Frame], step: float) -> float:
    """Central difference of the energy."""
    energies = [reference.label(frame_at(sign * step)).energy for sign in (1, -1)]
    return (energies[0] - energies[1]) / (2 * step)


def _direction(frame: Frame, seed: int) -> FloatArray:
    """(n_atoms, 3) of length one: all atoms move, each its own way."""
    vector = np.random.default_rng(seed).normal(size=(len(frame), 3))
    return np.asarray(vector / np.linalg.norm(vector))


def _displaced(frame: Frame, direction: FloatArray, step: float) -> Frame:
    return replace(frame, positions=frame.positions + step * direction)


def _strain(seed: int) -> FloatArray:
    """(3, 3) symmetric, of length one."""
    matrix = np.random.default_rng(seed).normal(size=(3, 3))
    symmetric = matrix + matrix.T
    return np.asarray(symmetric / np.linalg.norm(symmetric))


def _strained(frame: Frame, strain: FloatArray, step: float) -> Frame:
    deformation = np.eye(3) + step * strain
    return replace(frame, positions=frame.positions @ deformation, cell=frame.cell @ deformation)


def _rotation(seed: int) -> FloatArray:
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return np.asarray(matrix * np.sign(np.linalg.det(matrix)))


def _doubled(frame: Frame) -> Frame:
    return Frame(
        numbers=np.tile(frame.numbers, 2),
        positions=np.concatenate([frame.positions, frame.positions + frame.cell[0]]),
        cell=frame.cell * np.array([[2], [1], [1]]),
        magmoms=None if frame.magmoms is None else np.tile(frame.magmoms, 2),
    )


def _matrix(label: Label) -> FloatArray:
    """The stress as (3, 3)."""
    if label.stress is None:
        raise AssertionError("expected a stress, got None; set has_stress = False to opt out")
    return label.stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]


def _matrix_or_none(label: Label) -> FloatArray | None:
    return None if label.stress is None else _matrix(label)

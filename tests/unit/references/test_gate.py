import errno
import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest
from ase.build import bulk
from ase.spacegroup import crystal

from voltaloop.core import (
    FAILURE_REASONS,
    Frame,
    Label,
    MissingDependencyError,
    ReferenceFailure,
    StorageError,
)
from voltaloop.references import Gate, check_frame, check_label, label_frame

GATE = Gate()


@pytest.fixture
def frame() -> Frame:
    return Frame.from_atoms(
        crystal(
            ["Li", "Ni", "O"],
            [(0, 0, 0.5), (0, 0, 0), (0, 0, 0.2585)],
            spacegroup=166,
            cellpar=[2.878, 2.878, 14.19, 90, 90, 120],
            primitive_cell=True,
        )
    )


@pytest.fixture
def label(frame: Frame) -> Label:
    return Label(
        energy=-23.0,
        forces=np.zeros((len(frame), 3)),
        stress=np.zeros(6),
        magmoms=np.array([0.0, 1.0, 0.1, 0.1]),
    )


@dataclass
class Scripted:
    """A reference that returns or raises what the test says."""

    outcome: object
    calls: int = 0

    def check_installed(self) -> None: ...

    def label(self, _frame: Frame) -> Label:
        self.calls += 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def refused(reason: str, match: str):
    assert reason in FAILURE_REASONS
    return pytest.raises(ReferenceFailure, match=f"^{reason}: .*{match}")


def test_a_good_label_passes_unchanged(frame, label):
    assert label_frame(Scripted(label), frame, GATE) is label


def test_a_label_without_stress_and_moments_passes(frame, label):
    check_label(frame, replace(label, stress=None, magmoms=None), GATE)


def test_an_unconverged_label_is_refused(frame, label):
    with refused("not_converged", "unconverged"):
        check_label(frame, replace(label, converged=False), GATE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("name", "shape"), [("energy", ()), ("forces", (4, 3)), ("stress", (6,)), ("magmoms", (4,))]
)
def test_a_label_that_is_not_finite_is_refused_by_the_name_of_its_part(
    frame, label, name, shape, value
):
    with refused("not_finite", name):
        check_label(frame, replace(label, **{name: np.full(shape, value)}), GATE)


def test_a_force_above_the_cap_is_refused_and_one_at_the_cap_is_not(frame, label):
    forces = np.zeros((4, 3))
    forces[2] = [18.0, 24.0, 0.0]
    check_label(frame, replace(label, forces=forces), GATE)
    with refused("force_too_large", "30 eV/Å on atom 2, allowed is up to 29.9 eV/Å"):
        check_label(frame, replace(label, forces=forces), Gate(max_force_eV_per_A=29.9))


def test_close_atoms_are_refused_before_the_engine_runs(frame, label):
    positions = frame.positions.copy()
    positions[2] = positions[1] + [0.0, 0.6, 0.0]
    reference = Scripted(label)
    with refused("atoms_too_close", "atoms 1 and 2 are 0.600 Å apart, allowed is 1 Å"):
        label_frame(reference, replace(frame, positions=positions), GATE)
    assert reference.calls == 0


def test_atoms_close_to_their_own_image_are_refused():
    thin = Frame.from_atoms(bulk("Cu", "sc", a=0.9))
    with refused("atoms_too_close", "0.900 Å apart"):
        check_frame(thin, GATE)


def test_a_cell_without_volume_is_refused(frame):
    flat = replace(frame, cell=frame.cell[[0, 0, 2]])
    with refused("atoms_too_close", "three independent lattice vectors"):
        check_frame(flat, GATE)


def test_a_frame_that_is_not_finite_is_refused(frame):
    with refused("not_finite", "positions"):
        check_frame(replace(frame, positions=np.full((4, 3), np.nan)), GATE)


def test_a_moment_no_atom_can_have_is_refused(frame, label):
    with refused("moments_insane", "-7 μB on atom 1"):
        check_label(frame, replace(label, magmoms=[0.0, -7.0, 0.0, 0.0]), GATE)


def test_the_total_moment_is_counted_per_transition_metal(frame, label):
    magmoms = [0.0, 3.0, 1.5, 1.5]
    check_label(frame, replace(label, magmoms=magmoms), Gate(max_total_moment_per_metal_muB=6.0))
    with refused("moments_insane", "total moment of 6 μB per metal atom"):
        check_label(frame, replace(label, magmoms=magmoms), GATE)


def test_opposite_moments_cancel_in_the_total(frame, label):
    check_label(
        frame,
        replace(label, magmoms=[0.0, 5.0, -5.0, 0.0]),
        Gate(max_total_moment_per_metal_muB=0.1),
    )


def test_forces_of_another_frame_are_refused(frame, label):
    with refused("engine_failed", "forces on 4 atoms, got forces on 3"):
        check_label(frame, replace(label, forces=np.zeros((3, 3)), magmoms=None), GATE)


def test_any_error_of_the_engine_becomes_a_failure_that_keeps_its_cause(frame):
    error = ZeroDivisionError("division by zero")
    with refused("engine_failed", "ZeroDivisionError: division by zero") as caught:
        label_frame(Scripted(error), frame, GATE)
    assert caught.value.__cause__ is error


def test_a_failure_the_engine_names_itself_passes_through(frame):
    failure = ReferenceFailure("not_converged", "after 200 steps")
    with pytest.raises(ReferenceFailure) as caught:
        label_frame(Scripted(failure), frame, GATE)
    assert caught.value is failure


def test_a_disk_that_is_full_is_no_failure_of_the_frame(frame):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StorageError, match="disk is full"):
        label_frame(Scripted(full), frame, GATE)
    gone = StorageError("the scratch folder is gone")
    with pytest.raises(StorageError) as caught:
        label_frame(Scripted(gone), frame, GATE)
    assert caught.value is gone


def test_want_of_memory_is_named(frame):
    with refused("out_of_memory", "MemoryError"):
        label_frame(Scripted(MemoryError()), frame, GATE)


@dataclass
class Writing(Scripted):
    """A reference that keeps what its engine wrote."""

    def label_and_files(self, frame: Frame) -> tuple[Label, dict[str, str]]:
        return self.label(frame), {"engine.txt": "iteration 1"}


def test_a_refused_label_is_kept_with_the_files_of_its_engine(frame, label):
    hot = replace(label, forces=np.full((4, 3), 40.0))
    with refused("force_too_large", "69.3 eV/Å") as caught:
        label_frame(Writing(hot), frame, GATE)
    assert caught.value.label is hot
    assert caught.value.files == {"engine.txt": "iteration 1"}
    assert label_frame(Writing(label), frame, GATE) is label


@pytest.mark.parametrize(
    "change",
    [{"converged": False}, {"magmoms": [0.0, 9.0, 0.0, 0.0]}, {"magmoms": [0.0, 4.5, 0.2, 0.2]}],
    ids=["not converged", "moment of an atom", "moment of the oxidation state"],
)
def test_a_refused_label_is_carried_by_its_failure(frame, label, change):
    bad = replace(label, **change)
    with pytest.raises(ReferenceFailure) as caught:
        check_label(frame, bad, GATE)
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
    assert copy.label.to_json() == bad.to_json()


def test_a_label_that_is_not_whole_is_not_carried(frame, label):
    for bad in (
        replace(label, energy=np.nan),
        replace(label, forces=np.zeros((3, 3)), magmoms=None),
    ):
        with pytest.raises(ReferenceFailure) as caught:
            check_label(frame, bad, GATE)
        assert caught.value.label is None


def test_a_total_moment_that_is_not_finite_is_refused(frame, label):
    with refused("not_finite", "total moment"):
        check_label(frame, replace(label, details={"total_magmom_muB": np.nan}), GATE)


def test_a_missing_package_is_no_failure_of_the_frame(frame):
    with pytest.raises(MissingDependencyError, match="pip install"):
        label_frame(Scripted(MissingDependencyError("pip install it")), frame, GATE)


def test_a_failure_survives_a_process_border():
    failure = ReferenceFailure("force_too_large", "31 eV/Å on atom 2")
    copy = pickle.loads(pickle.dumps(failure))  # noqa: S301 - our own bytes
    assert (copy.reason, copy.detail) == (failure.reason, failure.detail)
    assert str(copy) == "force_too_large: 31 eV/Å on atom 2"

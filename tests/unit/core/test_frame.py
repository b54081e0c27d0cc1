import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

from voltaloop.core import Frame, Label


def frame(**changes: Any) -> Frame:
    rng = np.random.default_rng(0)
    made = Frame(
        numbers=[3, 28, 8, 8],
        positions=rng.normal(size=(4, 3)),
        cell=np.diag([3.0, 4.0, 5.0]) + rng.normal(0.0, 0.1, (3, 3)),
        magmoms=[0.0, 1.0, -0.1, 1 / 3],
    )
    return replace(made, **changes)


def label(**changes: Any) -> Label:
    rng = np.random.default_rng(1)
    made = Label(
        energy=-25.1 / 3,
        forces=rng.normal(size=(4, 3)),
        stress=rng.normal(size=6),
        magmoms=[0.0, 1.0, -0.1, 1 / 3],
        details={"scf_steps": 12, "xc": "PBE"},
    )
    return replace(made, **changes)


@pytest.mark.parametrize("name", ["numbers", "positions", "cell", "magmoms"])
def test_a_frame_cannot_be_changed(name: str) -> None:
    made = frame()
    with pytest.raises(FrozenInstanceError):
        setattr(made, name, getattr(made, name))
    with pytest.raises(ValueError, match="read-only"):
        getattr(made, name)[0] = 0


def test_a_frame_does_not_share_the_arrays_it_was_made_of() -> None:
    positions = np.zeros((1, 3))
    made = Frame(numbers=[3], positions=positions, cell=np.eye(3))
    before = made.digest
    positions += 1.0
    assert not made.positions.any()
    assert made.digest == before


@pytest.mark.parametrize("name", ["forces", "stress", "magmoms"])
def test_a_label_cannot_be_changed(name: str) -> None:
    made = label()
    with pytest.raises(FrozenInstanceError):
        setattr(made, name, getattr(made, name))
    with pytest.raises(ValueError, match="read-only"):
        getattr(made, name)[0] = 0


def test_the_same_content_has_the_same_digest() -> None:
    assert frame().digest == frame().digest
    lists = Frame(numbers=[3], positions=[[0, 0, 1]], cell=[[2, 0, 0], [0, 2, 0], [0, 0, 2]])
    arrays = Frame(
        numbers=np.array([3], dtype=np.int8),
        positions=np.array([[0.0, 0.0, 1.0]], order="F"),
        cell=2 * np.eye(3),
    )
    assert lists.digest == arrays.digest


def test_any_other_content_has_another_digest() -> None:
    made = frame()
    others = [
        frame(positions=np.nextafter(made.positions, np.inf)),
        frame(cell=np.nextafter(made.cell, np.inf)),
        frame(numbers=made.numbers[::-1]),
        frame(magmoms=None),
        frame(magmoms=np.zeros(4)),
    ]
    assert len({made.digest, *(other.digest for other in others)}) == 6


def test_the_digest_is_the_same_in_another_process() -> None:
    code = (
        "from voltaloop.core import Frame; "
        "print(Frame(numbers=[3], positions=[[0.1, 0, 0]], cell=[[3, 0, 0], [0, 3, 0], [0, 0, 3]])"
        ".digest)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    here = Frame(numbers=[3], positions=[[0.1, 0, 0]], cell=3 * np.eye(3))
    assert done.stdout.strip() == here.digest


@pytest.mark.parametrize("magmoms", [None, [0.0, 1.0, -0.1, 1 / 3]])
def test_a_frame_survives_json_to_the_last_bit(magmoms: list[float] | None) -> None:
    made = frame(magmoms=magmoms)
    again = Frame.from_json(json.loads(json.dumps(made.to_json())))
    np.testing.assert_array_equal(again.numbers, made.numbers)
    np.testing.assert_array_equal(again.positions, made.positions)
    np.testing.assert_array_equal(again.cell, made.cell)
    assert again.to_json() == made.to_json()
    assert again.digest == made.digest


@pytest.mark.parametrize("changes", [{}, {"stress": None}, {"magmoms": None, "converged": False}])
def test_a_label_survives_json_to_the_last_bit(changes: dict[str, Any]) -> None:
    made = label(**changes)
    again = Label.from_json(json.loads(json.dumps(made.to_json())))
    assert again.to_json() == made.to_json()
    assert again.energy == made.energy
    np.testing.assert_array_equal(again.forces, made.forces)
    assert (again.stress is None) == (made.stress is None)
    assert again.converged == made.converged


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": np.zeros((3, 3))}, r"positions: expected shape \(4, 3\), got \(3, 3\)"),
        ({"cell": np.zeros(3)}, r"cell: expected shape \(3, 3\), got \(3,\)"),
        ({"magmoms": np.zeros((4, 3))}, r"magmoms: expected shape \(4,\), got \(4, 3\)"),
    ],
)
def test_a_frame_of_arrays_that_do_not_fit_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        frame(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"forces": np.zeros(12)}, r"forces: expected shape \(12, 3\), got \(12,\)"),
        ({"stress": np.zeros((3, 3))}, r"stress: expected shape \(6,\), got \(3, 3\)"),
        ({"magmoms": np.zeros(3)}, r"magmoms: expected shape \(4,\), got \(3,\)"),
    ],
)
def test_a_label_of_arrays_that_do_not_fit_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        label(**changes)


def test_a_frame_knows_its_size_volume_and_lithium() -> None:
    made = Frame(numbers=[3, 3, 8], positions=np.zeros((3, 3)), cell=np.diag([2.0, 3.0, -4.0]))
    assert (len(made), made.volume, made.n_lithium) == (3, pytest.approx(24.0), 2)


def test_a_frame_goes_to_ase_and_back_unchanged() -> None:
    made = frame()
    assert Frame.from_atoms(made.to_atoms()).digest == made.digest
    assert made.to_atoms().pbc.all()


def test_atoms_without_moments_give_a_frame_without_moments() -> None:
    atoms = bulk("Cu")
    assert Frame.from_atoms(atoms).magmoms is None
    atoms.set_initial_magnetic_moments([0.5])
    assert Frame.from_atoms(atoms).magmoms is not None

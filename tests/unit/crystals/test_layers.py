import numpy as np
import pytest
from ase.spacegroup import crystal

from voltaloop.core import Frame
from voltaloop.crystals import layer_normal, load_structure, starting_frames, supercell


def test_a_layered_oxide_has_its_normal_along_c_in_any_orientation() -> None:
    frame = supercell(load_structure("LiNiO2"), (2, 2, 1))
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    turned = Frame(
        numbers=frame.numbers,
        positions=frame.positions @ rotation,
        cell=frame.cell @ rotation,
    )
    for each, across in ((frame, np.array([0.0, 0.0, 1.0])), (turned, rotation[2])):
        normal = layer_normal(each)
        assert normal is not None
        assert abs(normal @ across) == pytest.approx(1.0)


def test_rock_salt_and_hosts_without_metal_have_no_layers() -> None:
    salt = crystal(
        ["Ni", "O"], [(0, 0, 0), (0.5, 0.5, 0.5)], spacegroup=225, cellpar=[4.18] * 3 + [90] * 3
    )
    assert layer_normal(Frame.from_atoms(salt)) is None
    sulphur = Frame(numbers=[3, 16], positions=[[0, 0, 0], [2.5, 0, 0]], cell=5.0 * np.eye(3))
    assert layer_normal(sulphur) is None


def test_the_normal_survives_heat_and_delithiation() -> None:
    full = supercell(load_structure("LiMnO2"), (3, 3, 2))
    kept = full.numbers != 3
    empty = Frame(numbers=full.numbers[kept], positions=full.positions[kept], cell=full.cell)
    for frame in starting_frames(empty, count=10, rattle=0.1, strain=0.02, seed=0):
        normal = layer_normal(frame)
        assert normal is not None
        assert abs(normal[2]) > 0.98

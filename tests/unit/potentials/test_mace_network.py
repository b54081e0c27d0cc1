"""MACE networks as arrays and what they say of frames; untrained ones, in double precision."""

import json
import os
import warnings
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from voltaloop.core import Frame
from voltaloop.potentials.mace import MaceCommittee
from voltaloop.potentials.mace.network import (
    CONFIG,
    evaluator,
    load_package,
    to_model,
    to_network,
)
from voltaloop.testing.potentials import MODEL_SPECIES, model_frames

pytestmark = pytest.mark.skipif(find_spec("mace") is None, reason="mace is not installed")

ARCHITECTURE = {
    "r_max": 3.5,
    "num_bessel": 4,
    "num_polynomial_cutoff": 5,
    "max_ell": 1,
    "num_interactions": 2,
    "num_elements": 3,
    "atomic_energies": [-2.0, -5.0, -3.5],
    "avg_num_neighbors": 12.0,
    "atomic_numbers": [3, 8, 28],
    "correlation": 2,
    "atomic_inter_scale": 1.5,
    "atomic_inter_shift": 0.0,
}


def new_network(seed: int):
    torch, modules = load_package("torch"), load_package("mace.modules")
    irreps = load_package("e3nn.o3").Irreps
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            return modules.ScaleShiftMACE(
                **ARCHITECTURE,
                hidden_irreps=irreps("4x0e+4x1o"),
                MLP_irreps=irreps("4x0e"),
                gate=torch.nn.functional.silu,
                interaction_cls=modules.RealAgnosticResidualInteractionBlock,
                interaction_cls_first=modules.RealAgnosticInteractionBlock,
            )
    finally:
        torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def network():
    return new_network(1)


@pytest.fixture(scope="module")
def model(network):
    return to_model(network)


@pytest.fixture
def frame() -> Frame:
    return model_frames(1, seed=3)[0]


def test_a_network_survives_as_arrays_to_the_last_bit(network, model, frame, tmp_path) -> None:
    np.savez(tmp_path / "model.npz", **model)
    with np.load(tmp_path / "model.npz", allow_pickle=False) as stored:
        again = to_network(dict(stored), "cpu")
    expected, got = (evaluator(one, "cpu")(frame) for one in (network, again))
    assert got.energy == expected.energy
    np.testing.assert_array_equal(got.forces, expected.forces)
    np.testing.assert_array_equal(got.stress, expected.stress)
    assert {k: v.tobytes() for k, v in to_model(again).items()} == {
        k: v.tobytes() for k, v in model.items()
    }


def test_the_architecture_is_kept_as_names_and_numbers(model) -> None:
    config = json.loads(model[CONFIG].tobytes())
    assert config["hidden_irreps"] == "4x0e+4x1o"
    assert config["gate"] == "silu"
    assert config["interaction_cls_first"] == "RealAgnosticInteractionBlock"
    assert config["atomic_numbers"] == [3, 8, 28]


def test_energies_are_total_energies_and_forces_their_slope(network, frame) -> None:
    evaluate = evaluator(network, "cpu")
    label = evaluate(frame)
    energies = dict(zip((3, 8, 28), ARCHITECTURE["atomic_energies"], strict=True))
    assert label.energy == pytest.approx(sum(energies[int(z)] for z in frame.numbers), abs=20)
    step = np.zeros((len(frame), 3))
    step[2, 1] = 1e-4
    high, low = (
        evaluate(replace(frame, positions=frame.positions + sign * step)).energy for sign in (1, -1)
    )
    assert label.forces[2, 1] == pytest.approx((low - high) / 2e-4, abs=1e-6)


def test_stress_is_the_slope_under_strain(network, frame) -> None:
    evaluate = evaluator(network, "cpu")
    shear = np.zeros((3, 3))
    shear[0, 1] = shear[1, 0] = 1e-5

    def strained(sign: int) -> float:
        deformation = np.eye(3) + sign * shear
        moved = replace(
            frame, positions=frame.positions @ deformation, cell=frame.cell @ deformation
        )
        return evaluate(moved).energy

    slope = (strained(1) - strained(-1)) / 4e-5 / frame.volume
    assert evaluate(frame).stress[5] == pytest.approx(slope, abs=1e-7)


def test_an_atom_far_from_all_others_has_no_forces(network) -> None:
    lonely = Frame(numbers=[28], positions=np.zeros((1, 3)), cell=20.0 * np.eye(3))
    label = evaluator(network, "cpu")(lonely)
    assert np.isfinite(label.energy)
    np.testing.assert_array_equal(label.forces, np.zeros((1, 3)))
    np.testing.assert_array_equal(label.stress, np.zeros(6))


def test_a_committee_is_opened_from_arrays(network, model, frame) -> None:
    committee = MaceCommittee(
        species=MODEL_SPECIES, models=(model, to_model(new_network(2))), meta={}, device="cpu"
    )
    found = committee.predict(frame, stress=True)
    assert found.energy[0] == evaluator(network, "cpu")(frame).energy
    assert found.energy[1] != found.energy[0]
    assert found.stress.shape == (2, 6)


def test_networks_of_other_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected a network of the kind ScaleShiftMACE"):
        to_model(load_package("torch").nn.Linear(2, 2))


def test_using_mace_lets_torch_refuse_pickles_as_before_and_keeps_its_precision(model) -> None:
    load_package("mace.calculators.mace")
    to_network(model, "cpu")
    assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in os.environ
    assert str(load_package("torch").get_default_dtype()) == "torch.float32"

"""Fine-tuning CHGNet: its loss, what it learns from, storage. Trainings are of a few steps."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from voltaloop.core import EV_PER_A3_IN_GPA, Frame, MissingDependencyError
from voltaloop.core.chgnet import load_network, network_label
from voltaloop.core.training import Example, Previous, Trained
from voltaloop.potentials import POTENTIALS
from voltaloop.potentials.chgnet import ChgnetCommittee, ChgnetPotential, ChgnetSettings
from voltaloop.potentials.chgnet.committee import to_model, to_network
from voltaloop.potentials.chgnet.training import Loss, lessons_of, move_energies, train_member
from voltaloop.testing.potentials import MODEL_SPECIES, DictMemo, model_frames

torch = pytest.importorskip("torch")
pytest.importorskip("chgnet")

BRIEF = ChgnetSettings(members=2, epochs=1, retrain_epochs=1, batch_size=2, device="cpu")


@pytest.fixture(scope="module")
def network():
    return load_network("0.3.0")


@pytest.fixture(scope="module")
def examples(network) -> list[Example]:
    """Labels of the network itself with another zero of energy for lithium and oxygen."""
    network = network.eval()
    return [
        Example(key=str(i), frame=frame, label=shifted(network_label(network, frame), frame))
        for i, frame in enumerate(model_frames(4, seed=6))
    ]


def shifted(label, frame: Frame):
    more = 2.0 * (frame.numbers == 3).sum() - 1.0 * (frame.numbers == 8).sum()
    return replace(label, energy=label.energy + more)


def test_it_is_registered_and_its_options_name_no_code() -> None:
    assert POTENTIALS.load("chgnet") is ChgnetPotential
    assert ChgnetPotential(ChgnetSettings()).executes() == []


@pytest.mark.parametrize("package", ["torch", "chgnet"])
def test_a_missing_package_is_told_with_its_pip_line(monkeypatch, package) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"'{package}'.*voltaloop\[chgnet\]"):
        ChgnetPotential(ChgnetSettings()).check_installed()


def test_the_loss_is_of_what_is_known_and_in_our_units() -> None:
    loss = Loss({"e": 10.0, "f": 1.0, "s": 100.0})
    nothing = torch.full((3, 3), float("nan"))
    said = loss(
        {
            "e": torch.tensor([1.0, 2.0]),
            "f": [torch.zeros(2, 3), torch.ones(1, 3)],
            "s": [torch.zeros(3, 3), nothing],
        },
        {
            "e": torch.tensor([1.1, 2.1]),
            "f": [torch.full((2, 3), 0.3), torch.ones(1, 3)],
            "s": [torch.full((3, 3), EV_PER_A3_IN_GPA * 0.02), torch.ones(3, 3)],
        },
    )
    squares = {"e": 0.01, "f": 0.09 * 6 / 9, "s": 0.0004}
    assert float(said["loss"]) == pytest.approx(0.1 + squares["f"] + 0.04, rel=1e-4)
    for key, square in squares.items():
        assert float(said[f"{key}_MAE"]) == pytest.approx(square * 1e6, rel=1e-4)
    assert [said[f"{key}_MAE_size"] for key in "efs"] == [2, 9, 9]


def test_a_batch_without_any_stress_has_a_loss() -> None:
    nothing = [torch.full((3, 3), float("nan"))]
    said = Loss({"s": 1.0})({"s": nothing}, {"s": [torch.ones(3, 3)]})
    assert (float(said["loss"]), said["s_MAE_size"]) == (0.0, 0)


def test_energies_move_to_the_zero_of_the_labels(network, examples) -> None:
    moved = to_network(to_model(network), network.model_args).eval()
    move_energies(moved, examples, lessons_of(moved, examples), MODEL_SPECIES)
    for example in examples:
        assert network_label(moved, example.frame).energy == pytest.approx(
            example.label.energy, abs=2e-3
        )


def test_what_is_frozen_keeps_its_weights(network, examples) -> None:
    start = to_model(network)
    lessons = lessons_of(network, examples)
    settings = BRIEF.model_copy(update={"freeze": "all_but_last"})
    after, _ = train_member(start, network.model_args, settings, lessons, [], 0, 1)
    changed = {name.split(".")[0] for name in start if not np.array_equal(start[name], after[name])}
    assert changed == {"atom_conv_layers", "readout_norm", "mlp"}
    assert not any(
        name.startswith("atom_conv_layers.0") and not np.array_equal(start[name], after[name])
        for name in start
    )


def test_moments_are_learned_where_they_are_asked_for(network, examples) -> None:
    lessons = lessons_of(network, examples)
    settings = BRIEF.model_copy(update={"moment_weight": 1.0, "freeze": "nothing"})
    start = to_model(network)
    after, curve = train_member(start, network.model_args, settings, lessons, [], 0, 1)
    assert not np.array_equal(start["site_wise.weight"], after["site_wise.weight"])
    assert set(curve.columns) == {"axis", "loss", "energy", "force", "stress"}


@pytest.fixture(scope="module")
def trained(examples) -> Trained:
    return ChgnetPotential(BRIEF).train(MODEL_SPECIES, examples, DictMemo())


def test_training_starts_near_labels_of_the_network_itself(trained) -> None:
    (first, second) = trained.curves
    assert first.columns["axis"] == [1]
    for curve in (first, second):
        assert curve.columns["held_out_force"][0] < 0.2
        assert curve.columns["held_out_stress"][0] < 0.02


def test_training_goes_on_from_the_last_networks(trained, examples) -> None:
    settings = BRIEF.model_copy(update={"learning_rate": 1e-9})
    previous = Previous(hyperparameters={}, committee=trained.committee)
    again = ChgnetPotential(settings).train(MODEL_SPECIES, examples, DictMemo(), previous)
    for name, values in trained.committee.to_arrays().items():
        np.testing.assert_allclose(again.committee.to_arrays()[name], values, atol=1e-6)


def test_other_shipped_weights_are_no_start(trained) -> None:
    potential = ChgnetPotential(BRIEF.model_copy(update={"model": "r2scan"}))
    previous = Previous(hyperparameters={}, committee=trained.committee)
    assert potential._last_models(MODEL_SPECIES, previous) is None


def test_training_prints_nothing_and_keeps_the_random_numbers_of_others(
    examples, capfd, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    settings = ChgnetSettings(members=1, epochs=1, device="cpu")
    ChgnetPotential(settings).train(MODEL_SPECIES, examples[:1], DictMemo())
    assert torch.rand(1) == expected
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_frame_with_an_atom_without_neighbours_is_not_learned_from(examples) -> None:
    lonely = Frame(numbers=[3], positions=np.zeros((1, 3)), cell=9.0 * np.eye(3))
    label = replace(examples[0].label, forces=np.zeros((1, 3)), magmoms=None)
    with pytest.raises(ValueError, match="isolated atom"):
        ChgnetPotential(BRIEF).train(
            MODEL_SPECIES, [*examples, Example(key="x", frame=lonely, label=label)], DictMemo()
        )


def test_a_committee_answers_for_atoms_that_molecular_dynamics_has_lost(trained) -> None:
    lonely = Frame(numbers=[3], positions=np.zeros((1, 3)), cell=9.0 * np.eye(3))
    committee = trained.committee
    assert isinstance(committee, ChgnetCommittee)
    np.testing.assert_array_equal(committee.mean_label(lonely).forces, np.zeros((1, 3)))

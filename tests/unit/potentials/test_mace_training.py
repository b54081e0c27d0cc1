"""What mace's training program is given and how its log is read; it does not run here."""

import json
from ast import literal_eval
from dataclasses import replace

import numpy as np
import pytest
from ase.io import read
from pydantic import ValidationError

from voltaloop.core import CampaignFileError
from voltaloop.core.contracts import Committee
from voltaloop.core.training import Previous
from voltaloop.potentials import POTENTIALS
from voltaloop.potentials.mace import Mace, MaceCommittee, MaceError, MaceSettings, training
from voltaloop.potentials.mace.training import options, prepare, read_curve
from voltaloop.testing.potentials import MODEL_SPECIES, DictMemo, model_examples

SETTINGS = MaceSettings(members=2, device="cpu")


def given(tmp_path, settings=SETTINGS, *, goes_on=False, examples=None):
    examples = model_examples(8) if examples is None else examples
    return options(tmp_path, settings, MODEL_SPECIES, examples, 1, goes_on=goes_on)


def test_it_is_registered() -> None:
    assert POTENTIALS.load("mace") is Mace


def test_options_go_to_the_program_by_its_own_names(tmp_path) -> None:
    settings = MaceSettings(
        device="cpu", channels=16, max_L=0, force_weight=7.0, seed=5, extra={"gate": "tanh"}
    )
    found = given(tmp_path, settings)
    assert (found["num_channels"], found["max_L"], found["forces_weight"]) == (16, 0, 7.0)
    assert (found["seed"], found["gate"], found["default_dtype"]) == (6, "tanh", "float32")
    assert found["atomic_numbers"] == "[3, 8, 28]"


def test_a_batch_is_never_larger_than_the_set_as_the_program_would_then_learn_nothing(
    tmp_path,
) -> None:
    settings = MaceSettings(device="cpu", batch_size=5)
    assert given(tmp_path, settings, examples=model_examples(3))["batch_size"] == 3


def test_without_stresses_they_are_not_in_the_loss(tmp_path) -> None:
    examples = [replaced(e, stress=None) for e in model_examples(4)]
    assert given(tmp_path)["loss"] == "stress"
    assert given(tmp_path, examples=examples)["loss"] == "weighted"


def replaced(example, **changes):
    return replace(example, label=replace(example.label, **changes))


def test_the_learning_rate_falls_to_the_last_one_before_stage_two(tmp_path) -> None:
    settings = MaceSettings(
        device="cpu", epochs=40, learning_rate=0.01, last_learning_rate=0.001, stage_two_from=0.75
    )
    found = given(tmp_path, settings)
    assert found["start_swa"] == 30
    assert found["lr"] * found["lr_scheduler_gamma"] ** 30 == pytest.approx(0.001)
    assert found["swa_lr"] == 0.001


def test_one_pass_has_no_second_stage(tmp_path) -> None:
    found = given(tmp_path, MaceSettings(device="cpu", epochs=1))
    assert "swa" not in found
    assert found["max_num_epochs"] == 1


def test_single_atoms_have_what_the_compositions_explain(tmp_path) -> None:
    energies = {3: -2.0, 8: -5.0, 28: -3.5}
    examples = [
        replaced(e, energy=sum(energies[int(z)] for z in e.frame.numbers))
        for e in model_examples(8)
    ]
    found = given(tmp_path, examples=examples)
    explained = literal_eval(found["E0s"])
    for example in examples:
        total = sum(explained[int(z)] for z in example.frame.numbers)
        assert total == pytest.approx(example.label.energy)


def test_it_goes_on_from_the_last_network_gently_and_with_its_energies_of_atoms(tmp_path) -> None:
    found = given(tmp_path, goes_on=True)
    assert found["foundation_model"] == str(tmp_path / "previous.model")
    assert (found["E0s"], found["multiheads_finetuning"]) == ("foundation", False)
    assert found["max_num_epochs"] == SETTINGS.retrain_epochs
    assert found["lr"] == SETTINGS.retrain_learning_rate


def test_a_foundation_keeps_its_atoms_up_to_what_it_misses(tmp_path) -> None:
    settings = MaceSettings(device="cpu", foundation="/models/some.model")
    found = given(tmp_path, settings)
    assert (found["foundation_model"], found["E0s"]) == ("/models/some.model", "estimated")
    assert found["lr"] == settings.retrain_learning_rate
    assert found["max_num_epochs"] == settings.epochs


def test_frames_are_written_as_the_program_reads_them(tmp_path) -> None:
    first, second = model_examples(2)
    examples = [first, replaced(second, stress=None)]
    prepare(tmp_path / "m", SETTINGS, MODEL_SPECIES, examples, examples[:1], 0, None)
    one, other = read(tmp_path / "m" / "learned.xyz", ":")
    assert one.info["REF_energy"] == first.label.energy
    np.testing.assert_allclose(one.arrays["REF_forces"], first.label.forces, atol=1e-7)
    np.testing.assert_allclose(one.info["REF_stress"][[0, 4, 8, 5, 2, 1]], first.label.stress)
    assert one.pbc.all()
    assert "REF_stress" not in other.info
    assert len(read(tmp_path / "m" / "held_out.xyz", ":")) == 1


LOG = [
    {"loss": 9.0, "mode": "eval", "epoch": None, "rmse_f": 1.0},
    {"loss": 4.0, "mode": "opt", "epoch": 0},
    {"loss": 2.0, "mode": "opt", "epoch": 0},
    {
        "loss": 0.5,
        "mode": "eval",
        "epoch": 0,
        "rmse_e_per_atom": 0.02,
        "rmse_f": 0.3,
        "rmse_stress": 0.004,
    },
    {"loss": 1.0, "mode": "opt", "epoch": 1},
    {"loss": float("nan"), "mode": "eval", "epoch": 1, "rmse_e_per_atom": 0.01, "rmse_f": 0.2},
]


def write_log(folder) -> None:
    (folder / "results").mkdir()
    file = folder / "results" / "member_run-0_train.txt"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in LOG))


def test_a_curve_has_what_the_program_says_after_each_pass(tmp_path) -> None:
    write_log(tmp_path)
    curve = read_curve(tmp_path, 3, held_out=True)
    assert (curve.member, curve.axis) == (3, "epoch")
    assert curve.columns == {
        "axis": [1, 2],
        "loss": [3.0, 1.0],
        "held_out_loss": [0.5, None],
        "held_out_energy": [0.02, 0.01],
        "held_out_force": [0.3, 0.2],
        "held_out_stress": [0.004, None],
    }


def test_a_member_that_holds_nothing_out_tells_errors_of_what_it_learns(tmp_path) -> None:
    write_log(tmp_path)
    curve = read_curve(tmp_path, 0, held_out=False)
    assert set(curve.columns) == {"axis", "loss", "energy", "force", "stress"}


def test_a_failure_shows_the_last_lines_of_the_program(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(training, "PROGRAM", "voltaloop.no_such_module")
    with pytest.raises(MaceError, match=r"ended with 1(.|\n)*No module named"):
        training.run(tmp_path)


def test_a_foundation_has_a_full_path_and_is_told_to_people_as_it_runs_code(tmp_path) -> None:
    with pytest.raises(ValidationError, match=r"full path of a \.model file, got 'small'"):
        MaceSettings(foundation="small")
    path = tmp_path / "some.model"
    potential = Mace(MaceSettings(foundation=str(path)))
    assert potential.executes() == [str(path)]
    assert Mace(MaceSettings()).executes() == []
    with pytest.raises(CampaignFileError, match=r"there is no file .*some\.model"):
        potential.check_installed()


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("max_num_epochs", "is the option 'epochs' here"),
        ("foundation_model", "is the option 'foundation' here"),
        ("train_file", "is chosen by voltaloop"),
    ],
)
def test_an_option_is_not_said_twice(key, text) -> None:
    with pytest.raises(ValidationError, match=text):
        MaceSettings(extra={key: "1"})


def committee(settings: MaceSettings, members: int = 2) -> Committee:
    return MaceCommittee(
        species=MODEL_SPECIES,
        models=tuple({"member": np.array(k)} for k in range(members)),
        meta={"architecture": settings.architecture},
    )


@pytest.mark.parametrize(
    ("last", "goes_on"),
    [
        (committee(SETTINGS), True),
        (committee(SETTINGS.model_copy(update={"epochs": 7})), True),
        (committee(SETTINGS.model_copy(update={"channels": 8})), False),
        (committee(SETTINGS, members=3), False),
    ],
)
def test_it_goes_on_from_networks_of_its_own_kind_only(monkeypatch, last, goes_on) -> None:
    started = []

    class Stop(Exception):  # noqa: N818 - not an error
        pass

    def run(folder) -> None:
        started.extend(sorted(p.parent.name for p in folder.glob("member-*/previous.npz")))
        raise Stop

    monkeypatch.setattr("voltaloop.potentials.mace.mace.run", run)
    previous = Previous(hyperparameters={}, committee=last)
    with pytest.raises(Stop):
        Mace(SETTINGS).train(MODEL_SPECIES, model_examples(4), DictMemo(), previous)
    assert started == (["member-000", "member-001"] if goes_on else [])

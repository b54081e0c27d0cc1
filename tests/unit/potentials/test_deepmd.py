"""How DeePMD-kit is found, called and asked, on a stand-in for its environment."""

import gc
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from deepmd_stand_in import history, make_environment, stand_in_label

from voltaloop.core import MissingDependencyError
from voltaloop.core.training import Example, Previous, Trained
from voltaloop.potentials.deepmd import DeepmdPotential, DeepmdSettings, program, server
from voltaloop.potentials.deepmd.program import DeepmdError, Program, find_program
from voltaloop.potentials.deepmd.server import ServedModel, server_of
from voltaloop.testing.potentials import (
    MODEL_SPECIES,
    DictMemo,
    model_examples,
    model_frames,
)

MEMO = DictMemo()
"""Descriptors of the same few frames, for all tests."""


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    return make_environment(tmp_path / "environment")


@pytest.fixture(autouse=True)
def _stopped() -> Iterator[None]:
    yield
    for one in server._servers.values():
        one.stop()
    server._servers.clear()


def potential(environment: Path, **options: Any) -> DeepmdPotential:
    return DeepmdPotential(DeepmdSettings(dp=str(environment), **{"members": 2, **options}))


def train(
    environment: Path, examples: list[Example], last: Trained | None = None, **options: Any
) -> Trained:
    previous = None
    if last is not None:
        previous = Previous(hyperparameters=last.hyperparameters, committee=last.committee)
    return potential(environment, **options).train(MODEL_SPECIES, examples, MEMO, previous)


def factor(value: float, environment: Path) -> ServedModel:
    """A model of the stand-in."""
    content = f'{{"species": ["Li", "Ni", "O"], "factor": {value}}}'.encode()
    return ServedModel(find_program(str(environment)), content)


def test_an_environment_a_program_and_the_path_are_ways_to_name_it(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dp = environment / "bin" / "dp"
    assert find_program(str(environment)).dp == str(dp)
    assert find_program(str(dp)).dp == str(dp)
    monkeypatch.setenv("PATH", f"{dp.parent}:{os.environ['PATH']}")
    assert find_program("dp").dp == str(dp)
    found = find_program(None)
    assert found == Program(dp=str(dp), python=str(dp.with_name("python")), version="3.2.0")
    assert potential(environment).executes() == [str(environment)]


def test_the_working_directory_is_looked_into_last(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (environment.parent / ".deepmd").symlink_to(environment)
    monkeypatch.chdir(environment.parent)
    assert find_program(None).dp == str(environment.parent / ".deepmd" / "bin" / "dp")


def test_what_is_missing_is_said_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    remedy = r"make deepmd .*pip install 'deepmd-kit\[cpu\]==3\.2\.0'.*potential\.dp"
    with pytest.raises(MissingDependencyError, match=f"no program dp in PATH.*{remedy}"):
        DeepmdPotential(DeepmdSettings()).check_installed()
    with pytest.raises(MissingDependencyError, match="names nowhere, which is neither"):
        find_program("nowhere")
    old = make_environment(tmp_path / "old", version="2.2.11")
    with pytest.raises(MissingDependencyError, match=rf"is DeePMD-kit 2\.2\.11; .*{remedy}"):
        find_program(str(old))
    torch_only = make_environment(tmp_path / "torch", tensorflow=False)
    with pytest.raises(MissingDependencyError, match=f"has no TensorFlow.*{remedy}"):
        find_program(str(torch_only))
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho dp: no such option\nexit 2\n")
    other.chmod(0o755)
    with pytest.raises(MissingDependencyError, match=r"does not tell a version.*no such option"):
        find_program(str(other))


def test_its_version_is_asked_for_once(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_program(str(environment))
    monkeypatch.setattr(program, "_said", lambda _: pytest.fail("asked again"))
    find_program(str(environment))


def test_every_member_learns_from_all_blocks_but_its_own(environment: Path) -> None:
    trained = train(environment, model_examples(9), members=3, steps=70)
    told = history(environment)
    assert [one["told"][:2] for one in told] == [["--tf", "train"], ["--tf", "freeze"]] * 3
    assert told[0]["told"] == ["--tf", "train", "--skip-neighbor-stat", "input.json"]
    assert [one["input"]["training"]["seed"] for one in told[::2]] == [1, 2, 3]
    data = told[0]["input"]["training"]
    assert data["validation_data"]["numb_btch"] == 3
    assert all(name.startswith("learned/") for name in data["training_data"]["systems"])
    assert trained.committee.size == 3
    assert [curve.member for curve in trained.curves] == [0, 1, 2]
    assert len(trained.descriptors) == 9


def test_held_out_errors_are_those_of_the_models(environment: Path) -> None:
    examples = model_examples(8)
    trained = train(environment, examples)
    factors = [0.5 + 0.2 + 0.01 * seed for seed in (1, 2)]
    errors = [
        (stand_in_label(e.frame, factors[i % 2]).energy - e.label.energy) / len(e.frame)
        for i, e in enumerate(examples)
    ]
    assert trained.held_out["energy"] == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert set(trained.held_out) == {"energy", "force", "stress"}


def test_training_goes_on_from_the_last_model_of_the_same_member(environment: Path) -> None:
    first = train(environment, model_examples(6))
    again = train(environment, model_examples(8), first, retrain_steps=33)
    told = history(environment)[4:]
    assert told[0]["told"][2:] == [
        "--skip-neighbor-stat", "--init-frz-model", "last.pb", "input.json",
    ]  # fmt: skip
    assert told[0]["input"]["training"]["numb_steps"] == 33
    frame = model_frames(1, seed=3)[0]
    factors = [0.5 + 2 * (0.2 + 0.01 * seed) for seed in (1, 2)]
    np.testing.assert_allclose(
        again.committee.predict(frame).energy, np.array(factors) * stand_in_label(frame).energy
    )


def test_other_nets_or_another_number_of_members_start_from_nothing(environment: Path) -> None:
    first = train(environment, model_examples(6))
    train(environment, model_examples(6), first, fitting=(7, 7))
    train(environment, model_examples(6), first, members=3)
    assert not any("--init-frz-model" in one["told"] for one in history(environment))


def test_the_numbers_of_neighbours_stay_while_they_suffice(environment: Path) -> None:
    few = train(environment, model_examples(6), sel_margin=1.6)
    kept = train(environment, model_examples(12), few, sel_margin=1.1)
    assert kept.committee.meta["sel"] == few.committee.meta["sel"]
    dense = [
        replace(
            example,
            frame=replace(
                example.frame,
                cell=example.frame.cell * 0.6,
                positions=example.frame.positions * 0.6,
            ),
        )
        for example in model_examples(6)
    ]
    more = train(environment, [*model_examples(6), *dense], few)
    assert max(more.committee.meta["sel"]) > max(few.committee.meta["sel"])
    assert "--init-frz-model" not in history(environment)[-2]["told"]


def test_frames_without_stress_are_learned_from_systems_of_their_own(environment: Path) -> None:
    examples = [
        replace(e, label=replace(e.label, stress=None)) if i % 3 == 0 else e
        for i, e in enumerate(model_examples(12))
    ]
    train(environment, examples)
    systems = history(environment)[0]["input"]["training"]["training_data"]["systems"]
    assert any(name.endswith("_without_stress") for name in systems)
    assert any(not name.endswith("_without_stress") for name in systems)


def test_a_training_that_fails_shows_the_last_lines(environment: Path) -> None:
    with pytest.raises(DeepmdError, match=r"(?s)dp train .* ended with code 3.*KeyError") as told:
        train(environment, model_examples(4), steps=13)
    assert "implib-gen" not in str(told.value)


def test_programs_get_as_many_threads_as_this_process(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    train(environment, model_examples(4))
    assert history(environment)[0]["threads"] == "3"


def test_a_model_gives_energy_forces_and_stress_also_of_a_left_handed_cell(
    environment: Path,
) -> None:
    model = factor(1.5, environment)
    frame = model_frames(1, seed=5)[0]
    mirrored = replace(frame, cell=frame.cell * [1, 1, -1], positions=frame.positions * [1, 1, -1])
    for one in (frame, mirrored):
        truth, got = stand_in_label(one), model(one)
        assert got.energy == pytest.approx(1.5 * truth.energy)
        np.testing.assert_allclose(got.forces, 1.5 * truth.forces, atol=1e-12)
        np.testing.assert_allclose(got.stress, 1.5 * truth.stress, atol=1e-14)


def test_one_process_answers_for_all_models_and_ends_with_the_last(environment: Path) -> None:
    frame = model_frames(1, seed=5)[0]
    first, second = factor(1.0, environment), factor(2.0, environment)
    assert second(frame).energy == pytest.approx(2 * first(frame).energy)
    pid = server_of(find_program(str(environment))).pid
    assert pid is not None
    del first
    gc.collect()
    assert second(frame).energy == pytest.approx(2 * stand_in_label(frame).energy)
    del second
    gc.collect()
    assert not psutil.pid_exists(pid)
    assert factor(3.0, environment)(frame).energy == pytest.approx(3 * stand_in_label(frame).energy)


def test_a_process_that_was_killed_is_started_again(
    environment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame = model_frames(1, seed=5)[0]
    model = factor(1.0, environment)
    before = model(frame).energy
    pid = server_of(find_program(str(environment))).pid
    assert pid is not None
    psutil.Process(pid).kill()
    assert model(frame).energy == before
    assert "ended with -9" in caplog.text
    assert "started again" in caplog.text


def test_a_model_that_kills_its_process_is_an_error_with_what_it_said(environment: Path) -> None:
    model = factor(-1.0, environment)
    with pytest.raises(DeepmdError, match=r"(?s)ended with 139.*Segmentation fault of"):
        model(model_frames(1, seed=5)[0])


def test_a_file_that_is_no_model_is_refused(environment: Path) -> None:
    with pytest.raises(DeepmdError, match=r"could not open a model\. ValueError: not a frozen mod"):
        ServedModel(find_program(str(environment)), b"{}")


def test_an_interrupted_question_does_not_spoil_the_next_answer(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = model_frames(2, seed=5)
    model = factor(1.0, environment)
    expected = model(frames[1]).energy

    def interrupted(_: object) -> None:
        time.sleep(0.1)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(server, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model(frames[0])
    assert model(frames[1]).energy == expected


def test_a_copy_of_this_process_asks_a_process_of_its_own(environment: Path) -> None:
    frame = model_frames(1, seed=5)[0]
    model = factor(1.0, environment)
    expected = model(frame).energy
    child = os.fork()
    if child == 0:
        same = False
        try:
            same = model(frame).energy == expected
        finally:
            for one in server._servers.values():
                one.stop()
            os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert model(frame).energy == expected

"""Real DeePMD-kit on layered oxide frames. VOLTALOOP_DP names the program or its environment, where
it is neither in PATH nor in .deepmd."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from voltaloop.core import MissingDependencyError
from voltaloop.core.deepmd_npy import write_deepmd
from voltaloop.core.training import Previous, Trained
from voltaloop.exploration import static_evaluator
from voltaloop.potentials.deepmd import DeepmdPotential, DeepmdSettings
from voltaloop.potentials.deepmd.plugin import find_plugin
from voltaloop.potentials.deepmd.program import DeepmdError, find_program
from voltaloop.potentials.deepmd.server import server_of
from voltaloop.testing.potentials import (
    MODEL_SPECIES,
    DictMemo,
    model_examples,
    model_frames,
    model_label,
)

DP = os.environ.get("VOLTALOOP_DP")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    try:
        DeepmdPotential(DeepmdSettings(dp=DP)).check_installed()
    except MissingDependencyError as err:
        pytest.skip(f"{err} VOLTALOOP_DP names another one.")


def potential(**options) -> DeepmdPotential:
    return DeepmdPotential(DeepmdSettings(dp=DP, members=2, **options))


@pytest.fixture(scope="module")
def trained() -> Trained:
    """Briefly: not good, but real."""
    return potential(steps=200).train(MODEL_SPECIES, model_examples(20), DictMemo())


def test_a_brief_training_goes_on_from_its_last_models(trained: Trained) -> None:
    examples = model_examples(20)
    previous = Previous(hyperparameters={}, committee=trained.committee)
    again = potential(steps=200, retrain_steps=40).train(
        MODEL_SPECIES, examples, DictMemo(), previous
    )
    assert again.curves[0].columns["axis"][-1] == 40
    at_once = again.curves[0].columns["held_out_force"][0]
    from_nothing = trained.curves[0].columns["held_out_force"][0]
    assert at_once < 0.6 * from_nothing  # type: ignore[operator]  # no None here


def test_frames_with_and_without_stress_are_learned_together() -> None:
    examples = [
        replace(e, label=replace(e.label, stress=None)) if i % 2 else e
        for i, e in enumerate(model_examples(20))
    ]
    trained = potential(steps=20).train(MODEL_SPECIES, examples, DictMemo())
    assert np.isfinite(list(trained.held_out.values())).all()
    assert set(trained.held_out) == {"energy", "force", "stress"}


def test_what_dp_says_of_a_wrong_input_reaches_the_user() -> None:
    wrong = potential(input={"model": {"descriptor": {"no_such_key": 1}}})
    with pytest.raises(DeepmdError, match=r"(?s)dp train .* ended with code .*no_such_key"):
        wrong.train(MODEL_SPECIES, model_examples(4), DictMemo())


def test_another_descriptor_of_the_users_own_is_trained() -> None:
    own = {
        "model": {"descriptor": {"type": "se_e2_r", "rcut": 4.0, "sel": "auto", "neuron": [4, 8]}}
    }
    trained = potential(steps=20, input=own).train(MODEL_SPECIES, model_examples(8), DictMemo())
    assert np.isfinite(trained.committee.predict(model_frames(1, seed=3)[0]).forces).all()


def test_the_process_that_answers_is_started_again_and_says_the_same(trained: Trained) -> None:
    frame = model_frames(1, seed=3)[0]
    before = trained.committee.predict(frame, stress=True)
    server = server_of(find_program(DP))
    assert server.pid is not None
    psutil.Process(server.pid).kill()
    again = trained.committee.predict(frame, stress=True)
    np.testing.assert_array_equal(again.energy, before.energy)
    np.testing.assert_array_equal(again.forces, before.forces)
    np.testing.assert_array_equal(again.stress, before.stress)  # type: ignore[arg-type]  # not None


def test_dp_itself_reads_what_we_write_and_finds_the_energies_that_we_find(
    trained: Trained, tmp_path: Path
) -> None:
    frames = [frame for frame in model_frames(20, seed=8) if frame.n_lithium == 2]
    write_deepmd([(frame, model_label(frame)) for frame in frames], tmp_path / "data")
    (tmp_path / "model.pb").write_bytes(trained.committee.models[0]["graph"].tobytes())
    arguments = ["-m", "model.pb", "-s", "data", "-d", "found"]
    find_program(DP).run("test", *arguments, folder=tmp_path)
    truth, found = np.loadtxt(tmp_path / "found.e.out", ndmin=2).T
    np.testing.assert_allclose(truth, [model_label(frame).energy for frame in frames], rtol=1e-9)
    own = [trained.committee.member(0).predict(frame).energy[0] for frame in frames]
    np.testing.assert_allclose(found, own, rtol=1e-9)


def test_lammps_gives_the_mean_by_the_plugin_where_it_fits(trained: Trained) -> None:
    if find_plugin(find_program(DP)) is None:
        pytest.skip("DeePMD-kit's plugin was built for another update of LAMMPS")
    frame = model_frames(1, seed=3)[0]
    expected = trained.committee.predict(frame, stress=True)
    with static_evaluator(frame, trained.committee) as evaluate:
        label = evaluate(frame)
    assert label.energy == pytest.approx(expected.energy.mean(), abs=1e-9)
    np.testing.assert_allclose(label.forces, expected.forces.mean(axis=0), atol=1e-9)

"""What the potential ``gap`` asks of gap_fit, and what it makes of the answer."""

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from pydantic import ValidationError

from voltaloop.core import Frame, Label, MissingDependencyError
from voltaloop.core.training import Example
from voltaloop.potentials import POTENTIALS
from voltaloop.potentials.gap import Gap, GapFitError, GapSettings, Soap, fitting
from voltaloop.potentials.gap.committee import GapModel
from voltaloop.potentials.gap.fitting import (
    check_targets,
    command,
    descriptors,
    fit,
    pairs_within,
    write_examples,
)
from voltaloop.testing.potentials import DictMemo, model_examples, model_frames

SPECIES = ["Li", "Ni", "O"]
E0 = {"Li": -1.0, "Ni": -2.0, "O": -3.0}
SMALL = Soap(cutoff=3.0, n_max=2, l_max=1, sparse=8)

needs_quippy = pytest.mark.skipif(
    find_spec("quippy") is None, reason="quippy is not installed; see make gap"
)


def small(**options) -> GapSettings:
    return GapSettings(**{"members": 3, "cutoff_2b": 3.0, "sparse_2b": 5, "soap": SMALL, **options})


def program_that(says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a Python program in the place of gap_fit."""
    path = tmp_path / "gap_fit"
    path.write_text(f"#!{sys.executable}\n{says}\n")
    path.chmod(0o755)
    monkeypatch.setattr(fitting, "program", lambda: path)


def test_one_soap_may_be_written_without_a_list() -> None:
    one = GapSettings.model_validate({"soap": {"cutoff": 4.0}})
    assert one == GapSettings.model_validate({"soap": [{"cutoff": 4.0}]})
    assert [soap.cutoff for soap in one.soap] == [4.0]


def test_what_yaml_reads_as_a_number_or_true_reaches_gap_fit_as_a_word() -> None:
    settings = GapSettings.model_validate(
        {"extra": {"sigma_per_atom": True, "openmp_chunk_size": 8}}
    )
    assert settings.extra == {"sigma_per_atom": "T", "openmp_chunk_size": "8"}


@pytest.mark.parametrize("value", ["T gp_file=/etc/x", "{1 2}", "", "a=b", "a\nb", "../x"])
def test_a_further_option_that_is_not_one_word_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="expected one word"):
        GapSettings(extra={"verbosity_of": value})


def test_options_that_voltaloop_sets_itself_are_refused_among_further_ones() -> None:
    with pytest.raises(ValidationError, match="rnd_seed: set by voltaloop"):
        GapSettings(extra={"rnd_seed": "3"})
    with pytest.raises(ValidationError, match="n_sparse: set by voltaloop"):
        Soap(extra={"n_sparse": "3"})


def test_a_transition_wider_than_the_cutoff_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"less than the cutoff of 3 Å, got 3.5"):
        Soap(cutoff=3.0, cutoff_transition_width=3.5)


def test_energies_of_what_is_no_element_are_refused() -> None:
    with pytest.raises(ValidationError, match="chemical symbols, got Xq"):
        GapSettings(e0={"Xq": 1.0})


def test_an_element_without_its_energy_is_told() -> None:
    potential = Gap(small(e0={"Li": -1.0, "O": -3.0}))
    with pytest.raises(ValueError, match=r"isolated atom of Ni: add it to e0, which has Li, O"):
        potential.train(SPECIES, model_examples(4), DictMemo())


def test_the_settings_reach_the_command_line() -> None:
    settings = small(
        sigma_energy=0.003,
        sigma_force=0.07,
        sigma_virial=0.01,
        soap=(SMALL, Soap(cutoff=5.0, zeta=2, extra={"central_weight": "0.5"})),
        extra={"sigma_per_atom": "F"},
    )
    said = " ".join(command(model_examples(6), settings, E0, seed=7))
    assert "e0={Li:-1.0:Ni:-2.0:O:-3.0}" in said
    assert "default_sigma={0.003 0.07 0.01 0.0}" in said
    assert "rnd_seed=7" in said
    assert said.endswith("sigma_per_atom=F")
    assert said.count("{soap cutoff=3.0 ") == said.count("{soap cutoff=5.0 ") == 3
    assert said.count("n_species=3 species_Z={3 8 28} Z=8 ") == 2
    assert "zeta=2" in said
    assert "central_weight=0.5" in said


def test_kernels_without_data_are_left_out() -> None:
    nickel_oxide = [e for e in model_examples(20) if 3 not in e.frame.numbers][:2]
    kernels = descriptors(nickel_oxide, small(), SPECIES)
    assert [k for k in kernels if "Z1=3" in k or " Z=3 " in k] == []
    assert len([k for k in kernels if k.startswith("distance_2b")]) == 3
    assert len([k for k in kernels if k.startswith("soap")]) == 2
    assert all("species_Z={3 8 28}" in k for k in kernels if k.startswith("soap"))


def test_no_pair_terms_can_be_asked_for() -> None:
    kernels = descriptors(model_examples(3), small(sparse_2b=0), SPECIES)
    assert all(kernel.startswith("soap") for kernel in kernels)


def test_pairs_are_those_closer_than_the_cutoff() -> None:
    frame = Frame(
        numbers=[1, 8, 3], positions=[[0, 0, 0], [1, 0, 0], [0, 4, 0]], cell=20 * np.eye(3)
    )
    assert pairs_within(1.5, [frame]) == {(1, 8)}
    assert pairs_within(4.05, [frame]) == {(1, 8), (1, 3)}


def test_examples_are_written_with_every_digit(tmp_path: Path) -> None:
    first, second = model_examples(2)
    second = replace(second, label=replace(second.label, stress=None))
    write_examples(tmp_path / "train.xyz", [first, second])
    one, other = read(tmp_path / "train.xyz", ":")
    np.testing.assert_array_equal(one.positions, first.frame.positions)
    np.testing.assert_array_equal(one.cell.array, first.frame.cell)
    np.testing.assert_array_equal(one.arrays["REF_forces"], first.label.forces)
    assert one.info["REF_energy"] == first.label.energy
    virial = one.info["REF_virial"].reshape(3, 3)
    np.testing.assert_array_equal(virial, virial.T)
    np.testing.assert_allclose(
        -virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
        first.label.stress * first.frame.volume,
        rtol=1e-15,
    )
    assert "REF_virial" not in other.info
    assert all(one.pbc)


def test_a_log_that_misses_energies_is_an_error() -> None:
    examples = model_examples(2)
    said = "".join(
        f"Number of target {kind} (property name: REF_{kind}) found:   {count}\n"
        for kind, count in {"energies": 2, "forces": 48, "virials": 12}.items()
    )
    check_targets(said, examples)
    with pytest.raises(GapFitError, match=r"from all 2 examples: .* tells \{'energies': 1,"):
        check_targets(said.replace("found:   2", "found:   1"), examples)
    with pytest.raises(GapFitError, match=r"its log tells \{\}"):
        check_targets("nothing of the kind", examples)


def test_a_fit_that_fails_is_told_with_the_last_words_of_gap_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program_that("print('SYSTEM ABORT: no luck'); raise SystemExit(3)", tmp_path, monkeypatch)
    with pytest.raises(GapFitError, match=r"exit code 3 and gave no model(.|\n)*ABORT: no luck"):
        fit(model_examples(2), small(), E0, seed=1)


def test_a_program_that_writes_no_model_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program_that("print('all is well')", tmp_path, monkeypatch)
    with pytest.raises(GapFitError, match=r"exit code 0 and gave no model(.|\n)*all is well"):
        fit(model_examples(2), small(), E0, seed=1)


def test_without_quippy_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"make gap, or pip install 'voltaloop\[gap\]"):
        Gap(small()).check_installed()


def test_the_notice_tells_the_terms_of_the_licence() -> None:
    notice = POTENTIALS.load("gap").NOTICE
    assert "academic, non-commercial" in notice
    assert "quippy-ase" in notice


@pytest.mark.slow
@needs_quippy
def test_gap_fit_learns_the_energies_of_molecules_in_a_box() -> None:
    rng = np.random.default_rng(0)
    examples = [_dimer(0.9 + 0.2 * rng.random(), k) for k in range(12)]
    settings = small(soap=SMALL, sigma_energy=1e-4, sigma_force=1e-3, cutoff_2b=2.5)
    model = GapModel.read(fit(examples, settings, {"H": -13.0, "O": -430.0}, seed=1))
    errors = [model(e.frame).energy - e.label.energy for e in examples]
    assert np.abs(errors).max() < 2e-3


def _dimer(distance: float, number: int) -> Example:
    """OH with a spring of 40 eV/Å2 in a box of 30 Å."""
    pull = 40.0 * (distance - 1.0)
    return Example(
        key=str(number),
        frame=Frame(
            numbers=[8, 1], positions=[[15, 15, 15], [15 + distance, 15, 15]], cell=30 * np.eye(3)
        ),
        label=Label(
            energy=-447.0 + 0.5 * pull * (distance - 1.0),
            forces=np.array([[pull, 0, 0], [-pull, 0, 0]]),
        ),
    )


@pytest.mark.slow
@needs_quippy
def test_the_variance_is_larger_where_nothing_was_learned() -> None:
    settings = small(uncertainty="variance", soap=(SMALL, Soap(cutoff=4.0, n_max=3, l_max=2)))
    trained = Gap(settings).train(SPECIES, model_examples(9), DictMemo())
    known, strange = model_examples(1)[0].frame, model_frames(1, seed=3)[0]
    positions = strange.positions.copy()
    positions[0] += 0.8
    own = trained.committee.predict(known).force_s
    strange_own = trained.committee.predict(replace(strange, positions=positions)).force_s
    assert own is not None
    assert strange_own is not None
    assert strange_own.max() > 2 * own.max()


@pytest.mark.slow
@needs_quippy
def test_the_spread_of_the_members_is_the_measure_unless_asked_otherwise() -> None:
    trained = Gap(small()).train(SPECIES, model_examples(6), DictMemo())
    assert trained.committee.predict(model_frames(1, seed=3)[0]).force_s is None
    assert {name.split("/", 1)[1] for name in trained.committee.to_arrays()} >= {"xml", "sparse/1"}

"""Cross-check against ``fitpod``, the fit that LAMMPS itself brings."""

from pathlib import Path

import numpy as np
import pytest

from voltaloop.core.lammps import lammps_instance
from voltaloop.core.training import Example
from voltaloop.potentials.pod import BASES, Pod, PodCommittee, PodSettings
from voltaloop.testing.potentials import (
    MODEL_SPECIES,
    DictMemo,
    model_examples,
    model_frames,
    model_label,
)

BASIS = BASES["small"]

FITPOD = """file_format extxyz
file_extension xyz
path_to_training_data_set "{folder}/train"
path_to_test_data_set "{folder}/test"
fitting_weight_energy 10.0
fitting_weight_force 1.0
fitting_regularization_parameter 1e-12
error_analysis_for_training_data_set 0
error_analysis_for_test_data_set 1
basename_for_output_files fit
precision_for_pod_coefficients 16
group_weights global
"""


def write_extxyz(file: Path, examples: list[Example]) -> None:
    lines = []
    for example in examples:
        lattice = " ".join(f"{v:.14g}" for v in example.frame.cell.ravel())
        lines += [
            str(len(example.frame)),
            f'Lattice="{lattice}" Properties=species:S:1:pos:R:3:forces:R:3 '
            f'energy={example.label.energy:.14g} pbc="T T T"',
        ]
        symbols = example.frame.to_atoms().get_chemical_symbols()
        rows = np.hstack([example.frame.positions, example.label.forces])
        lines += [
            " ".join([symbol, *(f"{v:.14g}" for v in row)])
            for symbol, row in zip(symbols, rows, strict=True)
        ]
    file.parent.mkdir()
    file.write_text("\n".join(lines) + "\n")


@pytest.fixture
def of_lammps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PodCommittee:
    """Fitted by LAMMPS to 40 examples, tested by it on 5 others; its files are in tmp_path."""
    monkeypatch.chdir(tmp_path)
    write_extxyz(tmp_path / "train" / "model.xyz", model_examples(40))
    write_extxyz(tmp_path / "test" / "model.xyz", model_examples(5, seed=77))
    (tmp_path / "basis.pod").write_text(BASIS.parameter_file(MODEL_SPECIES))
    (tmp_path / "data.pod").write_text(FITPOD.format(folder=tmp_path))
    with lammps_instance() as lmp:
        lmp.command("fitpod basis.pod data.pod")
    lines = (tmp_path / "fit_coefficients.pod").read_text().splitlines()
    assert lines[0] == f"model_coefficients: {BASIS.size(3)} 0 0"
    coefficients = np.array([[float(line) for line in lines[1:]]])
    return PodCommittee(basis=BASIS, species=MODEL_SPECIES, coefficients=coefficients)


def test_our_fit_predicts_what_lammpss_own_fit_predicts(of_lammps: PodCommittee) -> None:
    ours = Pod(PodSettings(members=4, basis="small")).train(
        MODEL_SPECIES, model_examples(40), DictMemo()
    )
    errors = []
    for frame in model_frames(5, seed=77):
        a, b = ours.committee.averaged().predict(frame), of_lammps.predict(frame)
        assert a.energy[0] / 8 == pytest.approx(b.energy[0] / 8, abs=1e-4)
        np.testing.assert_allclose(a.forces, b.forces, rtol=0, atol=1e-2)
        truth = model_label(frame).forces
        errors.append([np.square(p.forces[0] - truth).mean() for p in (a, b)])
    own, theirs = np.sqrt(np.mean(errors, axis=0))
    assert own < 2.5 * theirs  # theirs knows no stress and leaves no block out


def test_our_design_rows_give_the_errors_that_lammps_finds_for_its_fit(
    of_lammps: PodCommittee, tmp_path: Path
) -> None:
    table = (tmp_path / "fit_test_errors.pod").read_text()
    reported = next(line for line in table.splitlines() if line.startswith("model.xyz")).split()
    pairs = [(of_lammps.predict(f), model_label(f)) for f in model_frames(5, seed=77)]
    energy = np.abs([p.energy[0] - t.energy for p, t in pairs]).mean() / 8
    force = np.abs([p.forces[0] - t.forces for p, t in pairs]).mean()
    assert energy == pytest.approx(float(reported[3]), abs=1e-6)
    assert force == pytest.approx(float(reported[5]), rel=0.02)  # three digits are printed

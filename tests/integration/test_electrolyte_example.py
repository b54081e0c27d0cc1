"""The example of electrolytes from data to its tables, on a few small clusters made here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from clusters import cluster_atoms

EXAMPLE = Path(__file__).parents[2] / "examples" / "ecemc"
BASIS = "{rcut: 4.0, rin: 0.5, twobody: 5, threebody: 3, threebody_degree: 2, fourbody: 0,"
SETTINGS = f"members: 3\nbasis: {BASIS} fourbody_degree: 0}}\n"
CLUSTERS = (["H2O"], ["CH3OH"], ["H2O", "CH3OH"], ["CH3OH", "H2O", "H2O"], ["CH3OH", "CH3OH"])


def labelled(names: list[str], seed: int) -> Atoms:
    """As in the data: no lattice, GFN2-xTB in ``energy_xtb`` and ``forces_xtb``."""
    tblite = pytest.importorskip("tblite.ase", reason="pip install 'voltaloop[tblite]'")
    made = cluster_atoms(names, seed)
    atoms = Atoms(numbers=made.numbers, positions=made.positions)
    atoms.calc = tblite.TBLite(method="GFN2-xTB", verbosity=0)
    atoms.info["energy_xtb"] = atoms.get_potential_energy()
    atoms.arrays["forces_xtb"] = atoms.get_forces()
    atoms.calc = None
    return atoms


def clusters(count: int, seed: int) -> list[Atoms]:
    return [labelled(CLUSTERS[i % len(CLUSTERS)], seed + i) for i in range(count)]


def turned(atoms: Atoms, degrees: float) -> Atoms:
    other = Atoms(numbers=atoms.numbers, positions=atoms.positions)
    other.rotate(degrees, (1, 2, 3))
    return other


def liquid() -> Atoms:
    """Four water molecules in a periodic cube."""
    atoms = Atoms(cell=[5.6] * 3, pbc=True)
    for k, corner in enumerate([(0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1)]):
        one = cluster_atoms(["H2O"], seed=k)
        one.positions += np.array(corner) * 2.8 - one.get_center_of_mass()
        atoms += one
    return atoms


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "ecemc"
    folder.mkdir()
    atom = Atoms("H", info={"config_type": "IsolatedAtom", "energy_xtb": -10.7})
    atom.arrays["forces_xtb"] = np.zeros((1, 3))
    (methanol,) = clusters(2, seed=400)[1:]
    files = {
        "solvent_xtb_train_20.xyz": [atom, *clusters(12, seed=0)],
        "solvent_xtb_train_50.xyz": [atom, *clusters(20, seed=100)],
        "solvent_xtb_test.xyz": clusters(5, seed=200),
        "mace02_md_100_xtb.xyz": clusters(2, seed=300),
        "solvent_rotated.xyz": [turned(methanol, angle) for angle in (0, 50, 100)],
        "solvent_liquid.xyz": [liquid()],
    }
    for name, frames in files.items():
        write(folder / name, frames, format="extxyz")
    (folder.parent / "pod.yaml").write_text(SETTINGS)
    return folder


def run(data: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    arguments = ["--out", str(out), "--engines", "pod", "--generations", "20,50"]
    return subprocess.run(
        [sys.executable, str(EXAMPLE / "run.py"), *arguments, *more],
        env={**os.environ, "VOLTALOOP_DATA": str(data.parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.fixture(scope="module")
def out(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    done = run(data, folder, "--settings", str(data.parent))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def results(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / "results.json").read_text())
    return read


@pytest.mark.slow
def test_every_fit_is_examined_within_and_between_molecules(out: Path) -> None:
    found = results(out)
    assert [row["generation"] for row in found["rows"]] == ["20", "50"]
    assert [row["n_frames"] for row in found["rows"]] == [12, 20]
    for row in found["rows"]:
        errors, labels = row["errors"]["test"], found["labels"]["test"]
        for quantity in ("force", "internal", "energy", "intra"):
            assert 0 < errors[quantity] < labels[quantity]
        assert errors["net_force"] > 0
        assert errors["inter"] > 0


@pytest.mark.slow
def test_a_turned_molecule_keeps_its_energy(out: Path) -> None:
    for row in results(out)["rows"]:
        assert row["rotated_meV"] < 0.1
    assert results(out)["labels"]["rotated"]["inter"] is None


@pytest.mark.slow
def test_the_liquid_is_scanned_by_the_potentials_and_by_the_reference(out: Path) -> None:
    found = results(out)
    scans = [found["reference_scan"], *(row["scan"] for row in found["rows"])]
    assert {len(scan["energies_eV_per_molecule"]) for scan in scans} == {9}
    assert all(row["scan_error_meV"] > 0 for row in found["rows"])


@pytest.mark.slow
def test_there_are_a_table_a_page_and_a_picture_with_the_published_figures(out: Path) -> None:
    text = (out / "results.md").read_text()
    assert "| pod, 20 | 12 |" in text
    assert "| GAP, published | 200 | 252 | 6.6 | 339 |" in text
    assert "Net forces on molecules" in (out / "results.html").read_text()
    assert (out / "results.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_second_run_repeats_no_step(data: Path, out: Path) -> None:
    before = results(out)
    files = sorted((out / "store").rglob("*.npz"))
    again = run(data, out, "--settings", str(data.parent))
    assert again.returncode == 0, again.stdout + again.stderr
    assert results(out) == before
    assert sorted((out / "store").rglob("*.npz")) == files


def test_data_that_are_not_there_are_asked_for_with_their_source(tmp_path: Path) -> None:
    done = run(tmp_path / "ecemc", tmp_path / "out")
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "Expected the file" in said
    assert "github.com/imagdau/Tutorials" in said
    assert "Traceback" not in done.stdout + done.stderr


def test_a_settings_file_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text("member: 4\n")
    done = run(tmp_path / "ecemc", tmp_path / "out", "--settings", str(tmp_path))
    assert done.returncode == 1
    assert "member" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr

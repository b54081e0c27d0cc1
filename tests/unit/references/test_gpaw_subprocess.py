"""The GPAW reference around a stand-in for the gpaw package, so that no DFT runs here."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.spacegroup import crystal

from voltaloop.core import CampaignFileError, Frame, MissingDependencyError, ReferenceFailure
from voltaloop.references import build_reference
from voltaloop.references import gpaw as gpaw_module
from voltaloop.references.gpaw import reduced

SCRIPT = Path(gpaw_module.__file__).with_name("gpaw_run.py")

STAND_IN = """
import json, os, sys, time
from ase.calculators.emt import EMT

__version__ = "stand-in"

class KohnShamConvergenceError(Exception):
    pass

def PW(ecut):
    return {"ecut": ecut}

def FermiDirac(width):
    return {"width": width}

class GPAW(EMT):
    def __init__(self, txt, **parameters):
        super().__init__()
        self.log = open(txt, "w", buffering=1)
        self.log.write("stand-in for GPAW\\n")
        with open(os.environ["STAND_IN_RECORD"], "w") as record:
            json.dump({**parameters, "threads": os.environ["OMP_NUM_THREADS"]}, record)

    def calculate(self, *args):
        exec(os.environ.get("STAND_IN_DOES", ""))
        super().calculate(*args)
        self.results["magmoms"] = self.atoms.get_initial_magnetic_moments()
        self.results["magmom"] = float(sum(self.results["magmoms"]))

    def get_number_of_iterations(self):
        return 17
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A package gpaw on the path of the subprocess; returns what the last run was asked for."""
    package = tmp_path / "packages" / "gpaw"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(STAND_IN)
    (package / "cgpaw.py").write_text("")
    record = tmp_path / "record.json"
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setenv("STAND_IN_RECORD", str(record))
    return lambda: json.loads(record.read_text())


@pytest.fixture
def copper() -> Frame:
    atoms = bulk("Cu", cubic=True) * (1, 1, 2)
    atoms.rattle(0.1, seed=3)
    return Frame.from_atoms(atoms)


def layered_oxide(metal: str = "Ni") -> Frame:
    return Frame.from_atoms(
        crystal(
            ["Li", metal, "O"],
            [(0, 0, 0.5), (0, 0, 0), (0, 0, 0.2585)],
            spacegroup=166,
            cellpar=[2.878, 2.878, 14.19, 90, 90, 120],
            primitive_cell=True,
        )
    )


def skewed_and_turned(frame: Frame) -> tuple[Frame, np.ndarray]:
    """The same crystal turned in space, in a skewed left-handed cell, atoms outside it."""
    turn, _ = np.linalg.qr(np.random.default_rng(8).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    skew = np.array([[1, 0, 0], [3, 0, 1], [-2, 1, 2]])
    cell = skew @ frame.cell @ turn
    positions = frame.positions @ turn + np.outer(np.arange(len(frame)), cell[1])
    return replace(frame, cell=cell, positions=positions), turn


def gpaw(**settings):
    return build_reference("gpaw", {"dispersion": None, **settings})


def test_a_label_holds_what_the_calculator_said(stand_in, copper):
    label = gpaw().label(copper)
    atoms = copper.to_atoms()
    atoms.calc = EMT()
    assert label.energy == pytest.approx(atoms.get_potential_energy())
    np.testing.assert_allclose(label.forces, atoms.get_forces(), atol=1e-9)
    np.testing.assert_allclose(label.stress, atoms.get_stress(), atol=1e-12)
    assert label.details["engine"] == "GPAW stand-in"
    assert label.details["scf_iterations"] == 17
    assert stand_in()["threads"] == "1"


def test_forces_and_stress_come_back_in_the_orientation_of_the_frame(stand_in, copper):
    frame, turn = skewed_and_turned(copper)
    label = gpaw().label(frame)
    atoms = copper.to_atoms()
    atoms.calc = EMT()
    assert stand_in()["xc"] == "PBE"
    np.testing.assert_allclose(label.forces, atoms.get_forces() @ turn, atol=1e-9)
    xx, yy, zz, yz, xz, xy = label.stress
    np.testing.assert_allclose(
        [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]],
        turn.T @ atoms.get_stress(voigt=False) @ turn,
        atol=1e-10,
    )


def test_the_reduced_cell_is_the_same_lattice_short_and_right_handed(copper):
    frame, turn = skewed_and_turned(copper)
    cell = reduced(frame).cell
    assert np.linalg.det(cell) == pytest.approx(copper.volume)
    np.testing.assert_allclose(np.linalg.norm(cell, axis=1), [3.61, 3.61, 7.22], atol=1e-9)
    integers = cell @ np.linalg.inv(frame.cell)
    np.testing.assert_allclose(integers, np.rint(integers), atol=1e-9)
    np.testing.assert_allclose(np.abs(cell @ turn.T), np.diag([3.61, 3.61, 7.22]), atol=1e-9)


def test_atoms_are_wrapped_by_lattice_vectors_only(copper):
    frame, _ = skewed_and_turned(copper)
    small = reduced(frame)
    moved = (small.positions - frame.positions) @ np.linalg.inv(frame.cell)
    np.testing.assert_allclose(moved, np.rint(moved), atol=1e-9)
    fractional = small.positions @ np.linalg.inv(small.cell)
    assert (fractional > -1e-6).all()
    assert (fractional < 1).all()


def test_below_800_eV_the_label_has_no_stress(stand_in, copper):  # noqa: N802 - the unit
    assert gpaw(ecut_eV=700).label(copper).stress is None
    assert stand_in()["mode"] == {"ecut": 700.0}
    assert gpaw(ecut_eV=800).label(copper).stress is not None


def test_dispersion_is_added_in_the_orientation_of_the_frame(stand_in, copper):
    bare = gpaw().label(copper)
    bound = gpaw(dispersion="d3bj").label(copper)
    assert stand_in()["xc"] == "PBE"
    assert bound.energy == bare.energy + bound.details["dispersion_energy_eV"]
    assert bound.details["dispersion"] == "D3(BJ) PBE"


@pytest.mark.parametrize(
    ("frame", "mesh"),
    [
        (Frame.from_atoms(bulk("Li", "bcc", a=3.44)), [8, 8, 8]),
        (layered_oxide(), [3, 3, 2]),
        (Frame.from_atoms(layered_oxide().to_atoms() * (2, 2, 1)), [2, 2, 2]),
    ],
    ids=["bcc Li", "LiNiO2", "16 atoms of LiNiO2"],
)
def test_the_k_point_mesh_follows_the_cell_and_is_denser_for_metals(frame, mesh):
    assert gpaw()._job(reduced(frame))["kpts"] == mesh


def test_a_small_strain_does_not_change_the_mesh():
    frame = layered_oxide()
    generator = np.random.default_rng(2)
    for _ in range(20):
        strain = np.eye(3) + 0.02 * generator.uniform(-1, 1, size=(3, 3))
        strained = replace(frame, cell=frame.cell @ strain, positions=frame.positions @ strain)
        assert gpaw()._job(reduced(strained))["kpts"] == [3, 3, 2]


def test_an_explicit_mesh_is_taken_as_it_is(copper):
    assert gpaw(kpts=[2, 3, 4])._job(copper)["kpts"] == [2, 3, 4]


def test_the_job_reaches_the_calculator(stand_in, copper):
    gpaw(
        kpts=[1, 1, 1],
        width_eV=0.2,
        hubbard_u={"Ni": 6.2},
        maxiter=33,
        density_convergence=1e-5,
        mixer={"method": "difference", "beta": 0.1},
        threads=2,
    ).label(copper)
    assert stand_in() == {
        "mode": {"ecut": 800.0},
        "xc": "PBE",
        "kpts": {"size": [1, 1, 1], "gamma": True},
        "occupations": {"width": 0.2},
        "convergence": {"density": 1e-5},
        "maxiter": 33,
        "spinpol": False,
        "setups": {"Ni": ":d,6.2,0"},
        "mixer": {"method": "difference", "beta": 0.1, "nmaxold": 5, "weight": 50.0},
        "threads": "2",
    }


def test_moments_start_from_the_element_where_the_frame_has_none():
    assert gpaw()._job(layered_oxide("Ni"))["frame"]["magmoms"] == [0, 1, 0, 0]
    assert gpaw()._job(layered_oxide("Mn"))["frame"]["magmoms"] == [0, 4, 0, 0]


def test_moments_of_the_frame_win_over_those_of_the_element():
    frame = replace(layered_oxide("Ni"), magmoms=np.array([0.0, -0.8, 0.0, 0.0]))
    assert gpaw()._job(frame)["frame"]["magmoms"] == [0, -0.8, 0, 0]


@pytest.mark.parametrize(
    ("frame", "settings"), [(layered_oxide("Co"), {}), (layered_oxide("Ni"), {"spin": False})]
)
def test_without_moments_the_calculation_has_no_spin(frame, settings):
    assert gpaw(**settings)._job(frame)["frame"]["magmoms"] is None


def test_a_spin_polarised_label_keeps_its_moments(stand_in, copper):
    moments = np.linspace(0.1, 0.8, len(copper))
    label = gpaw().label(replace(copper, magmoms=moments))
    assert stand_in()["spinpol"] is True
    np.testing.assert_allclose(label.magmoms, moments)
    assert label.details["total_magmom_muB"] == pytest.approx(moments.sum())
    assert gpaw().label(copper).magmoms is None


@pytest.mark.usefixtures("stand_in")
def test_no_convergence_is_named_with_the_last_lines_of_the_output(copper, monkeypatch):
    monkeypatch.setenv(
        "STAND_IN_DOES",
        "self.log.write('iter 200: -1.0\\n'); raise KohnShamConvergenceError('no luck')",
    )
    with pytest.raises(ReferenceFailure, match=r"(?s)^not_converged: no luck.*iter 200: -1\.0"):
        gpaw().label(copper)


@pytest.mark.usefixtures("stand_in")
def test_a_crash_is_named_with_its_error_and_the_last_lines_of_the_output(copper, monkeypatch):
    monkeypatch.setenv("STAND_IN_DOES", "raise MemoryError('too big')")
    with pytest.raises(
        ReferenceFailure,
        match=r"(?s)^engine_failed: GPAW ended with code 1: .*MemoryError: too big.*stand-in for",
    ):
        gpaw().label(copper)


@pytest.mark.usefixtures("stand_in")
def test_a_calculation_that_takes_too_long_is_killed(copper, monkeypatch):
    monkeypatch.setenv("STAND_IN_DOES", "time.sleep(60)")
    with pytest.raises(ReferenceFailure, match=r"^engine_failed: .*within 1\.5 s \(timeout_s\)"):
        gpaw(timeout_s=1.5).label(copper)


@pytest.mark.usefixtures("stand_in")
def test_the_scratch_folder_is_gone_afterwards(copper, monkeypatch, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    gpaw().label(copper)
    monkeypatch.setenv("STAND_IN_DOES", "raise MemoryError")
    with pytest.raises(ReferenceFailure):
        gpaw().label(copper)
    assert list(scratch.iterdir()) == []


@pytest.mark.usefixtures("stand_in")
def test_an_interpreter_with_gpaw_is_found_installed():
    gpaw().check_installed()
    gpaw(python=sys.executable).check_installed()


def test_an_interpreter_without_gpaw_is_told_with_its_recipe(tmp_path, monkeypatch):
    broken = tmp_path / "gpaw.py"
    broken.write_text("raise ImportError('no C extension')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        MissingDependencyError,
        match=r"make gpaw.*pip install 'voltaloop\[gpaw\]'.*reference\.python.*no C extension",
    ):
        gpaw().check_installed()


def test_a_missing_interpreter_is_named():
    with pytest.raises(MissingDependencyError, match=r"no interpreter '/no/such/python'"):
        gpaw(python="/no/such/python").check_installed()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hubbard_u": {"Nj": 6.2}}, "'Nj' is not allowed here"),
        ({"hubbard_u": {"O": 6.2}}, "'O' is not allowed here"),
        ({"initial_moments": {"X": 1}}, "'X' is not allowed here"),
        ({"kpts": [3, 3, 0]}, r"at least 1, got \[3, 3, 0\]"),
        ({"timeout_s": 0}, "timeout_s: Input should be greater than 0"),
        ({"mixer": {"betta": 0.1}}, "mixer.betta"),
    ],
)
def test_a_wrong_setting_is_refused(settings, message):
    with pytest.raises(CampaignFileError, match=message):
        gpaw(**settings)


@pytest.mark.usefixtures("stand_in")
def test_a_calculation_ends_when_the_worker_that_started_it_is_gone(copper, monkeypatch, tmp_path):
    monkeypatch.setenv("STAND_IN_DOES", "time.sleep(60)")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "job.json").write_text(json.dumps(gpaw()._job(copper)))
    worker = (
        "import subprocess, sys, time, pathlib\n"
        f"run = subprocess.Popen([sys.executable, {str(SCRIPT)!r}, 'job.json', 'result.json'])\n"
        "while not pathlib.Path('gpaw.txt').exists(): time.sleep(0.05)\n"
        "print(run.pid)\n"
    )
    # Run as a file of the package's folder the script would import its neighbour gpaw.py.
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    done = subprocess.run(
        [sys.executable, "-c", worker],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        timeout=30,
    )
    orphan = psutil.Process(int(done.stdout))
    assert psutil.wait_procs([orphan], timeout=10)[0] or orphan.status() == psutil.STATUS_ZOMBIE


def test_the_script_needs_nothing_of_voltaloop():
    assert "import voltaloop" not in SCRIPT.read_text()
    assert "from voltaloop" not in SCRIPT.read_text()

"""The GPAW reference around a stand-in for the gpaw package, so that no DFT runs here."""

import json
import signal
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

from voltaloop.core import (
    CampaignFileError,
    Frame,
    MissingDependencyError,
    ReferenceFailure,
    StorageError,
)
from voltaloop.references import Gate, build_reference, label_frame
from voltaloop.references import gpaw as gpaw_module
from voltaloop.references.gpaw import Gpaw, reduced

SCRIPT = Path(gpaw_module.__file__).with_name("gpaw_run.py")

STAND_IN = """
import errno, json, os, shutil, sys, time
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
        self.params = parameters
        self.widths = []
        if txt is not None:
            self.log = open(txt, "w", buffering=1)
            self.log.write("stand-in for GPAW\\n")

    def create_new_calculation_from_old(self, atoms):
        self.reset()

    def calculate(self, *args):
        self.widths.append(self.params["occupations"]["width"])
        with open(os.environ["STAND_IN_RECORD"], "w") as record:
            threads = os.environ["OMP_NUM_THREADS"]
            json.dump({**self.params, "threads": threads, "widths": self.widths}, record)
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


def test_a_wider_smearing_comes_before_the_one_asked_for(stand_in, copper):
    label = gpaw(start_width_eV=0.3, width_eV=0.05).label(copper)
    assert stand_in()["widths"] == [0.3, 0.05]
    assert label.energy == gpaw().label(copper).energy


@pytest.mark.parametrize("rung", Gpaw.LADDER, ids=lambda rung: rung.name)
def test_no_rung_changes_the_level_of_theory(rung):
    base = {"ecut_eV": 650, "kpts": [3, 3, 2], "xc": "RPBE", "width_eV": 0.07, "maxiter": 50}
    kept = ("ecut_eV", "kpts", "xc", "width_eV", "setups")
    plain = gpaw(**base)._job(layered_oxide())
    climbed = gpaw(**rung.applied_to(base))._job(layered_oxide())
    assert climbed != plain
    assert {key: climbed[key] for key in kept} == {key: plain[key] for key in kept}


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
        mixer={"backend": "pulay", "beta": 0.1},
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
        "mixer": {"backend": "pulay", "beta": 0.1, "nmaxold": 10, "weight": 20.0},
        "threads": "2",
        "widths": [0.2],
    }


def test_moments_start_from_the_element_where_the_frame_has_none():
    assert gpaw()._job(layered_oxide("Ni"))["frame"]["magmoms"] == [0, 1, 0, 0]
    assert gpaw()._job(layered_oxide("Mn"))["frame"]["magmoms"] == [0, 4, 0, 0]


def test_moments_of_the_frame_win_over_those_of_the_element():
    frame = replace(layered_oxide("Ni"), magmoms=np.array([0.0, -0.8, 0.0, 0.0]))
    assert gpaw()._job(frame)["frame"]["magmoms"] == [0, -0.8, 0, 0]


@pytest.mark.parametrize(
    ("source", "metal", "moment"),
    [
        ("elements", "Ni", 1.0),
        ("high_spin", "Ni", 3.0),
        ("low_spin", "Ni", 1.0),
        ("high_spin", "Co", 4.0),
        ("high_spin", "Mn", 4.0),
        ("low_spin", "Mn", 2.0),
    ],
)
def test_moments_can_start_from_the_lithium_content_whatever_the_frame_brings(
    source, metal, moment
):
    frame = replace(layered_oxide(metal), magmoms=np.array([0.0, -0.8, 0.0, 0.0]))
    assert gpaw(moments_from=source)._job(frame)["frame"]["magmoms"] == [0, moment, 0, 0]


def test_without_lithium_nickel_has_no_low_spin_moment_and_a_large_high_spin_one():
    full = layered_oxide("Ni")
    empty = Frame(numbers=full.numbers[1:], positions=full.positions[1:], cell=full.cell)
    assert gpaw(moments_from="low_spin")._job(empty)["frame"]["magmoms"] is None
    assert gpaw(moments_from="high_spin")._job(empty)["frame"]["magmoms"] == [4, 0, 0]


def test_moments_of_no_oxide_start_from_the_element():
    nickel = Frame.from_atoms(bulk("Ni"))
    assert gpaw(moments_from="high_spin")._job(nickel)["frame"]["magmoms"] == [1]


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
def test_an_error_is_named_with_its_text_and_the_last_lines_of_the_output(copper, monkeypatch):
    monkeypatch.setenv("STAND_IN_DOES", "raise ValueError('too odd')")
    with pytest.raises(
        ReferenceFailure,
        match=r"(?s)^engine_failed: GPAW ended with code 1: .*ValueError: too odd.*stand-in for",
    ):
        gpaw().label(copper)


@pytest.mark.usefixtures("stand_in")
def test_a_failure_keeps_the_input_the_output_and_the_errors(copper, monkeypatch):
    monkeypatch.setenv("STAND_IN_DOES", "raise ValueError('too odd')")
    with pytest.raises(ReferenceFailure) as caught:
        gpaw().label(copper)
    files = caught.value.files
    assert sorted(files) == ["gpaw.txt", "job.json", "stderr.txt"]
    assert json.loads(files["job.json"])["xc"] == "PBE"
    assert files["gpaw.txt"] == "stand-in for GPAW\n"
    assert "ValueError: too odd" in files["stderr.txt"]


@pytest.mark.usefixtures("stand_in")
def test_a_label_the_gate_refuses_keeps_gpaw_s_output(copper):
    with pytest.raises(ReferenceFailure, match=r"^force_too_large") as caught:
        label_frame(gpaw(), copper, Gate(max_force_eV_per_A=1e-6))
    assert caught.value.files["gpaw.txt"] == "stand-in for GPAW\n"
    assert caught.value.label is not None


@pytest.mark.usefixtures("stand_in")
def test_want_of_memory_is_named(copper, monkeypatch):
    monkeypatch.setenv("STAND_IN_DOES", "raise MemoryError('too big')")
    with pytest.raises(ReferenceFailure, match=r"^out_of_memory: MemoryError: too big"):
        gpaw().label(copper)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("counts", "reason"),
    [((3, 4), "out_of_memory"), ((3, 3), "crashed"), ((None, None), "out_of_memory")],
    ids=["the system killed for memory", "somebody killed it", "the system does not say"],
)
def test_a_killed_calculation_was_too_big_if_the_system_may_have_done_it(
    copper, monkeypatch, counts, reason
):
    monkeypatch.setenv("STAND_IN_DOES", "os.kill(os.getpid(), 9)")
    answers = iter(counts)
    monkeypatch.setattr(gpaw_module, "_killed_for_memory", lambda: next(answers))
    with pytest.raises(ReferenceFailure, match=rf"^{reason}: GPAW was .*SIGKILL"):
        gpaw().label(copper)


@pytest.mark.usefixtures("stand_in")
def test_a_calculation_ended_by_a_signal_crashed(copper, monkeypatch):
    monkeypatch.setenv("STAND_IN_DOES", f"os.kill(os.getpid(), {int(signal.SIGSEGV)})")
    with pytest.raises(ReferenceFailure, match=r"^crashed: .*signal SIGSEGV"):
        gpaw().label(copper)


@pytest.mark.usefixtures("stand_in")
def test_a_signal_told_by_a_shell_around_the_interpreter_is_one(copper, monkeypatch):
    monkeypatch.setenv("STAND_IN_DOES", f"os._exit(128 + {int(signal.SIGABRT)})")
    with pytest.raises(ReferenceFailure, match=r"^crashed: .*signal SIGABRT"):
        gpaw().label(copper)


@pytest.mark.skipif(not Path("/proc/vmstat").exists(), reason="Linux counts them there")
def test_linux_counts_what_it_killed_for_want_of_memory():
    assert gpaw_module._killed_for_memory() >= 0


@pytest.mark.usefixtures("stand_in")
def test_a_calculation_that_takes_too_long_is_killed(copper, monkeypatch):
    monkeypatch.setenv("STAND_IN_DOES", "time.sleep(60)")
    with pytest.raises(
        ReferenceFailure, match=r"^timed_out: .*within 1\.5 s \(timeout_s\)"
    ) as caught:
        gpaw(timeout_s=1.5).label(copper)
    assert "gpaw.txt" in caught.value.files


@pytest.mark.usefixtures("stand_in")
def test_a_full_disk_under_the_calculation_is_no_failure_of_the_frame(copper, monkeypatch):
    monkeypatch.setenv("STAND_IN_DOES", "raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))")
    with pytest.raises(StorageError, match=r"could not write to its scratch folder .*No space"):
        gpaw().label(copper)


@pytest.mark.usefixtures("stand_in")
def test_a_scratch_folder_removed_under_the_calculation_is_no_failure_of_the_frame(
    copper, monkeypatch
):
    monkeypatch.setenv("STAND_IN_DOES", "shutil.rmtree(os.getcwd())")
    with pytest.raises(StorageError, match="was removed while a calculation used it"):
        gpaw().label(copper)


@pytest.mark.usefixtures("stand_in")
def test_a_temporary_folder_that_is_gone_is_made_again(copper, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    assert np.isfinite(gpaw().label(copper).energy)


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
        ({"moments_from": "guess"}, "moments_from: .*'high_spin'"),
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

"""GPAW: real density-functional theory, run as a subprocess.

GPAW: https://doi.org/10.1063/5.0182685, Hubbard U: https://doi.org/10.1103/PhysRevB.57.1505.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar, Literal

import numpy as np
from ase.data import chemical_symbols
from ase.geometry import wrap_positions
from pydantic import BaseModel, ConfigDict, Field, field_validator

from voltaloop.core import (
    FloatArray,
    Frame,
    Label,
    MissingDependencyError,
    ReferenceFailure,
    Rung,
    StorageError,
    did_you_mean,
)
from voltaloop.references.dispersion import DispersionSettings, check_dispersion, with_dispersion
from voltaloop.references.failures import read_files, scratch_folder
from voltaloop.references.gpaw_run import STORAGE_EXIT_CODE
from voltaloop.references.moments import TOTAL_MOMENT
from voltaloop.references.oxidation import (
    MAGNETIC_METALS,
    TRANSITION_METALS,
    high_spin_moment,
    low_spin_moment,
    oxidation_state,
)

STRESS_ECUT_EV = 800.0
"""Below it the Pulay stress is of the size of the stress itself (3 GPa at 600 eV, 56 at 400)."""

LOG_LINES = 15
"""Lines of GPAW's own output that a failure keeps."""

_SCRIPT = Path(__file__).with_name("gpaw_run.py")
_NON_METALS = (1, 2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 33, 34, 35, 36, 52, 53, 54, 85, 86)
_FILES = ("job.json", "gpaw.txt", "stderr.txt")
"""What a failure keeps of the scratch folder."""

_SHELL_SIGNALS = 128
"""A shell script around the interpreter tells a signal n as the exit code 128 + n."""

_MOST_STEPS = 600
"""Self-consistency steps of a second try: a step costs as much, and patience is its point."""


class Mixer(BaseModel):
    """How GPAW mixes the density from step to step; see its manual on density mixing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backend: Literal["msr1", "pulay"] = Field(
        default="msr1",
        description="Scheme: msr1 adapts its step; pulay does not, and took four times the steps "
        "on NiO2 with U, to another electronic solution.",
    )
    beta: float = Field(
        default=0.05, gt=0, le=1, description="Share of the new density; less is steadier."
    )
    nmaxold: int = Field(default=10, ge=1, description="Number of old densities used.")
    weight: float = Field(
        default=20.0, gt=0, description="Weight of long wavelengths in the metric (20-100)."
    )


class GpawSettings(DispersionSettings):
    """Options of the reference ``gpaw``."""

    python: str | None = Field(
        default=None,
        description="Interpreter that has GPAW; default: the one that runs voltaloop.",
    )
    xc: Literal["PBE", "RPBE", "revPBE"] = Field(
        default="PBE", description="Functional; D3 takes the parameters of the same one."
    )
    ecut_eV: float = Field(
        default=800.0,
        ge=200,
        description="Plane-wave cutoff in eV. Stress is given from 800 eV on; below that labels "
        "hold energy and forces only. 4 atoms take 9 s at 400 eV and 36 s at 800.",
    )
    kpts: tuple[int, int, int] | None = Field(
        default=None,
        description="Size of the k-point mesh (with gamma) along the Niggli-reduced cell's "
        "vectors, shortest first; default: from the lengths below.",
    )
    kpts_length_A: float = Field(
        default=7.2,
        gt=0,
        description="k-point density as a length in Å: the mesh repeats every vector of the "
        "reduced cell at least to this length. 7.2 gives 3x3x2 for primitive LiNiO2 and 2x2x2 "
        "for 16 atoms of it.",
    )
    kpts_length_metal_A: float = Field(
        default=22.3,
        gt=0,
        description="The same for frames of metals only, which have a Fermi surface. 22.3 gives "
        "8x8x8 for primitive bcc Li.",
    )
    width_eV: float = Field(
        default=0.1, gt=0, description="Width of the Fermi-Dirac occupations in eV."
    )
    start_width_eV: float | None = Field(
        default=None,
        gt=0,
        description="Width with which the density is converged first, in eV; the label is then "
        "converged from that density with width_eV. It costs one more calculation.",
    )
    hubbard_u: dict[str, float] = Field(
        default_factory=dict,
        description="Hubbard U on the d shell in eV by element, for example {Ni: 6.2}.",
    )
    spin: bool = Field(
        default=True,
        description="Spin polarised wherever an initial moment is not zero; false: never.",
    )
    moments_from: Literal["frame", "elements", "high_spin", "low_spin"] = Field(
        default="frame",
        description="Where initial moments come from: frame, its own, else by element; elements, "
        "those of initial_moments always; high_spin or low_spin, from the d electrons that the "
        "lithium content leaves the transition metals, else (no such oxide) by element.",
    )
    initial_moments: dict[str, float] = Field(
        default={"Ni": 1.0, "Mn": 4.0, "Fe": 4.0},
        description="Initial moments in μB by element.",
    )
    density_convergence: float = Field(
        default=1e-4, gt=0, description="Allowed change of the density in electrons per electron."
    )
    maxiter: int = Field(
        default=200, ge=1, description="Self-consistency steps before the frame is given up."
    )
    mixer: Mixer | None = Field(
        default=None, description="Density mixing; default: GPAW's own choice."
    )
    timeout_s: float = Field(
        default=7200.0, gt=0, description="Seconds after which a calculation is killed."
    )
    threads: int = Field(default=1, ge=1, description="OpenMP threads of the calculation.")

    @field_validator("kpts")
    @classmethod
    def _at_least_one(cls, value: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if value is not None and min(value) < 1:
            raise ValueError(f"expected three numbers of at least 1, got {list(value)}")
        return value

    @field_validator("hubbard_u")
    @classmethod
    def _on_d_shells(cls, value: dict[str, float]) -> dict[str, float]:
        _check_symbols(value, [_symbol(number) for number in TRANSITION_METALS])
        return value

    @field_validator("initial_moments")
    @classmethod
    def _of_elements(cls, value: dict[str, float]) -> dict[str, float]:
        _check_symbols(value, [_symbol(number) for number in range(1, 104)])
        return value


@dataclass(frozen=True, slots=True)
class Gpaw:
    """GPAW as a reference: energy (extrapolated to zero width), forces, stress from 800 eV on, and
    the moments of spin-polarised calculations."""

    Settings: ClassVar[type[GpawSettings]] = GpawSettings
    # Other mixing first, because it changes nothing but the way. Other initial moments may lead to
    # another solution, which is what the gate asks for when it refuses the moments. Frames bring
    # moments of their own seldom, so those by element are mostly those of the first try: no rung.
    # Nothing is declared for timed_out and out_of_memory: more time and memory are the user's to
    # give, and fewer threads hold as much memory.
    LADDER: ClassVar[tuple[Rung, ...]] = (
        Rung(
            name=f"gentler mixing of the density, up to {_MOST_STEPS} steps",
            reasons=("not_converged",),
            options={"mixer": {"beta": 0.02, "nmaxold": 20}, "maxiter": _MOST_STEPS},
        ),
        Rung(
            name="density converged with a smearing of 0.2 eV first, then with the one asked for",
            reasons=("not_converged",),
            options={"start_width_eV": 0.2, "maxiter": _MOST_STEPS},
        ),
        Rung(
            name="initial moments of high spin for the lithium content",
            reasons=("not_converged", "moments_insane", "moments_jumped", "energy_inconsistent"),
            options={"moments_from": "high_spin", "maxiter": _MOST_STEPS},
        ),
        Rung(
            name="initial moments of low spin for the lithium content",
            reasons=("not_converged", "moments_insane", "moments_jumped", "energy_inconsistent"),
            options={"moments_from": "low_spin", "maxiter": _MOST_STEPS},
        ),
        Rung(
            name="density converged a hundred times tighter",
            reasons=("energy_inconsistent",),
            options={"density_convergence": 1e-6, "maxiter": _MOST_STEPS},
        ),
    )

    settings: GpawSettings

    def check_installed(self) -> None:
        check_dispersion(self.settings, extra="gpaw")
        python = _interpreter(self.settings.python)
        with scratch_folder("voltaloop-gpaw-") as scratch:
            code = _run([python, "-c", "import gpaw, gpaw.cgpaw"], scratch, 120.0, 1)
            said = _tail(scratch / "stderr.txt", 1)
        if code != 0:
            raise MissingDependencyError(
                f"'gpaw' is not installed for {python}. Install it with: make gpaw, or "
                "GPAW_CONFIG=requirements/gpaw-config.py pip install 'voltaloop[gpaw]', or name "
                f"its interpreter in reference.python. It said: {said}"
            )

    def executes(self) -> list[str]:
        """The interpreter, as the settings name it."""
        return [self.settings.python or sys.executable]

    def label(self, frame: Frame) -> Label:
        """Raises ReferenceFailure with GPAW's last words: "not_converged", "timed_out",
        "out_of_memory", "crashed" (ended by a signal) or "engine_failed"."""
        return self.label_and_files(frame)[0]

    def label_and_files(self, frame: Frame) -> tuple[Label, Mapping[str, str]]:
        """The label, and GPAW's input and output."""
        started = monotonic()
        with scratch_folder("voltaloop-gpaw-") as scratch:
            result = self._calculate(reduced(frame), scratch)
            files = read_files(scratch, _FILES)
        label = Label(
            energy=result["energy"],
            forces=result["forces"],
            stress=result["stress"],
            magmoms=result["magmoms"] if self._moments(frame) is not None else None,
            details={
                "engine": f"GPAW {result['version']}",
                "free_energy_eV": result["free_energy"],
                TOTAL_MOMENT: result["total_magmom"],
                "scf_iterations": result["iterations"],
                "wall_s": round(monotonic() - started, 1),
            },
        )
        bound = with_dispersion(
            label, frame, self.settings, functional=self.settings.xc, extra="gpaw"
        )
        return bound, files

    def _calculate(self, frame: Frame, scratch: Path) -> dict[str, Any]:
        """Run GPAW on a reduced frame in the scratch folder and read its result."""
        # Run from the package's folder the script would import its neighbour gpaw.py as GPAW.
        shutil.copy(_SCRIPT, scratch)
        (scratch / "job.json").write_text(json.dumps(self._job(frame)))
        command = [
            _interpreter(self.settings.python), _SCRIPT.name, "job.json", "result.json",
        ]  # fmt: skip
        killed_before = _killed_for_memory()
        try:
            code = _run(command, scratch, self.settings.timeout_s, self.settings.threads)
        except subprocess.TimeoutExpired as err:
            raise _failure(
                scratch,
                "timed_out",
                f"GPAW did not finish within {self.settings.timeout_s:g} s (timeout_s) and was "
                "killed.",
            ) from err
        if code != 0:
            raise _ended_badly(scratch, code, killed_before)
        return _result(scratch)

    def _job(self, frame: Frame) -> dict[str, Any]:
        moments = self._moments(frame)
        return {
            "frame": {**frame.to_json(), "magmoms": moments},
            "ecut_eV": self.settings.ecut_eV,
            "xc": self.settings.xc,
            "kpts": self._mesh(frame),
            "width_eV": self.settings.width_eV,
            "start_width_eV": self.settings.start_width_eV,
            "setups": {symbol: f":d,{u},0" for symbol, u in self.settings.hubbard_u.items()},
            "mixer": None if self.settings.mixer is None else self.settings.mixer.model_dump(),
            "density_convergence": self.settings.density_convergence,
            "maxiter": self.settings.maxiter,
            "stress": self.settings.ecut_eV >= STRESS_ECUT_EV,
            "txt": "gpaw.txt",
        }

    def _moments(self, frame: Frame) -> list[float] | None:
        """Initial moments (n_atoms,) in μB, or None for a calculation without spin."""
        if not self.settings.spin:
            return None
        moments = self._starting_moments(frame)
        return [float(moment) for moment in moments] if np.any(moments) else None

    def _starting_moments(self, frame: Frame) -> FloatArray:
        source = self.settings.moments_from
        if source == "frame" and frame.magmoms is not None:
            return frame.magmoms
        state = oxidation_state(frame.numbers)
        if source in ("high_spin", "low_spin") and state is not None:
            of_metal = high_spin_moment if source == "high_spin" else low_spin_moment
            return np.array(
                [of_metal(int(z), state) if z in MAGNETIC_METALS else 0.0 for z in frame.numbers]
            )
        by_element = self.settings.initial_moments
        return np.array([by_element.get(_symbol(z), 0.0) for z in frame.numbers])

    def _mesh(self, frame: Frame) -> list[int]:
        """The mesh by its real-space length (https://doi.org/10.1103/PhysRevB.45.13891).

        Lengths of reduced vectors change smoothly under strain; those of reciprocal vectors jump
        when the reduction picks other vectors, and the energy would jump with the mesh.
        """
        if self.settings.kpts is not None:
            return list(self.settings.kpts)
        metallic = not np.isin(frame.numbers, _NON_METALS).any()
        length = self.settings.kpts_length_metal_A if metallic else self.settings.kpts_length_A
        return [int(np.ceil(length / vector)) for vector in np.linalg.norm(frame.cell, axis=1)]


def reduced(frame: Frame) -> Frame:
    """The same crystal in its Niggli-reduced, right-handed cell, atoms wrapped into it.

    New lattice vectors are integer sums of the old ones and nothing is turned, so forces and
    stress need no mapping back.
    """
    _, operation = frame.to_atoms().cell.niggli_reduce()
    cell = np.rint(operation).T @ frame.cell
    if np.linalg.det(cell) < 0:
        cell = -cell
    return replace(frame, cell=cell, positions=wrap_positions(frame.positions, cell, pbc=True))


def _run(command: Sequence[str], folder: Path, timeout_s: float, threads: int) -> int:
    """Run to the end, standard error into stderr.txt of the folder; the exit code."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MPLBACKEND": "agg"}
    with (folder / "stderr.txt").open("wb") as errors:
        return subprocess.run(  # noqa: S603 - a list, no shell; the interpreter is the user's choice
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            timeout=timeout_s,
            check=False,
        ).returncode


def _result(scratch: Path) -> dict[str, Any]:
    file = scratch / "result.json"
    if not file.exists():
        raise _failure(scratch, "engine_failed", "GPAW ended well but left no result.")
    result: dict[str, Any] = json.loads(file.read_text())
    if result["status"] != "ok":
        raise _failure(scratch, result["status"], result["message"])
    return result


def _ended_badly(
    scratch: Path, code: int, killed_before: int | None
) -> ReferenceFailure | StorageError:
    said = _tail(scratch / "stderr.txt", 5)
    if code == STORAGE_EXIT_CODE:
        return StorageError(
            f"GPAW could not write to its scratch folder {scratch}: {said}. Free some space there, "
            "or set TMPDIR to another folder."
        )
    number = _signal_of(code)
    if number is None:
        return _failure(scratch, "engine_failed", f"GPAW ended with code {code}: {said}")
    name = signal.Signals(number).name
    if number == signal.SIGKILL and _was_for_memory(killed_before):
        return _failure(
            scratch,
            "out_of_memory",
            f"GPAW was killed ({name}), most likely by the system for want of memory. Label "
            "smaller cells, or fewer frames at once on one machine.",
        )
    return _failure(scratch, "crashed", f"GPAW was ended by the signal {name}: {said}")


def _failure(scratch: Path, reason: str, text: str) -> ReferenceFailure:
    """With the last lines of the output in the detail, and all of it among the files."""
    log = _tail(scratch / "gpaw.txt", LOG_LINES)
    detail = f"{text}\nIts last lines:\n{log}"
    return ReferenceFailure(reason, detail, files=read_files(scratch, _FILES))


def _signal_of(code: int) -> int | None:
    number = -code if code < 0 else code - _SHELL_SIGNALS
    return number if number in list(signal.Signals) else None


def _was_for_memory(killed_before: int | None) -> bool:
    """Whether the system killed a process for memory since; taken as true where it does not count
    them, because little else sends SIGKILL."""
    now = _killed_for_memory()
    return killed_before is None or now is None or now > killed_before


def _killed_for_memory() -> int | None:
    """How many processes Linux has killed for want of memory since it started."""
    file = Path("/proc/vmstat")
    if not file.is_file():
        return None
    counts = dict(line.split(maxsplit=1) for line in file.read_text().splitlines())
    return int(counts["oom_kill"]) if "oom_kill" in counts else None


def _tail(file: Path, lines: int) -> str:
    if not file.is_file():
        return "(none)"
    text = file.read_text(errors="replace")
    return "\n".join(text.strip().splitlines()[-lines:])


def _interpreter(python: str | None) -> str:
    found = shutil.which(python or sys.executable)
    if found is None:
        raise MissingDependencyError(
            f"There is no interpreter '{python}'. reference.python expects the path of a Python "
            "that has GPAW; leave it out to use the one that runs voltaloop."
        )
    return os.path.abspath(found)


def _symbol(number: int) -> str:
    return str(chemical_symbols[number])


def _check_symbols(given: dict[str, float], allowed: Sequence[str]) -> None:
    for symbol in given:
        if symbol not in allowed:
            raise ValueError(
                f"'{symbol}' is not allowed here.{did_you_mean(symbol, allowed)} "
                f"Allowed: {', '.join(allowed)}"
            )

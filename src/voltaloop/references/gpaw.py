"""GPAW: real density-functional theory, run as a subprocess.

GPAW: https://doi.org/10.1063/5.0182685, Hubbard U: https://doi.org/10.1103/PhysRevB.57.1505.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, ClassVar, Literal

import numpy as np
from ase.data import chemical_symbols
from ase.geometry import wrap_positions
from pydantic import BaseModel, ConfigDict, Field, field_validator

from voltaloop.core import (
    Frame,
    Label,
    MissingDependencyError,
    ReferenceFailure,
    Rung,
    did_you_mean,
)
from voltaloop.references.dispersion import DispersionSettings, check_dispersion, with_dispersion

STRESS_ECUT_EV = 800.0
"""Below it the Pulay stress is of the size of the stress itself (3 GPa at 600 eV, 56 at 400)."""

LOG_LINES = 15
"""Lines of GPAW's own output that a failure keeps."""

_SCRIPT = Path(__file__).with_name("gpaw_run.py")
_NON_METALS = (1, 2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 33, 34, 35, 36, 52, 53, 54, 85, 86)
_TRANSITION_METALS = (*range(21, 31), *range(39, 49), *range(72, 81))


class Mixer(BaseModel):
    """How GPAW mixes the density from step to step; see its manual on density mixing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["separate", "sum", "difference"] = Field(
        default="separate",
        description="Which spin densities are mixed together; difference helps magnetic metals.",
    )
    beta: float = Field(
        default=0.05, gt=0, le=1, description="Share of the new density; less is steadier."
    )
    nmaxold: int = Field(default=5, ge=1, description="Number of old densities used.")
    weight: float = Field(
        default=50.0, gt=0, description="Weight of long wavelengths in the metric (50-100)."
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
    hubbard_u: dict[str, float] = Field(
        default_factory=dict,
        description="Hubbard U on the d shell in eV by element, for example {Ni: 6.2}.",
    )
    spin: bool = Field(
        default=True,
        description="Spin polarised wherever an initial moment is not zero; false: never.",
    )
    initial_moments: dict[str, float] = Field(
        default={"Ni": 1.0, "Mn": 4.0, "Fe": 4.0},
        description="Initial moments in μB by element, for frames that bring none.",
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
        _check_symbols(value, [_symbol(number) for number in _TRANSITION_METALS])
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
    LADDER: ClassVar[tuple[Rung, ...]] = ()

    settings: GpawSettings

    def check_installed(self) -> None:
        check_dispersion(self.settings, extra="gpaw")
        python = _interpreter(self.settings.python)
        with TemporaryDirectory(prefix="voltaloop-gpaw-") as scratch:
            probe = _run([python, "-c", "import gpaw, gpaw.cgpaw"], Path(scratch), 120.0, 1)
        if probe.returncode != 0:
            raise MissingDependencyError(
                f"'gpaw' is not installed for {python}. Install it with: make gpaw, or "
                "GPAW_CONFIG=requirements/gpaw-config.py pip install 'voltaloop[gpaw]', or name "
                f"its interpreter in reference.python. It said: {_tail(probe.stderr, 1)}"
            )

    def label(self, frame: Frame) -> Label:
        """Raises ReferenceFailure "not_converged", or "engine_failed" with GPAW's last words."""
        started = monotonic()
        with TemporaryDirectory(prefix="voltaloop-gpaw-") as scratch:
            result = self._calculate(reduced(frame), Path(scratch))
        label = Label(
            energy=result["energy"],
            forces=result["forces"],
            stress=result["stress"],
            magmoms=result["magmoms"] if self._moments(frame) is not None else None,
            details={
                "engine": f"GPAW {result['version']}",
                "free_energy_eV": result["free_energy"],
                "total_magmom_muB": result["total_magmom"],
                "scf_iterations": result["iterations"],
                "wall_s": round(monotonic() - started, 1),
            },
        )
        return with_dispersion(
            label, frame, self.settings, functional=self.settings.xc, extra="gpaw"
        )

    def _calculate(self, frame: Frame, scratch: Path) -> dict[str, Any]:
        """Run GPAW on a reduced frame in the scratch folder and read its result."""
        # Run from the package's folder the script would import its neighbour gpaw.py as GPAW.
        shutil.copy(_SCRIPT, scratch)
        (scratch / "job.json").write_text(json.dumps(self._job(frame)))
        command = [
            _interpreter(self.settings.python), _SCRIPT.name, "job.json", "result.json",
        ]  # fmt: skip
        try:
            done = _run(command, scratch, self.settings.timeout_s, self.settings.threads)
        except subprocess.TimeoutExpired as err:
            raise ReferenceFailure(
                "engine_failed",
                f"GPAW did not finish within {self.settings.timeout_s:g} s (timeout_s) and was "
                f"killed. Its last lines:\n{_log(scratch)}",
            ) from err
        return _result(scratch, done)

    def _job(self, frame: Frame) -> dict[str, Any]:
        moments = self._moments(frame)
        return {
            "frame": {**frame.to_json(), "magmoms": moments},
            "ecut_eV": self.settings.ecut_eV,
            "xc": self.settings.xc,
            "kpts": self._mesh(frame),
            "width_eV": self.settings.width_eV,
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
        moments = frame.magmoms
        if moments is None:
            by_element = self.settings.initial_moments
            moments = np.array([by_element.get(_symbol(z), 0.0) for z in frame.numbers])
        return list(moments) if np.any(moments) else None

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


def _run(
    command: Sequence[str], folder: Path, timeout_s: float, threads: int
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MPLBACKEND": "agg"}
    return subprocess.run(  # noqa: S603 - a list, no shell; the interpreter is the user's choice
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def _result(scratch: Path, done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    file = scratch / "result.json"
    if done.returncode != 0 or not file.exists():
        raise ReferenceFailure(
            "engine_failed",
            f"GPAW ended with code {done.returncode}: {_tail(done.stderr, 5)}\n"
            f"Its last lines:\n{_log(scratch)}",
        )
    result: dict[str, Any] = json.loads(file.read_text())
    if result["status"] == "not_converged":
        raise ReferenceFailure(
            "not_converged", f"{result['message']}\nIts last lines:\n{_log(scratch)}"
        )
    return result


def _log(scratch: Path) -> str:
    file = scratch / "gpaw.txt"
    return _tail(file.read_text(errors="replace"), LOG_LINES) if file.exists() else "(none)"


def _tail(text: str, lines: int) -> str:
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

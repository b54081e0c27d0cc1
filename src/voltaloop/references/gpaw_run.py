"""The script that runs inside GPAW's interpreter: ``python gpaw_run.py job.json result.json``.

It is copied into a scratch folder and imports nothing of voltaloop, so that the interpreter with
GPAW needs only GPAW. The result holds ``status`` "ok" or "not_converged"; any other error ends the
script with its traceback on standard error.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any


def main(job_file: str, result_file: str) -> None:
    job = json.loads(Path(job_file).read_text())
    exit_with_parent()
    Path(result_file).write_text(json.dumps(run(job)))


def exit_with_parent() -> None:
    """End when the process that started this one is gone; nobody would read the result."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run(job: dict[str, Any]) -> dict[str, Any]:
    gpaw = import_module("gpaw")
    atoms = build_atoms(job["frame"])
    atoms.calc = build_calculator(job)
    try:
        return {"status": "ok", **results(atoms, with_stress=job["stress"])}
    except gpaw.KohnShamConvergenceError as err:
        return {"status": "not_converged", "message": str(err)}


def build_atoms(frame: dict[str, Any]) -> Any:
    return import_module("ase").Atoms(
        numbers=frame["numbers"],
        positions=frame["positions"],
        cell=frame["cell"],
        magmoms=frame["magmoms"],
        pbc=True,
    )


def build_calculator(job: dict[str, Any]) -> Any:
    gpaw = import_module("gpaw")
    optional = {name: job[name] for name in ("setups", "mixer") if job[name]}
    return gpaw.GPAW(
        mode=gpaw.PW(job["ecut_eV"]),
        xc=job["xc"],
        kpts={"size": job["kpts"], "gamma": True},
        occupations=gpaw.FermiDirac(job["width_eV"]),
        convergence={"density": job["density_convergence"]},
        maxiter=job["maxiter"],
        spinpol=job["frame"]["magmoms"] is not None,
        txt=job["txt"],
        **optional,
    )


def results(atoms: Any, *, with_stress: bool) -> dict[str, Any]:
    return {
        "energy": float(atoms.get_potential_energy()),
        "free_energy": float(atoms.get_potential_energy(force_consistent=True)),
        "forces": atoms.get_forces().tolist(),
        "stress": atoms.get_stress().tolist() if with_stress else None,
        "magmoms": atoms.get_magnetic_moments().tolist(),
        "total_magmom": float(atoms.get_magnetic_moment()),
        "iterations": int(atoms.calc.get_number_of_iterations()),
        "version": str(import_module("gpaw").__version__),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])

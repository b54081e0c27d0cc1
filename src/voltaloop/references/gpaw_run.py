"""The script that runs inside GPAW's interpreter: ``python gpaw_run.py job.json result.json``.

It is copied into a scratch folder and imports nothing of voltaloop, so that the interpreter with
GPAW needs only GPAW. The result holds ``status`` "ok", "not_converged" or "out_of_memory". A full
or lost disk ends the script with ``STORAGE_EXIT_CODE``, any other error with its traceback on
standard error.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

STORAGE_EXIT_CODE = 74
"""EX_IOERR of sysexits.h."""

STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE)


def main(job_file: str, result_file: str) -> None:
    exit_with_parent()
    try:
        job = json.loads(Path(job_file).read_text())
        Path(result_file).write_text(json.dumps(run(job)))
    except OSError as err:
        if err.errno not in STORAGE_ERRORS:
            raise
        sys.stderr.write(f"{err}\n")
        sys.exit(STORAGE_EXIT_CODE)


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
    try:
        atoms.calc = converged_first(atoms, job) if job["start_width_eV"] else build(job)
        return {"status": "ok", **results(atoms, with_stress=job["stress"])}
    except gpaw.KohnShamConvergenceError as err:
        message = str(err) or f"The density did not converge within {job['maxiter']} steps."
        return {"status": "not_converged", "message": message}
    except MemoryError as err:
        return {"status": "out_of_memory", "message": f"MemoryError: {err}"}


def converged_first(atoms: Any, job: dict[str, Any]) -> Any:
    """A calculator of the width asked for, with the density and orbitals of the wider one."""
    calculator = build({**job, "width_eV": job["start_width_eV"]})
    atoms.calc = calculator
    atoms.get_potential_energy()
    calculator.params = build({**job, "txt": None}).params
    calculator.create_new_calculation_from_old(atoms)
    return calculator


def build_atoms(frame: dict[str, Any]) -> Any:
    return import_module("ase").Atoms(
        numbers=frame["numbers"],
        positions=frame["positions"],
        cell=frame["cell"],
        magmoms=frame["magmoms"],
        pbc=True,
    )


def build(job: dict[str, Any]) -> Any:
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

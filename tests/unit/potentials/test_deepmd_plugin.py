"""DeePMD-kit's pair style is used only in the LAMMPS that it was built for."""

from importlib.metadata import version
from pathlib import Path

import pytest

from voltaloop.potentials.deepmd.plugin import find_plugin, mean_commands
from voltaloop.potentials.deepmd.program import Program


def program(tmp_path: Path, release: str) -> Program:
    """Of an environment whose plugin says that it was built for ``release``."""
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    library = packages / "deepmd" / "lib"
    library.mkdir(parents=True)
    (packages / "tensorflow").mkdir()
    for path in (
        library / "libdeepmd_lmpplugin.so",
        packages / "tensorflow" / "libtensorflow_framework.so.2",
        packages / "tensorflow" / "libtensorflow_cc.so.2",
    ):
        path.touch()
    (library / "run_config.ini").write_text(f"[CONFIG]\nLAMMPS_VERSION = {release}\n")
    return Program(dp=str(tmp_path), python=str(tmp_path / "bin" / "python"), version="3.2.0")


def test_the_plugin_of_another_update_is_left_alone(tmp_path: Path) -> None:
    assert find_plugin(program(tmp_path, "stable_22Jul2025_update99")) is None
    assert find_plugin(program(tmp_path / "first", "stable_22Jul2025")) is None
    assert find_plugin(program(tmp_path / "unknown", "develop")) is None


def test_the_plugin_of_the_same_update_is_found_unless_a_library_is_missing(
    tmp_path: Path,
) -> None:
    year, month, day, update = (int(part) for part in version("lammps").split(".")[:4])
    names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    release = f"stable_{day}{names[month - 1]}{year}_update{update}"
    found = find_plugin(program(tmp_path / "whole", release))
    assert found is not None
    assert found.library.name == "libdeepmd_lmpplugin.so"
    broken = program(tmp_path / "broken", release)
    next((tmp_path / "broken").rglob("libtensorflow_cc.so.2")).unlink()
    assert find_plugin(broken) is None


@pytest.mark.parametrize(("count", "second"), [(1, "deepmd Li O"), (3, "deepmd 2 Li O")])
def test_the_mean_is_a_scaled_sum_with_the_repulsion_beside_it(count: int, second: str) -> None:
    style, *coefficients = mean_commands([Path(f"/m{k}") for k in range(count)], ("Li", "O"))
    weights = [float(word) for word in style.split() if word.startswith("0.") and len(word) > 4]
    assert sum(weights) == pytest.approx(1.0 if count > 1 else 0.0)
    assert style.endswith("1.0 zbl 0.8 1.4")
    assert f"pair_coeff * * {second}" in coefficients
    assert sum("zbl" in command for command in coefficients) == 3

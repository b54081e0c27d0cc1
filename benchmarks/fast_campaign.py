"""A real campaign of half a minute for benchmarks that run it again and again: pair terms stand in
for quantum mechanics, everything else is what users run."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

import yaml

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
sys.path.append(str(SUPPORT))

from pair_campaign import campaign  # noqa: E402 - from the folder above

UNHURRIED = {"labels": 24, "wall_time": "10h"}
PROGRAM = str(Path(sysconfig.get_path("scripts")) / "voltaloop")


def write_campaign(folder: Path, name: str, **sections: Any) -> Path:
    """The campaign's file; ``stop`` without a limit of time unless it is given one."""
    sections["stop"] = {**UNHURRIED, **sections.get("stop", {})}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(campaign(name, **sections)), encoding="utf-8")
    return path


def environment() -> dict[str, str]:
    """For programs that run it."""
    paths = filter(None, (str(SUPPORT), os.environ.get("PYTHONPATH")))
    own = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    return {**os.environ, **own}

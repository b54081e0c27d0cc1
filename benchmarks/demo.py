"""The demo from its campaign file to its answer, against what it must reach.

Runs ``voltaloop run examples/lno.yaml`` in a fresh folder and watches the memory of all its
processes (proportional set size, so that shared pages count once).
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from output import finish, parser

EXAMPLE = Path(__file__).parents[1] / "examples" / "lno.yaml"


def tree_memory(process: psutil.Process) -> float:
    """GiB of a process and all its children; those that ended meanwhile count nothing."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total / 2**30


def run(campaign: Path, folder: Path) -> tuple[float, float]:
    """Seconds and peak GiB of the whole command."""
    command = [sys.executable, "-m", "voltaloop", "run", str(campaign), "--out", str(folder), "-q"]
    start, peak = time.perf_counter(), 0.0
    with subprocess.Popen(command) as child:  # noqa: S603 - our own program
        watched = psutil.Process(child.pid)
        while child.poll() is None:
            try:
                peak = max(peak, tree_memory(watched))
            except psutil.NoSuchProcess:
                break
            time.sleep(1.0)
    if child.returncode != 0:
        raise SystemExit(f"voltaloop run ended with exit code {child.returncode}")
    return time.perf_counter() - start, peak


def judged(answer: dict[str, Any], wall_s: float, peak_gib: float) -> dict[str, Any]:
    """Every figure with what was asked of it and whether it was met."""
    deviations = {
        x: 100 * (own / theirs - 1)
        for x, own, theirs in zip(
            answer["x"],
            answer["volume_A3_per_fu"],
            answer["reference_volume_A3_per_fu"],
            strict=True,
        )
        if x in (1.0, 0.5, 0.0) and theirs is not None
    }
    voltage = 1000 * (answer["average_voltage_V"] - answer["reference_average_voltage_V"])
    figures = {
        "wall_s": (wall_s, wall_s <= 600),
        "labels": (answer["labels"], answer["labels"] <= 150),
        "energy_meV_per_atom": (
            answer["heldout_energy_rmse_meV_per_atom"],
            answer["heldout_energy_rmse_meV_per_atom"] <= 5,
        ),
        "force_eV_per_A": (
            answer["heldout_force_rmse_eV_per_A"],
            answer["heldout_force_rmse_eV_per_A"] <= 0.12,
        ),
        "voltage_off_mV": (voltage, abs(voltage) <= 50),
        "coverage_energy": (
            answer["coverage95_energy"],
            0.9 <= answer["coverage95_energy"] <= 0.99,
        ),
        "coverage_force": (answer["coverage95_force"], 0.9 <= answer["coverage95_force"] <= 0.99),
        "peak_GiB": (peak_gib, peak_gib <= 4),
    }
    figures |= {
        f"volume_off_percent_x{x:g}": (value, abs(value) <= 1) for x, value in deviations.items()
    }
    return {name: {"value": value, "met": bool(met)} for name, (value, met) in figures.items()}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--campaign", type=Path, default=EXAMPLE)
    arguments.add_argument("--out", type=Path, default=Path("runs/benchmark-demo"))
    given = arguments.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    wall_s, peak_gib = run(given.campaign, given.out)
    answer = json.loads((given.out / "answer.json").read_text(encoding="utf-8"))
    figures = judged(answer, wall_s, peak_gib)
    for name, figure in figures.items():
        print(f"{'met    ' if figure['met'] else 'NOT MET'} {name} = {figure['value']:.4g}")
    keys = ("volume_change_percent", "volume_change_err", "reference_volume_change_percent")
    finish(
        {"benchmark": "demo", "figures": figures, **{key: answer[key] for key in keys}}, given.json
    )


if __name__ == "__main__":
    main()

"""Campaigns whose reference fails on purpose, in every way that the fault injector knows.

About every other frame meets a fault: a label that did not converge, is not finite or has flipped
moments, a calculation that hangs, crashes, fills the memory or ends in the middle of a file. Every
frame must end as its fault asks for: with the very label of the undisturbed reference where the
fault passes or the retry ladder cures it, in quarantine for the right reason where it lasts. No
spoilt label may reach training or audit, and every campaign must come to its answer. Too many
faults in a row pause a campaign; the same command goes on.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from fast_campaign import PROGRAM, environment, write_campaign
from fault_outcomes import Examination, examine, figures, outcome_table
from output import finish, parser
from rich.console import Console

from voltaloop.campaigns import CampaignFolder

RUN_LIMIT_S = 600.0
PAUSED = 3
MOST_PAUSES = 40

RATE = 0.5
TASK_LIMIT_S = 4.0
MEMORY_LIMIT_GB = 0.4

LABEL_POOL = {"workers": 4, "task_limit": f"{TASK_LIMIT_S:g}s", "memory_GB": MEMORY_LIMIT_GB}
"""What ends a label that hangs or takes all memory."""

SIZE: dict[str, Any] = {
    # Each lithium content needs enough labels to tell by them that one has flipped moments.
    "material": {"starting": {"frames": 84}},
    # Even what the committee knows well is labelled: the budget is there to be used up.
    "select": {"batch": 8, "lower_trust_eV_per_A": 1e-3},
    "audit": {"labels": 12},
    "stop": {"labels": 110},
}


def reference(tries: Path, seed: int, rate: float, wraps: dict[str, Any]) -> dict[str, Any]:
    """The section of a campaign file, with faults beyond the limits of LABEL_POOL."""
    return {
        "engine": "faulty",
        "wraps": wraps,
        "folder": str(tries),
        "seed": seed,
        "rate": rate,
        "hang_s": 20 * TASK_LIMIT_S,
        "late_s": 10 * TASK_LIMIT_S,
        "memory_GB": 2 * MEMORY_LIMIT_GB,
        "relax": False,
    }


def run_to_its_end(file: Path, folder: Path, output: Path) -> int:
    """How often the campaign paused before its answer."""
    for pauses in range(MOST_PAUSES):
        with output.open("ab") as log:
            command = [PROGRAM, "run", str(file), "--out", str(folder), "--quiet"]
            ended = subprocess.run(  # noqa: S603 - our own program
                command,
                env=environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=RUN_LIMIT_S,
                check=False,
            )
        if ended.returncode == 0:
            return pauses
        if ended.returncode != PAUSED:
            raise SystemExit(f"{folder} ended with code {ended.returncode}, see {output}")
    raise SystemExit(f"{folder} paused {MOST_PAUSES} times, see {output}")


def run_one(place: Path, seed: int) -> tuple[Examination, int]:
    """One campaign to its answer, examined; how often it paused."""
    wraps = {"engine": "ase", "calculator": "magnetic_oxide:MagneticOxide"}
    file = write_campaign(
        place,
        "faults",
        seed=seed,
        reference=reference(place / "tries", seed, RATE, wraps),
        resources={"label": LABEL_POOL},
        **SIZE,
    )
    pauses = run_to_its_end(file, place / "run", place / "output.txt")
    return examine(CampaignFolder(place / "run")), pauses


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--faults", type=int, default=200, help="at least so many (200)")
    arguments.add_argument("--seed", type=int, default=1, help="of the first campaign (1)")
    arguments.add_argument("--out", type=Path, default=Path("runs/benchmark-faults"))
    given = arguments.parse_args()
    base = given.out.resolve()
    shutil.rmtree(base, ignore_errors=True)
    console, began = Console(stderr=True), time.perf_counter()
    examined: list[Examination] = []
    pauses = 0
    while sum(len(one.faulted) for one in examined) < given.faults:
        place = base / f"campaign-{len(examined)}"
        one, paused = run_one(place, given.seed + len(examined))
        examined.append(one)
        pauses += paused
        console.print(
            f"{place.name}: {len(one.faulted)} of {len(one.endings)} frames met a fault, "
            f"{len(one.wrong)} wrong, {len(one.poisoned)} poisoned, {paused} pauses"
        )
        for wrong in one.wrong:
            console.print(f"  {wrong}", markup=False)
    console.print(outcome_table(ending for one in examined for ending in one.endings))
    finish(
        {
            "benchmark": "faults",
            **figures(examined),
            "campaigns": len(examined),
            "campaigns_finished": len(examined),
            "pauses": pauses,
            "seconds": round(time.perf_counter() - began, 1),
        },
        given.json,
    )


if __name__ == "__main__":
    main()

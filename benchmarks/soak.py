"""One campaign for twenty minutes, with faults of the reference and SIGKILLs of workers at random.

The Thinker is looked at from outside, every second: its memory, open files, threads and children
must not grow once it has warmed up. Then learning ends, and audit and answer follow; every frame
that met a fault must have ended as that fault asks for, and no process may be left behind.

``--kill-thinker`` kills that, too, and starts it again. There is no long life to measure then; what
must hold is that the campaign comes to its answer with every outcome right.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from fast_campaign import PROGRAM, environment, write_campaign
from fault_outcomes import examine, figures, outcome_table
from faults import LABEL_POOL, PAUSED, reference
from output import finish, parser
from rich.console import Console
from rich.table import Table
from soak_watch import Change, Watch, changes, write_samples

from voltaloop.campaigns import CampaignFolder

SAME_AT_ONCE = {"engine": "ase", "calculator": "magnetic_oxide:MagneticOxide"}
"""What the reference gives, without its waiting."""

RATE = 0.15
LABEL_S = 3.0
POOL = {**LABEL_POOL, "task_limit": "10s"}
PEACE_S = (5.0, 25.0)
"""Least and most time between two kills."""

THINKER_SHARE = 0.2
"""Of the kills, where the Thinker is hit, too."""

END_LIMIT_S = 600.0
"""Audit and answer, after the time is over."""

MOST_GROWTH_PERCENT = 10.0


def campaign_file(place: Path, minutes: float, seed: int) -> Path:
    wraps = {
        "engine": "ase",
        "calculator": "soak_oxide:SlowOxide",
        "parameters": {"seconds": LABEL_S},
    }
    return write_campaign(
        place,
        "soak",
        seed=seed,
        material={"starting": {"frames": 24}},
        explore={"temperature": [300, 900]},
        # Even what the committee knows well is labelled: the campaign is to go on learning.
        select={"lower_trust_eV_per_A": 1e-3},
        reference=reference(place / "tries", seed, RATE, wraps),
        resources={"label": POOL},
        audit={"labels": 12},
        stop={"labels": 100_000, "wall_time": f"{60 * minutes:g}s"},
    )


def start(file: Path, folder: Path, output: Path) -> subprocess.Popen[bytes]:
    here = str(Path(__file__).parent)
    surroundings = environment()
    surroundings["PYTHONPATH"] += f":{here}"
    with output.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own program
            [PROGRAM, "run", str(file), "--out", str(folder), "--quiet"],
            env=surroundings,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )


class Soak:
    """The Thinker's process, and what was done to it and to its workers."""

    def __init__(self, place: Path, minutes: float, rng: random.Random) -> None:
        self.place, self.folder = place, place / "run"
        self.file = place / "soak.yaml"
        self.output = place / "output.txt"
        self.seconds = 60 * minutes
        self.rng = rng
        self.kills: Counter[str] = Counter()
        self.sessions = 0
        self.pauses = 0
        self.left_behind = 0
        self.began = time.monotonic()
        self.running = self.begin_session()

    @property
    def left_s(self) -> float:
        """Of the time in which processes are killed."""
        return self.began + self.seconds - time.monotonic()

    def begin_session(self) -> subprocess.Popen[bytes]:
        self.sessions += 1
        return start(self.file, self.folder, self.output)

    def disturb(self, *, thinker_too: bool) -> None:
        """Kill from time to time, until the time is over."""
        while self.left_s > 0:
            if not self.ends_within(min(self.rng.uniform(*PEACE_S), self.left_s)):
                self.kill("thinker" if thinker_too and self.dice() else "worker")
            elif not self.goes_on():
                return

    def dice(self) -> bool:
        return self.rng.random() < THINKER_SHARE

    def kill(self, target: str) -> None:
        victim = psutil.Process(self.running.pid)
        workers = victim.children()
        if target == "worker" and not workers:
            return
        with suppress(psutil.NoSuchProcess):  # ended by itself
            (victim if target == "thinker" else self.rng.choice(workers)).kill()
        self.kills[target] += 1
        if target == "thinker":
            self.running.wait(timeout=30)
            self.count_left_behind(workers)
            self.running = self.begin_session()

    def count_left_behind(self, family: Iterable[psutil.Process]) -> None:
        """Those that outlive their Thinker."""
        self.left_behind += len(psutil.wait_procs(list(family), timeout=30)[1])

    def ends_within(self, seconds: float) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self.running.wait(timeout=seconds)
            return True
        return False

    def goes_on(self) -> bool:
        """After the program has ended: whether it was started again, because it had paused."""
        if self.running.returncode == 0:
            return False
        if self.running.returncode != PAUSED:
            raise SystemExit(f"Ended with code {self.running.returncode}, see {self.output}")
        self.pauses += 1
        self.running = self.begin_session()
        return True

    def come_to_the_answer(self) -> None:
        until = time.monotonic() + END_LIMIT_S
        while time.monotonic() < until:
            if self.ends_within(until - time.monotonic()) and not self.goes_on():
                return
        self.running.kill()
        raise SystemExit(f"No answer within {END_LIMIT_S:g} s after the end, see {self.output}")


def growth_table(found: dict[str, Change]) -> Table:
    table = Table("Thinker", "first", "last", "most", "growth", title="medians of two windows")
    for name, one in found.items():
        numbers = [f"{value:.1f}" for value in (one.first, one.last, one.most)]
        table.add_row(name, *numbers, f"{one.percent:+.1f} %")
    return table


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--minutes", type=float, default=20.0, help="how long (20)")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--kill-thinker", action="store_true", help="kill the Thinker, too")
    arguments.add_argument("--out", type=Path, default=Path("runs/benchmark-soak"))
    given = arguments.parse_args()
    place = given.out.resolve()
    shutil.rmtree(place, ignore_errors=True)
    console, began = Console(stderr=True), time.perf_counter()
    campaign_file(place, given.minutes, given.seed)
    soak = Soak(place, given.minutes, random.Random(given.seed))  # noqa: S311 - no secret
    with Watch(psutil.Process(soak.running.pid)) as watch:
        soak.disturb(thinker_too=given.kill_thinker)
        soak.come_to_the_answer()
    soak.count_left_behind(watch.family)
    write_samples(watch.samples, place / "samples.csv")
    examined = examine(CampaignFolder(soak.folder), SAME_AT_ONCE)
    console.print(outcome_table(examined.endings))
    for wrong in examined.wrong:
        console.print(f"  {wrong}", markup=False)
    measured: dict[str, Any] = {}
    if soak.sessions == 1:
        found = changes(watch.samples, soak.seconds)
        console.print(growth_table(found))
        measured = _measured(found)
    finish(
        {
            "benchmark": "soak",
            "minutes": given.minutes,
            **measured,
            "sessions": soak.sessions,
            "pauses": soak.pauses,
            "processes_left_behind": soak.left_behind,
            "kills_worker": soak.kills["worker"],
            "kills_thinker": soak.kills["thinker"],
            **figures([examined]),
            "campaigns_finished": 1,
            "seconds": round(time.perf_counter() - began, 1),
        },
        given.json,
    )


def _measured(found: dict[str, Change]) -> dict[str, Any]:
    return {
        "memory_growth_percent": round(found["uss_MB"].percent, 2),
        "memory_flat": found["uss_MB"].percent <= MOST_GROWTH_PERCENT,
        "rss_growth_percent": round(found["rss_MB"].percent, 2),
        "memory_MB": round(found["uss_MB"].last, 1),
        **{
            f"{name}_growth": found[name].last - found[name].first
            for name in ("files", "threads", "children")
        },
    }


if __name__ == "__main__":
    main()

"""SIGKILL to the Thinker, to a worker, to both, at random instants; then the campaign goes on.

What must hold: no label that had finished is lost, none is computed a second time, and the final
labels are those of a run that nobody disturbed. A label has finished when its result is on disk
(in the event log, or as the worker left it for the log). Every computation is counted by the
reference itself, in a file of its own, so that the count does not rest on what it examines.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from fast_campaign import environment, write_campaign
from output import finish, parser
from pair_oxide import geometry
from rich.console import Console

from voltaloop.campaigns import CampaignFolder
from voltaloop.core import Event, Frame

RUNNER = Path(__file__).with_name("kill_run.py")
RUN_LIMIT_S = 600.0
LONGEST_PEACE_S = 9.0
TARGETS = ("thinker", "worker", "both")


@dataclass(slots=True)
class Tally:
    """What the kills did, over all campaigns.

    lost, repeated: labels that had finished; ended_twice: geometries whose computation ended more
    than once (a kill between the end of a computation and the disk costs one, too).
    """

    kills: Counter[str] = field(default_factory=Counter)
    campaigns: int = 0
    labels: int = 0
    lost: int = 0
    repeated: int = 0
    cut_off: int = 0
    ended_twice: int = 0
    differing_campaigns: int = 0


@dataclass(slots=True)
class Witness:
    """Looks at one campaign whenever nothing of it runs."""

    folder: Path
    counts: Path
    seen: dict[str, tuple[str, str]] = field(default_factory=dict)
    begun_when_seen: dict[str, int] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)

    def look(self) -> None:
        now = labels_on_disk(self.folder)
        self.lost |= {task for task, label in self.seen.items() if now.get(task) != label}
        begun = counted(self.counts, "begin")
        for task in now.keys() - self.seen.keys():
            self.begun_when_seen[task] = begun[self.geometry(now[task][0])]
        self.seen |= now

    def geometry(self, frame: str) -> str:
        store = CampaignFolder(self.folder).artifacts
        return geometry(Frame.from_json(store.get_json(frame)).to_atoms())

    def repeated(self) -> list[str]:
        """Labels that were computed again after they had been seen on disk."""
        begun = counted(self.counts, "begin")
        return [
            task
            for task, (frame, _) in self.seen.items()
            if begun[self.geometry(frame)] > self.begun_when_seen[task]
        ]


def events_of(folder: Path) -> list[Event]:
    if not (folder / "events.sqlite").exists():
        return []
    with CampaignFolder(folder).read_log() as log:
        return list(log.read())


def labels_in_log(events: list[Event]) -> dict[str, tuple[str, str]]:
    """Task → (frame, label) of every finished label."""
    functions = {
        e.data["task"]["id"]: e.data["task"]["function"] for e in events if e.kind == "submitted"
    }
    results = {e.data["id"]: e.data["result"] for e in events if e.kind == "finished"}
    return {
        task: (result["frame"], result["label"])
        for task, result in results.items()
        if functions[task] == "label" and "label" in result
    }


def labels_on_disk(folder: Path) -> dict[str, tuple[str, str]]:
    """Those in the log and those that a worker left for it."""
    found = labels_in_log(events_of(folder))
    store = CampaignFolder(folder).artifacts
    for file in (folder / "artifacts" / "results").glob("*/*.json"):
        kept = store.results_get(file.stem)
        if kept is not None and "label" in kept["result"]:
            found[file.stem] = (kept["result"]["frame"], kept["result"]["label"])
    return found


def start(file: Path, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, str(RUNNER), str(file), str(folder)],
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )


def kill(running: subprocess.Popen[bytes], target: str, rng: random.Random) -> None:
    """SIGKILL, and wait until what was hit is gone."""
    workers = psutil.Process(running.pid).children(recursive=True)
    hit = [] if target == "thinker" else [rng.choice(workers)] if workers else []
    if target == "both":
        hit = workers
    if target != "worker":
        running.kill()
    for process in hit:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(hit, timeout=30)
    if target != "worker":
        running.wait(timeout=30)
        psutil.wait_procs(workers, timeout=30)


def counted(counts: Path, what: str) -> Counter[str]:
    """How often the computation of each geometry began or ended."""
    lines = counts.read_text().splitlines() if counts.exists() else []
    return Counter(line.split()[1] for line in lines if line.startswith(f"{what} "))


def reference(counts: Path) -> dict[str, Any]:
    """Counts its computations; takes long enough to be hit by a kill."""
    return {
        "calculator": "pair_oxide:Counted",
        "parameters": {"file": str(counts), "seconds": 0.1},
        "relax": False,
    }


def undisturbed(base: Path) -> set[tuple[str, str]]:
    """(frame, label) of a campaign that nobody kills."""
    place = base / "undisturbed"
    file = write_campaign(place, "kill", reference=reference(place / "computations.txt"))
    running = start(file, place / "run", place / "output.txt")
    if running.wait(timeout=RUN_LIMIT_S) != 0:
        raise SystemExit(f"The undisturbed campaign failed, see {place / 'output.txt'}")
    return set(labels_in_log(events_of(place / "run")).values())


def disturbed(place: Path, kills: int, rng: random.Random, tally: Tally) -> Witness:
    """One campaign to its answer, through up to ``kills`` kills."""
    counts, output = place / "computations.txt", place / "output.txt"
    file = write_campaign(place, "kill", reference=reference(counts))
    witness = Witness(place / "run", counts)
    running = start(file, witness.folder, output)
    until = time.monotonic() + RUN_LIMIT_S
    while not ended_within(running, rng.uniform(0.2, LONGEST_PEACE_S) if kills else 1.0):
        if time.monotonic() > until:
            running.kill()
            raise SystemExit(f"{place} did not end within {RUN_LIMIT_S:g} s, see {output}")
        if not kills:
            continue
        target = rng.choice(TARGETS)
        kill(running, target, rng)
        kills -= 1
        tally.kills[target] += 1
        if target != "worker":
            witness.look()
            running = start(file, witness.folder, output)
    if running.returncode != 0:
        raise SystemExit(f"{place} ended with code {running.returncode}, see {output}")
    witness.look()
    return witness


def ended_within(running: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        running.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def add(tally: Tally, witness: Witness, expected: set[tuple[str, str]]) -> None:
    begun, ended = counted(witness.counts, "begin"), counted(witness.counts, "end")
    labels = labels_in_log(events_of(witness.folder))
    tally.campaigns += 1
    tally.labels += len(labels)
    tally.lost += len(witness.lost)
    tally.repeated += len(witness.repeated())
    tally.cut_off += (begun - ended).total()
    tally.ended_twice += sum(count > 1 for count in ended.values())
    tally.differing_campaigns += set(labels.values()) != expected


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--kills", type=int, default=60, help="at least so many (60)")
    arguments.add_argument("--kills-each", type=int, default=10, help="in one campaign (10)")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--out", type=Path, default=Path("runs/benchmark-kill"))
    given = arguments.parse_args()
    base = given.out.resolve()
    shutil.rmtree(base, ignore_errors=True)
    console, rng, tally = Console(stderr=True), random.Random(given.seed), Tally()  # noqa: S311
    began = time.perf_counter()
    expected = undisturbed(base)
    console.print(f"undisturbed: {len(expected)} labels in {time.perf_counter() - began:.0f} s")
    while (left := given.kills - tally.kills.total()) > 0:
        place = base / f"campaign-{tally.campaigns}"
        witness = disturbed(place, min(left, given.kills_each), rng, tally)
        add(tally, witness, expected)
        console.print(
            f"{place.name}: {tally.kills.total()} kills so far {dict(tally.kills)}, "
            f"lost {tally.lost}, repeated {tally.repeated}, differing {tally.differing_campaigns}"
        )
    finish(
        {
            "benchmark": "kill",
            **{name: value for name, value in asdict(tally).items() if name != "kills"},
            "kills": tally.kills.total(),
            **{f"kills_{target}": tally.kills[target] for target in TARGETS},
            "seconds": round(time.perf_counter() - began, 1),
        },
        given.json,
    )


if __name__ == "__main__":
    main()

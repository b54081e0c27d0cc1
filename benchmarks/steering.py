"""How fast voltaloop and Colmena 0.7.2 steer the same tasks with the same two workers.

Both run side by side, each in a fresh process, and measure in turn, so that the noise of the
machine meets both. voltaloop has every event in its log on disk before it acts; Colmena keeps
nothing on disk. Measured through local processes and through Parsl's HighThroughputExecutor:

throughput: no-op tasks per second of a batch submitted at once, until the last result;
overhead: median milliseconds of a no-op task beyond its own run time, one at a time;
utilisation: share of the workers' time spent inside tasks of 0.1 s and of 1 s, when each next task
is decided after a result has come; "one ahead": with one more task waiting for a free worker.

Ratios are those of the two measurements made one after the other (for the overhead turned round),
so more than 1 is always voltaloop's favour.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import IO, Any

import psutil
from output import finish, parser
from rich.console import Console
from rich.table import Table
from steering_work import LIMIT_S, WORKERS, Load, Measured

SIDES = ("voltaloop", "colmena")
END_LIMIT_S = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing that is measured. value: from what a load gave to the figure in ``unit``."""

    name: str
    unit: str
    load: Load
    value: Callable[[Measured], float]
    more_is_better: bool = True


def figures(tasks: int) -> list[Figure]:
    """What is measured of each executor; ``tasks``: how many no-op tasks a batch has."""

    def busy(name: str, number: int, seconds: float, *, ahead: int = 0) -> Figure:
        load = Load(count=number, seconds=seconds, window=WORKERS + ahead, salt=0)
        return Figure(name=name, unit="%", load=load, value=utilisation)

    return [
        Figure(
            name="throughput",
            unit="tasks/s",
            load=Load(count=tasks, seconds=0.0, window=tasks, salt=0),
            value=lambda got: got.count / got.wall_s,
        ),
        Figure(
            name="overhead",
            unit="ms",
            load=Load(count=max(tasks // 5, 20), seconds=0.0, window=1, salt=0),
            value=lambda got: 1000 * statistics.median(got.beyond_s),
            more_is_better=False,
        ),
        busy("utilisation at 0.1 s", 40, 0.1),
        busy("utilisation at 0.1 s, one ahead", 40, 0.1, ahead=1),
        busy("utilisation at 1 s", 6, 1.0),
    ]


def utilisation(got: Measured) -> float:
    """Per cent of the workers' time inside tasks."""
    return 100 * got.ran_s / (WORKERS * got.wall_s)


class Side:
    """One of the two systems in a process of its own, which measures what it is told to."""

    def __init__(self, name: str, executor: str, folder: Path) -> None:
        self.name = name
        self._salts = count(1)
        program = Path(__file__).with_name(f"steering_{name}.py")
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, str(program), executor, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": _import_path()},
        )
        self._tell, self._hear = _pipes(self._process)
        self._answer()  # it is ready

    def measure(self, load: Load) -> Measured:
        told = asdict(load) | {"salt": next(self._salts)}
        print(json.dumps(told), file=self._tell, flush=True)
        return Measured(**self._answer())

    def end(self) -> bool:
        """Whether it ended by itself; what did not within a time limit is killed."""
        family = _family(self._process.pid)
        self._tell.close()
        _, left = psutil.wait_procs(family, timeout=END_LIMIT_S)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(END_LIMIT_S)
        self._hear.close()
        return not left

    def _answer(self) -> dict[str, Any]:
        readable, _, _ = select.select([self._hear], [], [], LIMIT_S)
        line = self._hear.readline() if readable else ""
        if not line:
            why = "ended" if readable else f"gave nothing within {LIMIT_S:g} s"
            raise SystemExit(f"The {self.name} side of the benchmark {why}; see its messages above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    """What writes to the process and what reads from it."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("expected a process that was started with pipes")
    return process.stdin, process.stdout


def _import_path() -> str:
    """Workers of every kind must find the benchmark's task."""
    return os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))


def _family(pid: int) -> list[psutil.Process]:
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@contextmanager
def side_by_side(executor: str, folder: Path, hung: list[str]) -> Iterator[dict[str, Side]]:
    """Both systems, started and warm; ``hung`` gets the names of those that had to be killed."""

    def end(side: Side) -> None:
        if not side.end():
            hung.append(f"{side.name}, {executor}")

    with ExitStack() as stack:
        sides: dict[str, Side] = {}
        for name in SIDES:
            home = folder / f"{executor}-{name}"
            home.mkdir()
            sides[name] = Side(name, executor, home)
            stack.callback(end, sides[name])
        yield sides


def warm_up(side: Side) -> None:
    """Workers started, modules imported, files touched."""
    for window in (100, 1):
        side.measure(Load(count=100, seconds=0.0, window=window, salt=0))


def compare(
    executor: str, wanted: list[Figure], repeat: int, folder: Path, hung: list[str]
) -> dict[str, dict[str, list[Measured]]]:
    """Figure → side → its measurements, made in turn; who begins alternates."""
    found: dict[str, dict[str, list[Measured]]] = {
        figure.name: {name: [] for name in SIDES} for figure in wanted
    }
    with side_by_side(executor, folder, hung) as sides:
        for side in sides.values():
            warm_up(side)
        for turn in range(repeat):
            for figure in wanted:
                for name in SIDES if turn % 2 == 0 else reversed(SIDES):
                    found[figure.name][name].append(sides[name].measure(figure.load))
    return found


def summary(figure: Figure, found: dict[str, list[Measured]]) -> dict[str, Any]:
    """Medians, ranges and the ratio of a figure, and what voltaloop wrote for it."""
    values = {name: [figure.value(got) for got in found[name]] for name in SIDES}
    pairs = zip(values["voltaloop"], values["colmena"], strict=True)
    ratios = [own / other if figure.more_is_better else other / own for own, other in pairs]
    own = found["voltaloop"]
    return {
        "unit": figure.unit,
        **{name: _spread(values[name]) for name in SIDES},
        "ratio": _spread(ratios),
        "events_per_s": statistics.median(got.events / got.wall_s for got in own),
        "bytes_per_task": statistics.median(got.bytes / got.count for got in own),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def sync_ms(folder: Path, times: int = 50) -> float:
    """Median milliseconds to force 4 KiB at the end of a file to this disk."""
    taken = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(b"\0" * 4096)
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - start)
    return 1000 * statistics.median(taken)


def show(results: dict[str, dict[str, dict[str, Any]]]) -> None:
    table = Table("executor", "figure", *SIDES, "ratio")
    for executor, by_figure in results.items():
        for name, one in by_figure.items():
            table.add_row(
                executor,
                f"{name} ({one['unit']})",
                *(_text(one[side]) for side in SIDES),
                _text(one["ratio"]),
            )
    Console(width=120).print(table)
    for executor, by_figure in results.items():
        events, size = (by_figure["throughput"][key] for key in ("events_per_s", "bytes_per_task"))
        print(f"{executor}: voltaloop wrote {events:.0f} events/s and {size:.0f} bytes per task")


def _text(spread: dict[str, float]) -> str:
    median, low, high = (
        f"{spread[key]:.3f}" if spread[key] < 100 else f"{spread[key]:.0f}"
        for key in ("median", "low", "high")
    )
    return f"{median} ({low} to {high})"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--tasks", type=int, default=1000, help="no-op tasks in a batch")
    arguments.add_argument("--repeat", type=int, default=3, help="measurements of each figure")
    arguments.add_argument("--skip-parsl", action="store_true", help="local processes only")
    arguments.add_argument(
        "--out", type=Path, default=Path("runs"), help="where the event logs are; a real disk"
    )
    given = arguments.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    wanted = figures(given.tasks)
    results: dict[str, dict[str, dict[str, Any]]] = {}
    hung: list[str] = []
    load_average = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory(prefix="steering-", dir=given.out) as name:
        folder = Path(name).resolve()
        sync = sync_ms(folder)
        for executor in ("local",) if given.skip_parsl else ("local", "parsl"):
            found = compare(executor, wanted, given.repeat, folder, hung)
            results[executor] = {one.name: summary(one, found[one.name]) for one in wanted}
            load_average.append(os.getloadavg()[0])
    show(results)
    if hung:
        print(f"did not end within {END_LIMIT_S:g} s and were killed: {'; '.join(hung)}")
    facts = {
        "tasks": given.tasks,
        "repeat": given.repeat,
        "sync_ms": sync,
        "load_average": load_average,
        "versions": {name: version(name) for name in ("voltaloop", "colmena", "parsl")},
        "killed": hung,
    }
    finish({"benchmark": "steering", **facts, "results": results}, given.json)


if __name__ == "__main__":
    main()

"""Looks at one process from outside, every second."""

from __future__ import annotations

import csv
import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import psutil

EVERY_S = 1.0
MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """seconds: since the watch began; uss_MB: memory that would be free if the process ended;
    rss_MB: with what it shares; files: open descriptors; children: its own, not theirs."""

    seconds: float
    uss_MB: float
    rss_MB: float
    files: int
    threads: int
    children: int


COUNTS = tuple(one.name for one in fields(Sample) if one.name != "seconds")


@dataclass(slots=True)
class Watch:
    """Samples a process, as a context manager, until it has ended or the block is left.

    family: all children that were ever seen.
    """

    process: psutil.Process
    samples: list[Sample] = field(default_factory=list)
    family: set[psutil.Process] = field(default_factory=set)
    _began: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Watch:
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=10 * EVERY_S)

    def _look_on(self) -> None:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it has ended
            while not self._over.wait(EVERY_S):
                self.samples.append(self._look())

    def _look(self) -> Sample:
        memory, children = self.process.memory_full_info(), self.process.children()
        self.family.update(children)
        return Sample(
            seconds=time.monotonic() - self._began,
            uss_MB=memory.uss / MB,
            rss_MB=memory.rss / MB,
            files=self.process.num_fds(),
            threads=self.process.num_threads(),
            children=len(children),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Of one figure: its median in the second tenth of the time and in the last tenth, so in
    minutes 2 to 4 and 18 to 20 of twenty, and its maximum from the second tenth on."""

    first: float
    last: float
    most: float

    @property
    def percent(self) -> float:
        return 100 * (self.last / self.first - 1)


def changes(samples: Sequence[Sample], seconds: float) -> dict[str, Change]:
    """By figure, of a watch that went on for ``seconds``."""
    first = [one for one in samples if 0.1 * seconds <= one.seconds < 0.2 * seconds]
    last = [one for one in samples if 0.9 * seconds <= one.seconds < seconds]
    later = [one for one in samples if 0.1 * seconds <= one.seconds < seconds]
    return {
        name: Change(
            first=statistics.median(getattr(one, name) for one in first),
            last=statistics.median(getattr(one, name) for one in last),
            most=max(getattr(one, name) for one in later),
        )
        for name in COUNTS
    }


def write_samples(samples: Sequence[Sample], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [one.name for one in fields(Sample)])
        table.writeheader()
        table.writerows(asdict(one) for one in samples)

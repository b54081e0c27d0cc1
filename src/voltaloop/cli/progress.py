"""Progress of a running campaign: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from voltaloop.core import Event


@dataclass(slots=True)
class Tally:
    """What the progress shows, counted from events."""

    labels: int = 0
    audit: int = 0
    refused: int = 0
    quarantined: set[str] = field(default_factory=set)
    explored: int = 0
    generation: int = -1
    energy_meV: float = 0.0
    force: float = 0.0
    stopped: str = ""
    flights: dict[str, str] = field(default_factory=dict)
    _roles: dict[str, str] = field(default_factory=dict)
    _functions: dict[str, str] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        match event.kind:
            case "purpose":
                self._take_purpose(event.data)
            case "submitted":
                task = event.data["task"]
                self.flights[task["id"]] = task["title"]
                self._functions[task["id"]] = task["function"]
            case "finished":
                self._finished(event.data["id"], event.data["result"])
            case "failed":
                self.flights.pop(event.data["id"], None)
            case "withdrawn":
                self.refused += 1
                self._count_label(event.data["task"], -1)
            case "quarantined":
                self.quarantined.add(event.data["case"])
            case "asked":
                self._take_request(event.data["what"], event.data["case"])
            case "stopped":
                self.stopped = event.data["reason"]
            case _:
                pass

    def _take_purpose(self, data: Any) -> None:
        self._roles[data["task"]] = data["role"]
        self.quarantined.discard(data.get("case"))

    def _take_request(self, what: str, case: str) -> None:
        if what == "accept" and case in self.quarantined:
            self.quarantined.discard(case)
            self._count_label(case, 1)

    def _finished(self, task: str, result: Any) -> None:
        self.flights.pop(task, None)
        match self._functions.get(task):
            case "label" if "refused" in result:
                self.refused += 1
            case "label":
                self._count_label(task, 1)
            case "explore":
                self.explored += 1
            case "train":
                self.generation += 1
                self.energy_meV = result["held_out"]["energy"] * 1000
                self.force = result["held_out"]["force"]
            case _:
                pass

    def _count_label(self, task: str, change: int) -> None:
        if self._roles[task] == "audit":
            self.audit += change
        else:
            self.labels += change

    def line(self) -> str:
        """One line: where the campaign stands."""
        quality = (
            f"generation {self.generation}, held out {self.energy_meV:.1f} meV/atom "
            f"{self.force:.3f} eV/Å, "
            if self.generation >= 0
            else ""
        )
        return (
            f"{quality}{self.explored} MD runs, {self.refused} labels refused, "
            f"{len(self.quarantined)} in quarantine"
        )


STOPPING = "Stopping: running tasks have a moment to end, then everything is kept as it is."


class LineProgress:
    """A plain line when something worth a line happened, at most one in two seconds."""

    EVERY_S = 2.0

    def __init__(self, console: Console, labels: int, audit: int) -> None:
        self._console = console
        self._budgets = (labels, audit)
        self._tally = Tally()
        self._last = 0.0
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._print()

    def watch(self, events: Sequence[Event]) -> None:
        for event in events:
            self._tally.take(event)
        if time.monotonic() - self._last >= self.EVERY_S:
            self._print()

    def stopping(self) -> None:
        self.tell(STOPPING)

    def tell(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def _print(self) -> None:
        self._last = time.monotonic()
        labels, audit = self._budgets
        tally = self._tally
        self._console.print(
            f"{self._last - self._start:7.1f} s  labels {tally.labels}/{labels}  "
            f"audit {tally.audit}/{audit}  {tally.line()}",
            soft_wrap=True,
        )


class BarProgress:
    """Bars for the label and audit budgets, and what is running."""

    def __init__(self, console: Console, labels: int, audit: int) -> None:
        self._tally = Tally()
        self._progress = Progress(
            TextColumn("{task.description:<8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._labels = self._progress.add_task("labels", total=labels, note="")
        self._audit = self._progress.add_task("audit", total=audit, note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def watch(self, events: Sequence[Event]) -> None:
        for event in events:
            self._tally.take(event)
        tally = self._tally
        running = ", ".join(list(tally.flights.values())[:3])
        self._progress.update(self._labels, completed=tally.labels, note=tally.line())
        self._progress.update(self._audit, completed=tally.audit, note=running)

    def stopping(self) -> None:
        self.tell(STOPPING)

    def tell(self, text: str) -> None:
        self._progress.console.print(text, markup=False, soft_wrap=True)

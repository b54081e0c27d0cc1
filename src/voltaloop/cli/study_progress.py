"""Progress of a study: a bar on a terminal, a plain line for every run elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class StudyLines:
    """One line for every run that ended."""

    def __init__(self, console: Console, what: str, total: int) -> None:  # noqa: ARG002 - as the bar
        self._console = console
        self._total = total
        self._done = 0
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing was opened."""

    def ended(self, line: str) -> None:
        self._done += 1
        self._console.print(
            f"{time.monotonic() - self._start:7.1f} s  {self._done}/{self._total}  {line}",
            markup=False,
            soft_wrap=True,
        )


class StudyBar:
    """A bar, and above it a line for every run that ended."""

    def __init__(self, console: Console, what: str, total: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._progress.add_task(what, total=total)

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

    def ended(self, line: str) -> None:
        self._progress.console.print(line, markup=False, soft_wrap=True)
        self._progress.advance(self._task)

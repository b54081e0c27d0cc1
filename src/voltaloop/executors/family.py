"""The processes that a worker started: how much memory they hold, and how they are ended.

A worker's environment carries a mark, which every program that it starts inherits. So a program is
found though its parent is gone and though it left the process group, as MPI launchers do.
"""

from __future__ import annotations

import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

logger = logging.getLogger(__name__)

MARK = "VOLTALOOP_WORKER"
"""Environment variable: the marks of this worker and of all workers that it runs in."""

ROUNDS = 20
ROUND_S = 0.05
_numbers = count(1)


def new_mark(owner: str) -> str:
    """A mark that no other worker has; it begins with the mark of all workers of ``owner``."""
    return f"{owner_mark(owner)}{next(_numbers)}>"


def owner_mark(owner: str) -> str:
    return f"<{owner}."


def marked_environment(mark: str) -> dict[str, str]:
    """The variable that marks a worker and all that it starts; outer marks are kept."""
    return {MARK: os.environ.get(MARK, "") + mark}


def descendants(pid: int) -> list[psutil.Process]:
    """What the process ``pid`` and its children started, as far as the chain of parents holds."""
    import psutil

    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:  # it is gone
        return []


def kill_each(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL; a process id that another process has by now is spared."""
    import psutil

    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def end_marked(mark: str) -> None:
    """Kill every process that carries ``mark``, until there is none (at most a few seconds)."""
    for _ in range(ROUNDS):
        found = _marked(mark)
        if not found:
            return
        kill_each(found)
        time.sleep(ROUND_S)
    logger.warning("Processes %s do not end, not even by SIGKILL.", [p.pid for p in found])


def resident_bytes(roots: Iterable[int]) -> dict[int, int]:
    """Resident memory of each process of ``roots`` together with its descendants.

    Memory that several processes share is counted for each of them.
    """
    import psutil

    children: dict[int, list[psutil.Process]] = defaultdict(list)
    processes = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            children[process.ppid()].append(process)
            processes[process.pid] = process
    return {root: _tree_bytes(processes[root], children) for root in roots if root in processes}


def _tree_bytes(root: psutil.Process, children: dict[int, list[psutil.Process]]) -> int:
    import psutil

    total, left = 0, [root]
    while left:
        process = left.pop()
        left += children.get(process.pid, [])
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def _marked(mark: str) -> list[psutil.Process]:
    import psutil

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # another user's, or gone meanwhile
            if mark in process.environ().get(MARK, "") and process.pid != os.getpid():
                found.append(process)
    return found

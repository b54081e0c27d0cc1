"""How many blocks a pool has: asked for with work, given back when idle, replaced when they end."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from voltaloop.executors.parsl.schedulers import JobState, Scheduler, SchedulerError

logger = logging.getLogger(__name__)

START_ATTEMPTS = 5
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 300.0
REPORT_LIMIT_S = 600.0
LAST_WORDS = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Workers of one node as the interchange knows them.

    usable: it gets new tasks; tasks: how many it has; idle_s: seconds since it had one.
    """

    id: str
    block: str
    workers: int
    tasks: int
    idle_s: float
    usable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlan:
    """workers: of each block; times in seconds; scripts: where the jobs leave their output."""

    pool: str
    workers: int
    least: int
    first: int
    most: int
    idle_limit_s: float
    status_every_s: float
    scripts: Path


@dataclass(slots=True, kw_only=True, eq=False)
class _Block:
    job: str
    asked_at: float
    running_since: float | None = None
    reported: bool = False


class Blocks:
    """The blocks of one pool. Only one thread may use it.

    ``command(block)`` is what a block runs on each node. ``broken`` says, in the scheduler's own
    words, why there will be no block.
    """

    def __init__(
        self,
        *,
        plan: BlockPlan,
        scheduler: Scheduler,
        command: Callable[[str], str],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._scheduler, self._command, self._now = plan, scheduler, command, now
        self._alive: dict[str, _Block] = {}
        self._count = 0
        self._failures = 0
        self._not_before = -math.inf
        self._ask_at = -math.inf
        self.broken: str | None = None

    @property
    def jobs(self) -> list[str]:
        """The scheduler's ids of the present blocks."""
        return [block.job for block in self._alive.values()]

    @property
    def awaited(self) -> bool:
        """Whether a block was asked for and has not reported yet."""
        return any(not block.reported for block in self._alive.values())

    def look_after(self, nodes: Sequence[Node], tasks: int) -> None:
        """Forget the blocks that ended, and ask for as many as ``tasks`` need."""
        self._meet(nodes)
        self._ask_about_the_silent()
        self._ask_for_more(nodes, tasks)

    def idle(self, nodes: Sequence[Node], tasks: int) -> list[Node]:
        """The nodes of blocks that have been idle for long and are not needed."""
        spare = len(self._alive) - self._wanted(tasks)
        chosen: list[Node] = []
        for name in [name for name, block in self._alive.items() if block.reported][::-1]:
            mine = [node for node in nodes if node.block == name]
            resting = all(n.tasks == 0 and n.idle_s >= self._plan.idle_limit_s for n in mine)
            if spare > 0 and mine and resting:
                chosen += mine
                spare -= 1
        return chosen

    def give_back(self, names: Iterable[str]) -> None:
        self._end(dict.fromkeys(names, "idle"))

    def close(self) -> None:
        """End every block."""
        self._end(dict.fromkeys(self._alive, "shut down"))

    def _meet(self, nodes: Sequence[Node]) -> None:
        """Learn from the nodes which blocks have started and which are gone."""
        reporting = {node.block for node in nodes}
        for name in reporting & set(self._alive):
            if not self._alive[name].reported:
                self._alive[name].reported = True
                self._failures = 0
        gone = [name for name, b in self._alive.items() if b.reported and name not in reporting]
        if gone:
            ended = self._states(gone)
            self._end({name: ended[name].ended or "its nodes are silent" for name in gone})

    def _ask_about_the_silent(self) -> None:
        """Find out about jobs that ended before their workers reported."""
        now = self._now()
        old_enough = now - self._plan.status_every_s  # a scheduler learns of a new job by and by
        silent = [
            name
            for name, block in self._alive.items()
            if not block.reported and block.asked_at <= old_enough
        ]
        if not silent or now < self._ask_at:
            return
        self._ask_at = now + self._plan.status_every_s
        for name, state in self._states(silent).items():
            block = self._alive[name]
            if state.running and block.running_since is None:
                block.running_since = now
            if state.ended is not None:
                self._fail(
                    name, f"job {block.job} ended before its workers reported: {state.ended}"
                )
            elif block.running_since is not None and now - block.running_since > REPORT_LIMIT_S:
                self._fail(name, f"no worker of job {block.job} reported in {REPORT_LIMIT_S:g} s")

    def _ask_for_more(self, nodes: Sequence[Node], tasks: int) -> None:
        useful = {node.block for node in nodes if node.usable}
        coming = sum(not b.reported or name in useful for name, b in self._alive.items())
        missing = self._wanted(tasks) - coming
        room = self._plan.most - len(self._alive)
        for _ in range(min(missing, room)):
            if self._now() < self._not_before or self.broken is not None:
                return
            self._ask_for_one()

    def _wanted(self, tasks: int) -> int:
        floor = self._plan.first if self._count == 0 else self._plan.least
        needed = math.ceil(tasks / self._plan.workers)
        return min(max(needed, floor, self._plan.least), self._plan.most)

    def _ask_for_one(self) -> None:
        name = str(self._count)
        self._count += 1
        try:
            job = self._scheduler.submit(self._command(name), self._job_name(name))
        except (SchedulerError, OSError) as error:
            self._count_failure(name, str(error))
            return
        self._alive[name] = _Block(job=job, asked_at=self._now())
        logger.info("Pool '%s' asked for block %s, job %s.", self._plan.pool, name, job)

    def _job_name(self, name: str) -> str:
        return f"voltaloop-{self._plan.pool}-{name}"

    def _states(self, names: list[str]) -> dict[str, JobState]:
        """What the scheduler says of each block; nothing new when it cannot be asked."""
        try:
            states = self._scheduler.states([self._alive[name].job for name in names])
        except (SchedulerError, OSError) as error:
            logger.warning("Pool '%s': the scheduler gave no answer: %s", self._plan.pool, error)
            states = {}
        return {name: states.get(self._alive[name].job, JobState()) for name in names}

    def _fail(self, name: str, reason: str) -> None:
        words = self._last_words(name)
        self._end({name: reason})
        self._count_failure(name, f"{reason}.{words}")

    def _count_failure(self, name: str, reason: str) -> None:
        self._failures += 1
        wait_s = min(FIRST_WAIT_S * 2 ** (self._failures - 1), LONGEST_WAIT_S)
        self._not_before = self._now() + wait_s
        logger.warning("Block %s of pool '%s' did not start: %s", name, self._plan.pool, reason)
        if self._failures >= START_ATTEMPTS and not self._alive:
            self.broken = (
                f"{self._failures} blocks in a row did not start, the last because: {reason}"
            )

    def _last_words(self, name: str) -> str:
        """The ends of what the block's job printed."""
        said = ""
        for path in sorted(self._plan.scripts.glob(f"{self._job_name(name)}.*std*")):
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            said += f"\n{path}:\n{text[-LAST_WORDS:]}" if text else ""
        return said

    def _end(self, reasons: dict[str, str]) -> None:
        if not reasons:
            return
        jobs = [self._alive.pop(name).job for name in reasons]
        for name, reason in reasons.items():
            logger.info("Block %s of pool '%s' ends: %s.", name, self._plan.pool, reason)
        try:
            self._scheduler.cancel(jobs)
        except (SchedulerError, OSError) as error:
            logger.warning("Jobs %s could not be cancelled: %s", ", ".join(jobs), error)

"""History → what ran when, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from voltaloop.report.history import CampaignHistory, RefusalRecord, TaskRecord

MOST_BARS = 1500
"""Bars of the time line; of more tasks the longest are drawn."""

POOL_ORDER = ("explore", "label", "train")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One task on the time line; lane: which of its pool's workers, as far as times tell."""

    task: TaskRecord
    lane: int
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLine:
    """A pool: its bars, and the busy share of its workers from the first to the last task."""

    pool: str
    workers: int
    busy_s: float
    utilisation: float
    bars: tuple[Bar, ...]
    n_tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """Calls of one function in one pool; cpu_s is None where no call measured it."""

    pool: str
    function: str
    calls: int
    failed: int
    wall_s: float
    cpu_s: float | None
    wall_s_per_label: float | None
    cpu_s_per_label: float | None

    @property
    def mean_wall_s(self) -> float:
        return self.wall_s / self.calls


def pool_lines(history: CampaignHistory) -> list[PoolLine]:
    """The pools in the order explore, label, train, others."""
    started = [task for task in history.tasks if task.started_s is not None]
    if not started:
        return []
    now = history.elapsed_s
    begin = min(_start(task) for task in started)
    span = max(max(_end(task, now) for task in started) - begin, 1e-9)
    pools = sorted({task.pool for task in started}, key=_pool_rank)
    return [
        _pool_line(pool, [task for task in started if task.pool == pool], span, now)
        for pool in pools
    ]


def _pool_rank(pool: str) -> tuple[int, str]:
    return (POOL_ORDER.index(pool) if pool in POOL_ORDER else len(POOL_ORDER), pool)


def _pool_line(pool: str, tasks: Sequence[TaskRecord], span: float, now: float) -> PoolLine:
    bars = _in_lanes(tasks, now)
    workers = 1 + max(bar.lane for bar in bars)
    busy = sum(bar.end_s - _start(bar.task) for bar in bars)
    longest = sorted(bars, key=lambda bar: _start(bar.task) - bar.end_s)[:MOST_BARS]
    return PoolLine(
        pool=pool,
        workers=workers,
        busy_s=busy,
        utilisation=min(1.0, busy / (workers * span)),
        bars=tuple(sorted(longest, key=lambda bar: _start(bar.task))),
        n_tasks=len(tasks),
    )


def _in_lanes(tasks: Sequence[TaskRecord], now: float) -> list[Bar]:
    """Each task in the first lane that is free; clocks of workers differ by a few milliseconds."""
    free_from: list[float] = []
    bars = []
    for task in sorted(tasks, key=_start):
        end = _end(task, now)
        free = [lane for lane, t in enumerate(free_from) if t <= _start(task) + 0.05]
        lane = free[0] if free else len(free_from)
        if not free:
            free_from.append(end)
        free_from[lane] = end
        bars.append(Bar(task=task, lane=lane, end_s=end))
    return bars


def _start(task: TaskRecord) -> float:
    return task.submitted_s if task.started_s is None else task.started_s


def _end(task: TaskRecord, now: float) -> float:
    return max(_start(task), now if task.ended_s is None else task.ended_s)


def cost_rows(history: CampaignHistory) -> list[CostRow]:
    """By pool and function, the dearest first within a pool; waiting tasks cost nothing."""
    now, labels = history.elapsed_s, len(history.labels)
    calls: dict[tuple[str, str], list[TaskRecord]] = {}
    for task in history.tasks:
        if task.started_s is not None:
            calls.setdefault((task.pool, task.function), []).append(task)
    rows = [_cost_row(tasks, now, labels) for tasks in calls.values()]
    return sorted(rows, key=lambda row: (_pool_rank(row.pool), -row.wall_s))


def _cost_row(tasks: Sequence[TaskRecord], now: float, labels: int) -> CostRow:
    wall = sum(_end(task, now) - _start(task) for task in tasks)
    measured = [task.cpu_s for task in tasks if task.cpu_s is not None]
    cpu = sum(measured) if measured else None
    return CostRow(
        pool=tasks[0].pool,
        function=tasks[0].function,
        calls=len(tasks),
        failed=sum(task.outcome == "failed" for task in tasks),
        wall_s=wall,
        cpu_s=cpu,
        wall_s_per_label=wall / labels if labels else None,
        cpu_s_per_label=cpu / labels if labels and cpu is not None else None,
    )


def total_cost(rows: Sequence[CostRow]) -> CostRow | None:
    """All rows added up; None without rows."""
    if not rows:
        return None
    return CostRow(
        pool="all",
        function="",
        calls=sum(row.calls for row in rows),
        failed=sum(row.failed for row in rows),
        wall_s=sum(row.wall_s for row in rows),
        cpu_s=_sum([row.cpu_s for row in rows]),
        wall_s_per_label=_sum([row.wall_s_per_label for row in rows]),
        cpu_s_per_label=_sum([row.cpu_s_per_label for row in rows]),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def running_tasks(history: CampaignHistory) -> list[TaskRecord]:
    """Started and not ended, the oldest first."""
    running = [t for t in history.tasks if t.started_s is not None and t.ended_s is None]
    return sorted(running, key=_start)


def overlap_share(history: CampaignHistory) -> float | None:
    """Share of the time with a task running in which two or more pools were at work."""
    edges = sorted(
        (moment, step, bar.task.pool)
        for line in pool_lines(history)
        for bar in line.bars
        for moment, step in ((_start(bar.task), 1), (bar.end_s, -1))
    )
    active: Counter[str] = Counter()
    some = several = last = 0.0
    for moment, step, pool in edges:
        busy = sum(count > 0 for count in active.values())
        some += (moment - last) * (busy >= 1)
        several += (moment - last) * (busy >= 2)
        active[pool] += step
        last = moment
    return several / some if some else None


def refusal_counts(refusals: Sequence[RefusalRecord]) -> list[tuple[str, int]]:
    """Reasons with their number, the most frequent first."""
    return Counter(refusal.reason for refusal in refusals).most_common()

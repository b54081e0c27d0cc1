from collections.abc import Sequence
from pathlib import Path

import pytest

from voltaloop.executors.parsl.blocks import START_ATTEMPTS, BlockPlan, Blocks, Node
from voltaloop.executors.parsl.schedulers import JobState, SchedulerError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class PaperScheduler:
    """Jobs are entries of a list; tests say how they end."""

    def __init__(self) -> None:
        self.alive: list[str] = []
        self.ended: dict[str, str] = {}
        self.refusal: str | None = None
        self.silent = False
        self.asked = 0

    def submit(self, command: str, name: str) -> str:
        if self.refusal is not None:
            raise SchedulerError(self.refusal)
        assert command == f"manager {name.rpartition('-')[2]}"
        self.alive.append(f"job-{name}")
        return f"job-{name}"

    def states(self, jobs: list[str]) -> dict[str, JobState]:
        self.asked += 1
        if self.silent:
            raise SchedulerError("slurmctld is down")
        return {job: JobState(running=True, ended=self.ended.get(job)) for job in jobs}

    def cancel(self, jobs: list[str]) -> None:
        self.alive = [job for job in self.alive if job not in jobs]


class World:
    def __init__(self, scripts: Path, *, least: int = 0, first: int = 0, most: int = 3) -> None:
        self.clock, self.scheduler = Clock(), PaperScheduler()
        plan = BlockPlan(
            pool="label",
            workers=2,
            least=least,
            first=first,
            most=most,
            idle_limit_s=100.0,
            status_every_s=30.0,
            scripts=scripts,
        )
        self.blocks = Blocks(
            plan=plan, scheduler=self.scheduler, command="manager {}".format, now=self.clock
        )

    def look(self, tasks: int, nodes: Sequence[Node] = (), *, after_s: float = 0.0) -> int:
        """The number of jobs after one look, some seconds later."""
        self.clock.now += after_s
        self.blocks.look_after(nodes, tasks)
        return len(self.scheduler.alive)


def node(
    block: int, *, tasks: int = 0, idle_s: float = 0.0, usable: bool = True, name: str = "n"
) -> Node:
    return Node(
        id=f"{name}{block}", block=str(block), workers=2, tasks=tasks, idle_s=idle_s, usable=usable
    )


@pytest.mark.parametrize(("tasks", "jobs"), [(0, 0), (1, 1), (2, 1), (3, 2), (6, 3), (99, 3)])
def test_there_are_as_many_blocks_as_tasks_need_and_no_more_than_allowed(
    tmp_path: Path, tasks: int, jobs: int
) -> None:
    world = World(tmp_path)
    assert world.look(tasks) == jobs
    assert world.look(tasks) == jobs
    assert world.blocks.awaited == (jobs > 0)


def test_blocks_asked_for_at_the_start_are_kept_only_as_far_as_the_least_says(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, least=1, first=2)
    assert world.look(0) == 2
    nodes = [node(0, idle_s=100.0), node(1, idle_s=100.0)]
    world.look(0, nodes)
    assert world.blocks.idle(nodes, 0) == [nodes[1]]


def test_an_idle_block_is_given_back_when_the_rest_suffices(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.look(6)
    nodes = [node(0, tasks=2), node(1, idle_s=99.0), node(2, idle_s=100.0)]
    world.look(1, nodes)
    assert world.blocks.idle(nodes, 5) == []
    assert world.blocks.idle(nodes, 2) == [nodes[2]]
    world.blocks.give_back(["2"])
    assert world.look(2, nodes[:2]) == 2


def test_a_block_of_several_nodes_is_idle_when_all_of_them_are(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.look(1)
    nodes = [node(0, idle_s=100.0), node(0, idle_s=1.0, name="m")]
    world.look(0, nodes)
    assert world.blocks.idle(nodes, 0) == []
    nodes[1] = node(0, idle_s=101.0, name="m")
    assert world.blocks.idle(nodes, 0) == nodes


def test_a_block_that_waits_in_the_queue_is_not_given_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.look(1)
    world.look(0, after_s=10_000.0)
    assert world.blocks.idle([], 0) == []
    assert world.look(0) == 1


def test_a_block_whose_nodes_are_gone_is_replaced_when_there_is_work(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.look(1)
    world.look(1, [node(0, tasks=1)])
    assert world.look(0, []) == 0
    assert world.look(1) == 1
    assert world.blocks.jobs == ["job-voltaloop-label-1"]


def test_a_block_that_takes_no_more_tasks_is_replaced_but_counts_against_the_most(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, most=2)
    world.look(1)
    draining = node(0, tasks=1, usable=False)
    assert world.look(2, [draining]) == 2
    assert world.look(9, [draining, node(1)]) == 2


def test_the_scheduler_is_not_asked_while_every_block_reports(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.look(1)
    for _ in range(20):
        world.look(1, [node(0, tasks=1)], after_s=60.0)
    assert world.scheduler.asked == 0


def test_a_new_job_is_asked_about_only_when_the_scheduler_should_know_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.scheduler.ended["job-voltaloop-label-0"] = "COMPLETED"
    assert [world.look(1), world.look(1, after_s=29.0)] == [1, 1]
    assert world.scheduler.asked == 0
    assert world.look(1, after_s=1.0) == 0


def test_a_refused_job_is_tried_again_later_each_time_and_then_given_up(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.scheduler.refusal = "sbatch: error: Invalid account"
    for wait_s in (0.0, 1.0, 2.0, 4.0):
        world.look(1, after_s=wait_s)
        assert world.blocks.broken is None
    world.look(1, after_s=7.9)
    assert world.blocks.broken is None
    world.look(1, after_s=0.1)
    assert world.blocks.broken == (
        f"{START_ATTEMPTS} blocks in a row did not start, the last because: "
        "sbatch: error: Invalid account"
    )


def test_a_refusal_does_not_matter_while_a_block_works(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.look(1)
    world.scheduler.refusal = "sbatch: error: Limit of jobs reached"
    for _ in range(2 * START_ATTEMPTS):
        world.look(9, [node(0, tasks=2)], after_s=1000.0)
    assert world.blocks.broken is None


def test_a_block_that_reports_makes_up_for_those_that_did_not(tmp_path: Path) -> None:
    world = World(tmp_path, most=1)
    world.scheduler.refusal = "sbatch: error: Socket timed out"
    for _ in range(START_ATTEMPTS - 1):
        world.look(1, after_s=1000.0)
    world.scheduler.refusal = None
    world.look(1, after_s=1000.0)
    world.look(1, [node(START_ATTEMPTS - 1)])
    world.look(0)
    world.scheduler.refusal = "sbatch: error: Socket timed out"
    world.look(1, after_s=1000.0)
    assert world.blocks.broken is None


def test_a_job_that_ends_before_it_reports_is_told_with_what_it_printed(tmp_path: Path) -> None:
    world = World(tmp_path, most=1)
    for number in range(START_ATTEMPTS):
        name = f"voltaloop-label-{number}"
        (tmp_path / f"{name}.123.stderr").write_text("python3: not found\n")
        world.scheduler.ended[f"job-{name}"] = "FAILED"
        world.look(1, after_s=1000.0)
        world.look(1, after_s=1000.0)
    assert world.blocks.broken is not None
    assert "job job-voltaloop-label-4 ended before its workers reported: FAILED" in (
        world.blocks.broken
    )
    assert "voltaloop-label-4.123.stderr:\npython3: not found" in world.blocks.broken


def test_a_job_that_runs_and_never_reports_is_ended(tmp_path: Path) -> None:
    world = World(tmp_path, most=1)
    world.look(1)
    assert world.look(1, after_s=30.0) == 1
    assert world.look(1, after_s=599.0) == 1
    assert world.look(1, after_s=31.0) == 0
    assert world.look(1, after_s=1.0) == 1


def test_a_scheduler_that_gives_no_answer_changes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.look(1)
    world.scheduler.silent = True
    assert world.look(1, after_s=1000.0) == 1
    assert world.blocks.broken is None
    world.look(1, [node(0)])
    assert world.look(0, []) == 0


def test_closing_ends_every_block(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.look(6)
    world.blocks.close()
    assert world.scheduler.alive == []
    assert world.blocks.jobs == []

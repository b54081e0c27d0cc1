from dataclasses import replace

import pytest
from synthetic_history import full_history, newborn_history, running_history

from voltaloop.report import TaskRecord, cost_rows, pool_lines, running_tasks, total_cost
from voltaloop.report.operations import MOST_BARS, overlap_share, refusal_counts


def task(pool, start, end, function="work", **more):
    return TaskRecord(
        id=f"{pool}{start}",
        pool=pool,
        function=function,
        submitted_s=start,
        started_s=start,
        ended_s=end,
        outcome="done" if end is not None else "running",
        **more,
    )


def history_of(*tasks):
    return replace(newborn_history(), tasks=tasks)


def test_utilisation_counts_the_workers_that_were_seen():
    lines = pool_lines(
        history_of(task("label", 0, 10), task("label", 5, 10), task("explore", 0, 5))
    )
    assert [(line.pool, line.workers) for line in lines] == [("explore", 1), ("label", 2)]
    assert [line.utilisation for line in lines] == pytest.approx([0.5, 0.75])


def test_tasks_one_after_the_other_share_a_lane():
    (line,) = pool_lines(history_of(task("label", 0, 5), task("label", 5, 9)))
    assert line.workers == 1
    assert line.utilisation == pytest.approx(1.0)


def test_a_running_task_lasts_until_now():
    (line,) = pool_lines(history_of(task("label", 0, None), task("label", 0, 8)))
    assert line.busy_s == pytest.approx(16)


def test_waiting_tasks_are_not_on_the_time_line():
    waiting = TaskRecord(id="w", pool="train", function="fit", submitted_s=1.0, outcome="waiting")
    assert pool_lines(history_of(waiting)) == []
    assert cost_rows(history_of(waiting)) == []
    assert total_cost([]) is None


def test_pools_come_in_the_order_of_the_loop_and_others_after():
    tasks = [task(pool, 0, 1) for pool in ("train", "zoo", "label", "explore")]
    assert [line.pool for line in pool_lines(history_of(*tasks))] == [
        "explore",
        "label",
        "train",
        "zoo",
    ]


def test_a_long_time_line_keeps_its_longest_tasks():
    tasks = [task("label", i, i + 0.5) for i in range(MOST_BARS)] + [task("label", 9000, 9900)]
    (line,) = pool_lines(history_of(*tasks))
    assert len(line.bars) == MOST_BARS
    assert line.n_tasks == MOST_BARS + 1
    assert line.bars[-1].end_s == 9900


def test_overlap_is_the_share_of_busy_time_with_two_pools():
    history = history_of(task("label", 0, 10), task("explore", 5, 15))
    assert overlap_share(history) == pytest.approx(5 / 15)
    assert overlap_share(newborn_history()) is None


def test_two_tasks_of_one_pool_are_no_overlap():
    assert overlap_share(history_of(task("label", 0, 10), task("label", 0, 10))) == 0


def test_the_ledger_adds_up_and_divides_by_accepted_labels():
    history = replace(
        history_of(
            task("label", 0, 4, "label_frame", cpu_s=3.0),
            replace(task("label", 4, 6, "label_frame"), outcome="failed"),
            task("explore", 0, 10, "run_md", cpu_s=9.0),
        ),
        labels=full_history().labels[:2],
    )
    explore, label = cost_rows(history)
    assert (explore.function, explore.calls, explore.wall_s) == ("run_md", 1, 10)
    assert (label.calls, label.failed, label.wall_s, label.cpu_s) == (2, 1, 6, 3.0)
    assert label.mean_wall_s == 3
    assert label.wall_s_per_label == 3
    total = total_cost([explore, label])
    assert (total.calls, total.failed, total.wall_s, total.cpu_s) == (3, 1, 16, 12.0)
    assert total.cpu_s_per_label == 6


def test_without_labels_there_is_no_cost_per_label():
    (row,) = cost_rows(history_of(task("label", 0, 4)))
    assert row.wall_s_per_label is None
    assert row.cpu_s is None


def test_running_tasks_are_those_that_started_and_did_not_end():
    assert {t.outcome for t in running_tasks(running_history())} == {"running"}
    assert running_tasks(full_history()) == []


def test_refusals_are_counted_by_reason():
    assert refusal_counts(full_history().refusals) == [
        ("force_too_large", 2),
        ("atoms_too_close", 1),
    ]

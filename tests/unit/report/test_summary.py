from dataclasses import replace

from synthetic_history import full_history, newborn_history, running_history

from voltaloop.report import TaskRecord, answer_table, status_lines


def text_of(history, **more):
    return "\n".join(status_lines(history, **more)).replace("\u00a0", " ")


def test_the_answer_table_has_one_row_for_each_content():
    table = answer_table(full_history())
    rows = [[cell.replace("\u00a0", " ") for cell in row] for row in table.rows]
    assert rows[0][:4] == ["1", "33.14 ± 0.06", "33.10", "+0.12"]
    assert rows[1][2:4] == ["–", "–"]
    assert all(len(row) == len(table.headers) for row in rows)
    assert "loses 7.09" in table.caption


def test_the_answer_table_of_a_newborn_campaign_is_empty():
    table = answer_table(newborn_history())
    assert table.rows == ()
    assert table.caption == "No answer yet."


def test_status_of_a_running_campaign():
    text = text_of(running_history(), label_budget=150, folder="runs/lno")
    assert text.startswith("lno: running (LiNiO2, 16 atoms, seed 1)")
    assert "labels (budget 150): 60 labels: 25 start, 29 uncertain, 6 random; 1 refused." in text
    assert "training: round 4 on 57 labels" in text
    assert "provisional answer (round 4): When all its lithium leaves" in text
    assert "tasks: 2 running, 0 waiting" in text
    assert "  explore: MD 1, for" in text
    assert "refused: atoms_too_close: O-O distance 0.91 Å" in text
    assert text.endswith("voltaloop status runs/lno")


def test_status_of_a_finished_campaign_says_why_it_stopped():
    text = text_of(full_history(), folder="runs/lno")
    assert "stopped because: volume change and voltage settled" in text
    assert "reference: The reference itself" in text
    assert "audit: " in text
    assert text.endswith("next: voltaloop report runs/lno")


def test_status_of_a_paused_campaign_says_how_to_go_on():
    text = text_of(replace(running_history(), state="paused", notes=("stopped by SIGTERM",)))
    assert "note: stopped by SIGTERM" in text
    assert text.endswith("next: voltaloop run FILE --out DIR continues where it stopped")


def test_status_of_a_newborn_campaign():
    text = text_of(newborn_history())
    assert "training: no round yet" in text
    assert "answer: none yet" in text


def test_waiting_tasks_are_counted():
    waiting = TaskRecord(id="w", pool="train", function="fit", submitted_s=1.0, outcome="waiting")
    assert "tasks: 0 running, 1 waiting" in text_of(replace(newborn_history(), tasks=(waiting,)))


def test_only_the_latest_refusals_are_named():
    many = [replace(r, detail=f"number {i}") for i, r in enumerate(full_history().refusals * 3)]
    text = text_of(replace(full_history(), refusals=many))
    assert "number 8" in text
    assert "number 5" not in text

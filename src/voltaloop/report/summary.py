"""The campaign in a terminal: plain data for a table, and the lines of ``voltaloop status``."""

from __future__ import annotations

from dataclasses import dataclass

from voltaloop.report.formats import MISSING, content, duration, fixed, plural, signed, with_error
from voltaloop.report.history import CampaignHistory, TrainingRound
from voltaloop.report.operations import running_tasks
from voltaloop.report.quality import audit_errors
from voltaloop.report.tables import (
    answer_of,
    content_rows,
    headline,
    headline_sentence,
    reference_sentence,
    rests_on_sentence,
    stopping_reason,
)

LAST_REFUSALS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTable:
    """Headers and rows of text, ready to print; caption: the answer as a sentence."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def answer_table(history: CampaignHistory) -> AnswerTable:
    """Volume, a, c for each lithium content beside the reference's own; no rows while running."""
    found = headline(history)
    answer = answer_of(history)
    sentences = [] if found is None else [headline_sentence(found), reference_sentence(found)]
    return AnswerTable(
        caption=" ".join(text for text in sentences if text) or "No answer yet.",
        headers=(
            "x",
            "volume (Å3/f.u.)",
            "reference (Å3/f.u.)",
            "deviation (%)",
            "a (Å)",
            "c (Å)",
        ),
        rows=tuple(
            (
                content(row.x),
                with_error(row.volume.value, row.volume.err),
                fixed(row.volume.reference, 2),
                signed(row.volume_deviation_percent, 2),
                with_error(row.a.value, row.a.err, 3),
                with_error(row.c.value, row.c.err, 2),
            )
            for row in (content_rows(answer) if answer is not None else [])
        ),
    )


def status_lines(
    history: CampaignHistory, *, label_budget: int | None = None, folder: str | None = None
) -> list[str]:
    """What stands, what runs, what went wrong and how to go on.

    label_budget: training labels the campaign may ask for; folder: where the campaign lives.
    """
    return [
        f"{history.name}: {history.state} ({history.formula}, {plural(history.n_atoms, 'atom')}, "
        f"seed {history.seed}), {duration(history.elapsed_s)} in",
        _labels_line(history, label_budget),
        _round_line(history.rounds[-1]) if history.rounds else "training: no round yet",
        *_answer_lines(history),
        *_running_lines(history),
        *_refusal_lines(history),
        *(f"note: {text}" for text in history.notes),
        *_go_on_lines(history, folder),
    ]


def _labels_line(history: CampaignHistory, budget: int | None) -> str:
    spent = "" if budget is None else f" (budget {budget})"
    return f"labels{spent}: {rests_on_sentence(history)}"


def _round_line(last: TrainingRound) -> str:
    covered = [
        f"{name} {fixed(100 * value, 0)} %"
        for name, value in (("energy", last.coverage_energy), ("force", last.coverage_force))
        if value is not None
    ]
    return (
        f"training: round {last.generation} on {plural(last.n_labels, 'label')}, held-out "
        f"{fixed(last.heldout_energy_rmse_meV_per_atom, 1)} meV/atom and "
        f"{fixed(last.heldout_force_rmse_eV_per_A, 3)} eV/Å"
        + (f"; 95 % interval holds {', '.join(covered)}" if covered else "")
    )


def _answer_lines(history: CampaignHistory) -> list[str]:
    found = headline(history)
    if found is None:
        return ["answer: none yet"]
    kind = "answer" if found.round is None else f"provisional answer (round {found.round})"
    lines = [f"{kind}: {headline_sentence(found)}"]
    reference = reference_sentence(found)
    if reference:
        lines.append(f"reference: {reference}")
    errors = audit_errors(history)
    if errors.energy_rmse_meV_per_atom is not None:
        lines.append(
            f"audit: {fixed(errors.energy_rmse_meV_per_atom, 1)} meV/atom and "
            f"{fixed(errors.force_rmse_eV_per_A, 3)} eV/Å on {plural(errors.frames, 'frame')}"
        )
    return lines


def _running_lines(history: CampaignHistory) -> list[str]:
    tasks = running_tasks(history)
    waiting = sum(task.started_s is None and task.ended_s is None for task in history.tasks)
    if not tasks and not waiting:
        return []
    now = history.elapsed_s
    lines = [f"tasks: {len(tasks)} running, {waiting} waiting"]
    lines += [
        f"  {task.pool}: {task.title or task.function}, "
        f"for {duration(now - (task.started_s or 0.0))}"
        for task in tasks
    ]
    return lines


def _refusal_lines(history: CampaignHistory) -> list[str]:
    latest = list(history.refusals)[-LAST_REFUSALS:]
    return [
        f"refused: {refusal.reason}{': ' + refusal.detail if refusal.detail else ''} "
        f"({', '.join(filter(None, (refusal.title, refusal.tried, refusal.fate)))})"
        for refusal in latest
    ]


def _go_on_lines(history: CampaignHistory, folder: str | None) -> list[str]:
    where = folder or "DIR"
    if history.state == "finished":
        reason = stopping_reason(history) or MISSING
        return [f"stopped because: {reason}", f"next: voltaloop report {where}"]
    if history.state == "running":
        return [f"next: wait, or look again with voltaloop status {where}"]
    if history.state == "failed":
        return ["next: mend the cause, then voltaloop run FILE --out a new folder"]
    return [f"next: voltaloop run FILE --out {where} continues where it stopped"]

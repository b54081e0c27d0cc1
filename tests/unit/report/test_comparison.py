import re
from dataclasses import replace
from typing import Any

import pytest

from voltaloop.report.comparison import (
    HEADERS,
    ComparedEngine,
    ComparedRun,
    Comparison,
    comparison_markdown,
    comparison_rows,
    comparison_sentence,
    failures,
    largest_common_size,
    meaning,
    means,
)
from voltaloop.report.comparison_page import comparison_page
from voltaloop.report.study import render_study

ERRORS = {"pod": (5.0, 0.10), "gap": (3.0, 0.12)}


def finished(potential: str, size: int, split: int = 0, **more: Any) -> ComparedRun:
    energy, force = ERRORS[potential]
    found = {
        "energy_rmse_meV_per_atom": energy * 50 / size + split,
        "force_rmse_eV_per_A": force * 50 / size + 0.01 * split,
        "stress_rmse_GPa": 0.5,
        "train_s": 2.0,
        "train_cpu_s": 1.0 if potential == "pod" else 80.0,
        "retrain_s": 0.6,
        "retrain_cpu_s": 0.5 if potential == "pod" else 60.0,
        "examine_s": 0.1,
        "atom_steps_per_s": 6000.0 if potential == "pod" else 900.0,
        "atom_steps_per_cpu_s": 7000.0,
        "md_atoms": 16,
        "coverage_energy_raw": 0.18,
        "coverage_energy": 0.95,
        "coverage_force_raw": 0.14,
        "coverage_force": 0.94,
        "peak_memory_GB": 0.4,
        "members": 8,
        "notes": [],
        **more,
    }
    known = {"potential": potential, "engine": potential, "split": split, "n_train": size}
    return ComparedRun.of(found, n_test=20, **known)


def comparison_of(*runs: ComparedRun, splits: int = 1, **more: Any) -> Comparison:
    names = list(dict.fromkeys(run.potential for run in runs))
    return Comparison(
        name="lno",
        seed=1,
        labels="240 labelled frames of Li-O-Ni",
        test="48 frames",
        splits=splits,
        retrain_frames=8,
        engines=[ComparedEngine(name=name, engine=name, options={"members": 8}) for name in names],
        runs=runs,
        versions={"voltaloop": "0.1.0", "machine": "a slow one, 2 cores"},
        text="name: lno\n",
        **more,
    )


def lost(potential: str, size: int, outcome: Any = "failed", reason: str = "no") -> ComparedRun:
    return ComparedRun(
        potential=potential,
        engine=potential,
        split=0,
        n_train=size,
        n_test=20,
        outcome=outcome,
        reason=reason,
    )


def full() -> Comparison:
    return comparison_of(
        *(finished(name, size, split) for name in ERRORS for size in (25, 100) for split in (0, 1)),
        lost("deepmd", 25, "not installed", "'dp' is not there. Install it with: scripts/it"),
        lost("deepmd", 100, "not installed", "'dp' is not there. Install it with: scripts/it"),
        splits=2,
    )


def test_means_are_over_splits_with_their_standard_deviation() -> None:
    first = means(full())[0]
    assert (first.potential, first.n_train, first.finished, first.runs) == ("pod", 25, 2, 2)
    force = first.values["force_rmse_eV_per_A"]
    assert force.mean == pytest.approx(0.205)
    assert force.err == pytest.approx(0.01 / 2**0.5)


def test_a_single_split_has_no_error_bar() -> None:
    (mean,) = means(comparison_of(finished("pod", 25)))
    assert mean.values["force_rmse_eV_per_A"].err is None


def test_the_table_has_a_row_for_every_potential_and_size() -> None:
    rows = comparison_rows(full())
    assert [row[:2] for row in rows] == [
        (name, size) for name in ("pod", "gap", "deepmd") for size in ("25", "100")
    ]
    assert all(len(row) == len(HEADERS) for row in rows)
    told = dict(zip(HEADERS, rows[0], strict=True))
    assert told["energy (meV/atom)"] == "10.5\u00a0±\u00a00.7"
    assert told["training (CPU)"] == "2.0\u00a0s (1.0\u00a0s)"
    assert told["atom-steps/s (CPU)"] == "6\u202f000 (7\u202f000)"
    assert told["95 % covers energy"] == "18 → 95\u00a0%"
    assert rows[-1][2] == "not installed"


def test_what_some_splits_did_not_give_is_marked() -> None:
    rows = comparison_rows(comparison_of(finished("pod", 25), lost("pod", 25)))
    assert rows[0][0] == "pod *"


def test_a_failure_is_told_once_with_its_reason_and_where() -> None:
    assert failures(full()) == [
        "deepmd not installed: 'dp' is not there. Install it with: scripts/it"
    ]
    some = comparison_of(finished("pod", 100), lost("pod", 25, reason="too few"))
    assert failures(some) == ["pod failed: too few (1 run of 2, with 25 frames)"]


def test_the_sentence_says_who_is_best_at_what() -> None:
    assert comparison_sentence(full()) == (
        "Trained on 100 frames, pod has the smallest force error, 0.0550 eV/Å, and gap the "
        "smallest energy error, 2.00 meV/atom. pod is the cheapest to retrain (0.5\u00a0s of "
        "CPU); pod is the fastest in MD (6\u202f000 atom-steps/s)."
    )


def test_the_sentence_of_one_potential_compares_it_with_nothing() -> None:
    assert comparison_sentence(comparison_of(finished("pod", 50))) == (
        "Trained on 50 frames, pod has a force error of 0.100 eV/Å and an energy error of "
        "5.00 meV/atom."
    )


def test_the_sentence_of_a_comparison_without_results_says_so() -> None:
    nothing = comparison_of(lost("pod", 25))
    assert comparison_sentence(nothing) == "No potential could be measured."
    assert largest_common_size(nothing) is None


def test_potentials_are_compared_where_all_of_them_have_results() -> None:
    found = comparison_of(finished("pod", 25), finished("pod", 100), finished("gap", 25))
    assert largest_common_size(found) == 25


def test_the_meaning_of_error_bars_is_told_where_there_are_some() -> None:
    assert "standard deviation over 2 splits" in meaning(full())
    assert "standard deviation" not in meaning(comparison_of(finished("pod", 25)))


def test_the_markdown_is_one_table_and_what_it_needs() -> None:
    text = comparison_markdown(
        replace(full(), runs=[*full().runs, lost("gap", 200, reason="one\ntwo | three")])
    )
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 7
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert "- gap failed: one two | three" in text
    assert text.startswith("Labels: 240 labelled frames of Li-O-Ni. Test: 48 frames.\n")


def test_the_page_has_a_plot_of_everything_that_was_measured() -> None:
    page = comparison_page(full())
    shown = {
        card.key for section in page.chapters for card in section.cards if hasattr(card, "key")
    }
    empty = {
        card.key
        for section in page.chapters
        for card in section.cards
        if hasattr(card, "key") and not card.full
    }
    assert empty == set()
    assert {"error-force", "error-energy", "error-stress", "price", "times", "speed"} <= shown
    assert {"memory", "coverage-energy", "coverage-force"} <= shown
    text = render_study(page)
    assert "Install it with: scripts/it" in text.replace("&#39;", "'")
    assert "<script src" not in text


def test_the_page_says_why_something_is_not_there() -> None:
    run = finished(
        "pod", 25, stress_rmse_GPa=None, coverage_energy_raw=None, coverage_force_raw=None
    )
    page = comparison_page(comparison_of(run))
    reasons = [reason for section in page.chapters for reason in section.missing]
    assert "no label of the test has a stress." in reasons
    assert any(reason.startswith("no committee of several members") for reason in reasons)
    render_study(page)


def test_a_page_without_any_result_can_be_drawn() -> None:
    assert "No potential could be measured." in render_study(
        comparison_page(comparison_of(lost("pod", 25)))
    )


def test_one_size_is_drawn_as_bars_and_several_as_lines() -> None:
    def kind(*runs: ComparedRun) -> str:
        cards = comparison_page(comparison_of(*runs)).chapters[1].cards
        return str(cards[0].figure.data[0].type)  # type: ignore[union-attr]

    assert kind(finished("pod", 25)) == "bar"
    assert kind(finished("pod", 25), finished("pod", 50)) == "scatter"


def test_names_cannot_bring_markup_into_the_page() -> None:
    run = replace(finished("pod", 25), potential="<img src=x onerror=alert(1)>")
    text = render_study(comparison_page(comparison_of(run)))
    assert "<img src=x" not in text

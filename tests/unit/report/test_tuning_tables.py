from dataclasses import replace
from typing import Any

from voltaloop.report.study import render_study
from voltaloop.report.tuning import (
    Examined,
    Trial,
    Tuning,
    best_lines,
    best_of,
    front_rows,
    pareto_front,
    result_rows,
    setting,
    trial_row,
    tuning_sentence,
)
from voltaloop.report.tuning_page import option_figure, pareto_figure, tuning_page


def trial(number: int | None, energy: float, force: float, **values: Any) -> Trial:
    return Trial(
        number=number,
        values=values or ({} if number is None else {"basis.rcut": 3.0 + number / 4}),
        energy_rmse_meV_per_atom=energy,
        force_rmse_eV_per_A=force,
        stress_rmse_GPa=0.5,
        train_s=3.0,
        train_cpu_s=2.0,
    )


FAILED = Trial(number=3, values={"basis.rcut": 9.0}, failed="ValueError: too far")


def tuning(*trials: Trial, **more: Any) -> Tuning:
    present = trial(None, 6.0, 0.3)
    best = best_of([present, *trials])
    examined = Examined(energy_rmse_meV_per_atom=4.0, force_rmse_eV_per_A=0.2)
    return Tuning(
        **{
            "name": "lno",
            "seed": 1,
            "engine": "pod",
            "fixed": {"members": 8},
            "labels": "240 labelled frames of Li-O-Ni",
            "test": "48 frames",
            "scoring": "3-fold cross-validation over 192 frames",
            "sampler": "tpe",
            "present": present,
            "trials": trials,
            "best": best,
            "examined": {
                "present": replace(examined, force_rmse_eV_per_A=0.25),
                "best": examined,
            },
            "versions": {"voltaloop": "0.1.0"},
            "text": "name: lno\n",
            **more,
        }
    )


FULL = tuning(trial(0, 5.0, 0.4), trial(1, 7.0, 0.1), trial(2, 8.0, 0.2), FAILED)


def test_the_best_has_the_smallest_product_of_both_errors() -> None:
    assert best_of([trial(0, 5.0, 0.4), trial(1, 7.0, 0.1), FAILED]) == trial(1, 7.0, 0.1)
    assert best_of([FAILED]) is None


def test_the_front_is_what_no_other_beats_in_both_errors() -> None:
    trials = [trial(0, 5.0, 0.4), trial(1, 7.0, 0.1), trial(2, 8.0, 0.2), trial(4, 5.0, 0.5)]
    assert [one.number for one in pareto_front([*trials, FAILED])] == [0, 1]


def test_of_two_equal_settings_one_is_on_the_front() -> None:
    assert len(pareto_front([trial(0, 5.0, 0.4), trial(1, 5.0, 0.4)])) == 1


def test_the_table_of_the_front_marks_the_best() -> None:
    assert [row[0] for row in front_rows(FULL)] == ["1", "as the file has it", "2 ★"]


def test_a_setting_is_told_as_yaml_would_have_it() -> None:
    assert setting({"a.b": 4.5, "c": True, "d": "small", "e": [1, 2]}) == (
        "a.b 4.5, c true, d small, e [1, 2]"
    )
    assert setting({}) == "as the file has it"


def test_a_failed_trial_tells_its_reason() -> None:
    assert trial_row(FAILED)[-1] == "basis.rcut 9.0: ValueError: too far"
    assert FAILED.to_json()["energy_rmse_meV_per_atom"] is None


def test_the_sentence_is_about_frames_that_the_search_never_saw() -> None:
    assert tuning_sentence(FULL) == (
        "The best of 4 settings has 0.200 eV/Å and 4.00 meV/atom on test frames that the search "
        "never saw; the one in the file has 0.250 eV/Å and 4.00 meV/atom."
    )


def test_the_sentence_tells_what_went_otherwise() -> None:
    assert "None of 1 setting is better" in tuning_sentence(tuning(trial(0, 60.0, 3.0)))
    broken = {"best": Examined(failed="ValueError: no"), "present": FULL.examined["present"]}
    assert "failed when it was trained on all frames: ValueError: no" in tuning_sentence(
        replace(FULL, examined=broken)
    )
    alone = replace(
        FULL,
        present=Trial(number=None, values={}, failed="ValueError"),
        examined={"best": FULL.examined["best"]},
    )
    assert tuning_sentence(alone).endswith("; the one in the file failed.")
    assert result_rows(alone)[0][1] == "–"
    render_study(tuning_page(alone))


def test_the_lines_of_the_best_say_how_it_was_chosen() -> None:
    assert best_lines(FULL)[0] == (
        "The smallest product of held-out energy and force error of 4 trials (1 failed) and the "
        "present setting, 3-fold cross-validation over 192 frames."
    )


def test_the_pareto_plot_holds_every_setting_that_worked() -> None:
    drawn = pareto_figure(FULL)
    assert drawn is not None
    points = {
        (x, y)
        for trace in drawn.data
        if trace.mode == "markers"
        for x, y in zip(trace.x, trace.y, strict=True)
    }
    assert points == {
        (one.energy_rmse_meV_per_atom, one.force_rmse_eV_per_A) for one in FULL.candidates
    }


def test_an_option_may_be_numbers_or_words() -> None:
    words = tuning(trial(0, 5.0, 0.4, basis="small"), trial(1, 6.0, 0.3, basis={"rcut": 4}))
    drawn = option_figure(words, "basis")
    assert drawn is not None
    assert list(drawn.data[0].x) == ["small", '{"rcut": 4}']
    far = tuning(trial(0, 5.0, 0.4, rate=0.001), trial(1, 6.0, 0.3, rate=0.1))
    logarithmic = option_figure(far, "rate")
    assert logarithmic is not None
    assert logarithmic.layout.xaxis.type == "log"


def test_the_page_shows_every_option_and_every_trial() -> None:
    page = tuning_page(FULL)
    keys = [
        card.key
        for section in page.chapters
        for card in section.cards
        if hasattr(card, "key") and card.full
    ]
    assert keys == ["pareto", "option-0", "way"]
    text = render_study(page)
    assert "ValueError: too far" in text
    assert "0.250 eV/Å" in text


def test_a_page_without_any_working_setting_can_be_drawn() -> None:
    nothing = tuning(
        FAILED,
        present=Trial(number=None, values={}, failed="ValueError: no"),
        best=None,
        examined={},
    )
    assert tuning_sentence(nothing) == "None of 1 setting worked."
    assert "None of 1 setting worked." in render_study(tuning_page(nothing))
    assert nothing.to_json()["front"] == []

import math

import pytest

from voltaloop.report.formats import (
    content,
    duration,
    fixed,
    percent,
    plural,
    signed,
    significant,
    subscripted,
    unit,
    with_content_x,
    with_error,
)


@pytest.mark.parametrize(
    ("value", "err", "text"),
    [
        (-7.0912, 0.3123, "−7.09 ± 0.31"),
        (33.1412, 0.0612, "33.14 ± 0.06"),
        (3.5526, 0.0184, "3.553 ± 0.018"),
        (3.5525, 12.0, "4 ± 12"),
        (3.5525, None, "3.55"),
        (3.5525, 0.0, "3.55"),
        (3.5526, 1e-9, "3.553 ± <0.001"),
        (None, 0.1, "–"),
        (math.nan, 0.1, "–"),
    ],
)
def test_a_value_is_written_to_the_place_of_its_error(value, err, text):
    assert with_error(value, err).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.001, "0.00"), (-1.5, "−1.50"), (12345.678, "12\u202f345.68"), (None, "–")],
)
def test_fixed_has_a_true_minus_and_no_minus_zero(value, text):
    assert fixed(value) == text


def test_signed_shows_the_plus():
    assert (signed(0.12), signed(-0.12), signed(0.0)) == ("+0.12", "−0.12", "0.00")


@pytest.mark.parametrize(
    ("value", "text"), [(0.1089, "0.109"), (12.44, "12.4"), (1240.0, "1\u202f240"), (0.0, "0.00")]
)
def test_three_significant_digits(value, text):
    assert significant(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.44, "2.4 s"),
        (59.97, "1 min 00 s"),
        (192, "3 min 12 s"),
        (3599.7, "1 h 00 min"),
        (3840, "1 h 04 min"),
        (180000, "2 d 02 h"),
        (None, "–"),
    ],
)
def test_durations_are_read_at_a_glance(seconds, text):
    assert duration(seconds).replace("\u00a0", " ") == text


def test_formulas_have_subscripts():
    assert subscripted("LiNi0.8Co0.2O2") == "LiNi₀.₈Co₀.₂O₂"
    assert with_content_x("LiNiO2") == "LiₓNiO₂"
    assert with_content_x("Li2MnO3") == "LiₓMnO₃"
    assert with_content_x("NiO2") == "NiO₂"


def test_small_words():
    assert (content(1.0), content(0.25), content(1 / 12)) == ("1", "0.25", "0.083")
    assert (plural(1, "label"), plural(2, "label")) == ("1 label", "2 labels")
    assert percent(0.945, 1) == "94.5\u00a0%"
    assert (unit("–", "V"), unit("3", "V")) == ("–", "3\u00a0V")

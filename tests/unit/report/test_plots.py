import re

import pytest
from synthetic_history import full_history, running_history

from voltaloop.report import FigureCard, sections
from voltaloop.report.drawing import content_colours, logarithmic, plain, time_axis

UNIT = re.compile(r"\(.+\)")


def figures(history):
    return {
        card.key: card.figure
        for section in sections(history)
        for card in section.cards
        if isinstance(card, FigureCard) and card.figure is not None
    }


FULL = figures(full_history())


@pytest.mark.parametrize("key", sorted(FULL))
def test_every_axis_has_a_title_with_its_unit(key):
    layout = FULL[key].to_plotly_json()["layout"]
    axes = {name: axis for name, axis in layout.items() if name[1:5] == "axis"}
    assert {"xaxis", "yaxis"} <= set(axes)
    for name, axis in axes.items():
        assert UNIT.search(axis["title"]["text"]), (key, name)


@pytest.mark.parametrize("key", sorted(FULL))
def test_every_axis_that_a_trace_uses_is_laid_out(key):
    drawn = FULL[key].to_plotly_json()
    for trace in drawn["data"]:
        for letter in "xy":
            used = trace.get(f"{letter}axis") or letter
            assert used.replace(letter, f"{letter}axis") in drawn["layout"]


@pytest.mark.parametrize("key", sorted(FULL))
def test_no_trace_is_empty(key):
    for trace in FULL[key].data:
        assert len(trace.x) == len(trace.y) > 0


@pytest.mark.parametrize("key", sorted(FULL))
def test_the_background_is_left_to_the_page(key):
    assert FULL[key].layout.paper_bgcolor == "rgba(0,0,0,0)"
    assert FULL[key].layout.plot_bgcolor == "rgba(0,0,0,0)"


def test_volume_stands_beside_the_reference_where_it_was_computed():
    reference, potential = FULL["volume"].data
    assert list(reference.x) == [1.0, 0.5, 0.0]
    assert list(reference.y) == [33.10, 32.66, 30.82]
    assert list(potential.x) == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert list(potential.error_y.array) == [0.06, 0.09, 0.08, 0.14, 0.11]


def test_the_voltage_profile_is_a_staircase_with_the_reference_average():
    average, steps, bars = FULL["voltage"].data
    assert set(average.y) == {3.5361}
    assert list(steps.x) == [1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25, 0.0]
    assert list(steps.y) == [3.11, 3.11, 3.42, 3.42, 3.71, 3.71, 3.97, 3.97]
    assert list(bars.x) == [0.875, 0.625, 0.375, 0.125]


def test_the_audit_is_a_star_at_the_number_of_labels():
    stars = [trace for trace in FULL["learning"].data if trace.marker.symbol == "star"]
    assert [star.yaxis for star in stars] == ["y", "y2"]
    assert all(list(star.x) == [129] for star in stars)


def test_no_star_before_the_audit():
    traces = figures(running_history())["learning"].data
    assert not [trace for trace in traces if trace.marker.symbol == "star"]


def test_uncertainty_plot_prints_raw_and_calibrated_coverage():
    (said,) = FULL["sigma-energy"].layout.annotations
    assert said.text == "inside the 95 % interval:<br>raw 20 %, calibrated 95 %"


def test_selected_frames_are_drawn_by_origin_with_the_trust_band():
    figure = FULL["selected-x"]
    assert [trace.name for trace in figure.data] == ["uncertain (84)", "random (20)"]
    last = full_history().rounds[-1]
    (band,) = figure.layout.shapes
    assert (band.y0, band.y1) == (last.lower_trust, last.upper_trust)


def test_the_time_line_says_how_busy_each_pool_is():
    ticks = FULL["timeline"].layout.yaxis.categoryarray
    assert [re.sub(r"\d+", "N", tick).replace("\u00a0", " ") for tick in reversed(ticks)] == [
        "explore  N %",
        "label  N %",
        "train  N %",
    ]


@pytest.mark.parametrize(
    ("span", "unit", "seconds"), [(300, "(s)", 1), (5000, "(min)", 60), (90000, "(h)", 3600)]
)
def test_the_time_axis_takes_the_unit_that_fits(span, unit, seconds):
    axis, divisor = time_axis(span)
    assert axis["title"]["text"].endswith(unit)
    assert divisor == seconds
    assert axis["range"][1] == pytest.approx(1.01 * span / seconds)


def test_a_logarithmic_axis_is_labelled_with_plain_numbers():
    narrow = logarithmic("error (eV)", [0.03, 0.4])
    assert {"0.05", "0.2"} <= set(narrow["ticktext"])
    wide = logarithmic("error (eV)", [0.001, 40])
    assert "0.05" not in wide["ticktext"]
    assert "0.01" in wide["ticktext"]
    assert wide["range"][0] < -3


def test_a_logarithmic_axis_survives_zeros_and_missing_values():
    low, high = logarithmic("error (eV)", [0.0, None])["range"]
    assert low < high


def test_lithium_contents_have_their_own_colours():
    colours = content_colours([1.0, 0.0, 0.5, 0.5])
    assert len(set(colours.values())) == 3


def test_text_for_plots_holds_no_tags():
    assert plain("<b>x</b>") == "&lt;b&gt;x&lt;/b&gt;"

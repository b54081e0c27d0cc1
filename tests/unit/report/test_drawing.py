import math

import pytest

from voltaloop.report.drawing import logarithmic


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.16, 0.24], ["0.15", "0.2", "0.25"]),
        ([6.9, 9.5], ["7", "8", "9", "10"]),
        ([1.0, 60.0], ["1", "2", "5", "10", "20", "50"]),
        ([0.01, 90.0], ["0.01", "0.1", "1", "10", "100"]),
    ],
)
def test_a_logarithmic_axis_has_round_labels_whatever_it_spans(
    values: list[float], labels: list[str]
) -> None:
    axis = logarithmic("error", values)
    low, high = axis["range"]
    shown = [
        text
        for tick, text in zip(axis["tickvals"], axis["ticktext"], strict=True)
        if low <= math.log10(tick) <= high
    ]
    assert shown == labels

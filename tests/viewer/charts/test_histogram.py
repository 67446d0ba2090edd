"""Histograms."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.viewer.charts import histogram
from evalhub_server.viewer.charts.histogram import Bin, bins
from viewer.charts.svg_reader import assert_inside, description, numbers_of, of_class, parsed, texts, tooltips


def test_bars_are_as_high_as_their_counts():
    root = parsed(histogram([0.0, 0.0, 0.0, 1.0], title="Scores", label="accuracy"))
    bars = of_class(root, "bar")
    heights = [numbers_of(bar, "height")[0] for bar in bars]
    assert heights[0] == pytest.approx(3 * heights[-1], abs=0.05)
    assert not any(heights[1:-1])
    assert next(tooltips(root)) == "0 to 0.1: 3 samples"
    assert texts(root, "note") == ["accuracy"]
    assert description(root) == "4 samples in 10 bins."
    assert_inside(root)


def test_bins_include_their_lower_limit_and_the_last_one_both():
    assert bins([0.0, 5.0, 10.0], most=3) == [Bin(0, 5, 1), Bin(5, 10, 2)]
    assert [each.samples for each in bins([0.1, 0.2, 0.3], most=4)] == [1, 2]


def test_values_that_are_not_numbers_are_counted_apart():
    root = parsed(histogram([0.5, None, math.nan, math.inf], title="Scores"))
    assert "3 values without a finite number are not drawn." in description(root)


@pytest.mark.parametrize("values", [[], [None]])
def test_no_values_are_an_empty_chart(values: list[float | None]):
    root = parsed(histogram(values, title="Scores"))
    assert not of_class(root, "bar")
    assert description(root).startswith("0 samples in 0 bins.")


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=30))
def test_any_values_are_a_well_formed_chart_with_all_of_them(values: list[float | None]):
    assert_inside(parsed(histogram(values, title="Scores")))
    finite = [value for value in values if value is not None and abs(value) <= 1e100]
    assert sum(each.samples for each in bins(values)) == len(finite)

"""Trends."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.viewer.charts import Point, Series, trend
from viewer.charts.svg_reader import assert_inside, description, numbers_of, of_class, parsed, texts, tooltips

START = datetime(2026, 11, 1, tzinfo=UTC)
ANY = st.one_of(st.none(), st.floats())


def point(day: float, value: float | None, **more: str) -> Point:
    return Point(START + timedelta(days=day), value, **more)


def points_of(root: ET.Element) -> list[ET.Element]:
    return [each for group in of_class(root, "point") for each in of_class(group, "marker")]


def test_points_stand_at_their_time_and_value_with_their_interval():
    shown = [Point(START, 0.0, 0.0, 0.5), point(1, 1.0), point(4, 0.5)]
    root = parsed(trend([Series("alpha-7b", shown)], title="Accuracy"))
    (x0, y0), (x1, y1), (x2, y2) = (numbers_of(each, "cx", "cy") for each in points_of(root))
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.25, abs=0.001)
    assert y2 == pytest.approx((y0 + y1) / 2, abs=0.02)
    assert y1 < y0
    assert numbers_of(of_class(root, "whisker")[0], "y1", "y2") == pytest.approx([y0, y2], abs=0.02)
    (line,) = of_class(root, "line")
    assert len(line.get("points", "").split()) == 3
    assert texts(root, "series-name") == ["alpha-7b"]
    assert next(tooltips(root)) == "2026-11-01 00:00 UTC: 0.00 [0.00, 0.50]"
    assert_inside(root)


def test_runs_stand_at_equal_distances():
    root = parsed(
        trend([Series("a", [point(0, 0.1), point(1, 0.2), point(50, 0.3)])], title="T", by_run=True)
    )
    x0, x1, x2 = (numbers_of(each, "cx")[0] for each in points_of(root))
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert texts(root, "tick")[-3:] == ["1", "2", "3"]


def test_the_line_is_broken_where_the_configuration_changed():
    shown = [point(0, 0.1), point(1, 0.2), point(2, 0.3, changed="provider 1.4.0 → 1.4.1"), point(3, 0.4)]
    root = parsed(trend([Series("a", shown)], title="T"))
    assert [len(line.get("points", "").split()) for line in of_class(root, "line")] == [2, 2]
    assert len(of_class(root, "break")) == 2
    assert "Configuration changed: provider 1.4.0 → 1.4.1" in list(tooltips(root))
    assert "a: changed at 2026-11-03: provider 1.4.0 → 1.4.1." in description(root)


def test_a_single_point_has_no_line():
    root = parsed(trend([Series("a", [point(0, 0.1, changed="first")])], title="T", threshold=0.8))
    assert len(points_of(root)) == 1
    assert not of_class(root, "line")
    assert not of_class(root, "break")
    assert texts(root, "note") == ["threshold 0.800"]
    assert len(of_class(root, "threshold")) == 1


def test_points_without_a_number_and_further_series_are_named_and_not_drawn():
    shown = [Series(f"model {index}", [point(0, 0.5), point(1, math.nan)]) for index in range(8)]
    root = parsed(trend([*shown, Series("none", [point(0, None)])], title="T"))
    assert len(texts(root, "series-name")) == 6
    assert "2 more series are not drawn." in description(root)
    assert "9 results without a finite number are not drawn." in description(root)
    heights = sorted(numbers_of(label, "y")[0] for label in of_class(root, "series-name"))
    assert all(after - before >= 13.99 for before, after in pairwise(heights))
    assert_inside(root)


def test_points_link_to_their_job():
    root = parsed(trend([Series("a", [point(0, 0.5, href="/ui/jobs/1", label="nightly")])], title="T"))
    assert root.get("role") == "group"
    assert next(tooltips(root)).startswith("nightly 2026-11-01")


def test_no_points_are_an_empty_chart():
    root = parsed(trend([], title="T"))
    assert description(root) == "0 results of 0 series."
    parsed(trend([], title="T", by_run=True))


@given(
    st.lists(
        st.builds(
            Series,
            st.text(max_size=40),
            st.lists(
                st.builds(
                    Point,
                    st.datetimes(timezones=st.just(UTC)),
                    ANY,
                    ANY,
                    ANY,
                    st.just(""),
                    changed=st.text(max_size=5),
                    compare=st.sampled_from(("", "/ui/compare")),
                ),
                max_size=5,
            ),
        ),
        max_size=8,
    ),
    ANY,
    st.booleans(),
)
def test_any_series_are_a_well_formed_chart(series: list[Series], threshold: float | None, by_run: bool):
    assert_inside(parsed(trend(series, title="T", threshold=threshold, by_run=by_run)))


def test_a_label_at_the_top_stays_there_when_those_at_the_bottom_make_room():
    scores = [0.0, 0.0, 1.0]
    series = [
        Series(f"s{number}", [Point(datetime(2026, 1, 1, tzinfo=UTC), value)])
        for number, value in enumerate(scores)
    ]
    assert_inside(parsed(trend(series, title="T", threshold=0.0)))

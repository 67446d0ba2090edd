"""Interval dots and forest plots."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.viewer.charts import Effect, Score, forest_plot, interval_dots
from viewer.charts.svg_reader import assert_inside, description, numbers_of, of_class, parsed, texts, tooltips

ANY = st.one_of(st.none(), st.floats())


def test_a_dot_stands_at_its_score_between_the_ends_of_its_interval():
    root = parsed(interval_dots([Score("alpha-7b", 0.25, 0.0, 1.0), Score("beta", 0.5)], title="Scores"))
    first, last = (
        numbers_of(tick, "x")[0] for tick in (of_class(root, "tick")[0], of_class(root, "tick")[-1])
    )
    dots = of_class(root, "marker")
    assert numbers_of(dots[0], "cx")[0] == pytest.approx(first + 0.25 * (last - first), abs=0.01)
    assert numbers_of(dots[1], "cx")[0] == pytest.approx(first + 0.5 * (last - first), abs=0.01)
    whisker = of_class(root, "whisker")[0]
    assert numbers_of(whisker, "x1", "x2") == pytest.approx([first, last])
    assert numbers_of(whisker, "y1")[0] == numbers_of(dots[0], "cy")[0] < numbers_of(dots[1], "cy")[0]
    assert texts(root, "value") == ["0.25 [0.00, 1.00]", "0.50"]
    assert list(tooltips(root)) == ["alpha-7b: 0.25 [0.00, 1.00]", "beta: 0.50"]
    assert_inside(root)


def test_the_threshold_is_a_line_with_a_label():
    root = parsed(interval_dots([Score("a", 0.9, 0.85, 0.95)], title="Scores", threshold=0.8))
    (line,) = of_class(root, "threshold")
    assert numbers_of(line, "x1") < numbers_of(of_class(root, "whisker")[0], "x1")
    assert texts(root, "note") == ["threshold 0.800"]
    assert "threshold 0.800" in description(root)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, 1e200])
def test_a_score_that_is_not_a_number_has_no_dot(value: float | None):
    root = parsed(interval_dots([Score("a", value, 0.1, 0.2), Score("b", 0.5)], title="Scores"))
    assert len(of_class(root, "marker")) == 1
    assert texts(root, "value") == ["not reported", "0.500"]
    assert "1 value without a finite number is not drawn." in description(root)


def test_series_have_different_markers():
    root = parsed(interval_dots([Score(str(index), 0.5, series=index) for index in range(8)], title="Scores"))
    shapes = [
        group[-2].tag.rpartition("}")[2] for group in root if group.get("class", "").startswith("series")
    ]
    assert shapes == ["circle", "rect", "polygon", "polygon", "polygon", "line", "circle", "circle"]
    assert [len(of_class(root, f"series-{number}")) for number in range(1, 7)] == [3, 1, 1, 1, 1, 1]


def test_labels_are_foreign_text_and_links_are_relative():
    hostile = "</text><script>alert(1)</script>\u202eevil" + "x" * 10_000
    root = parsed(interval_dots([Score(hostile, 0.5, href="/ui/jobs/1?a=1&b=2")], title=hostile))
    assert root.get("role") == "group"
    (link,) = [element for element in root.iter() if element.tag.endswith("}a")]
    assert link.get("href") == "/ui/jobs/1?a=1&b=2"
    assert len(link[0].text or "") < 40
    assert "⟨RLO⟩" in (root[0].text or "")
    for address in ("javascript:alert(1)", "//elsewhere", "https://elsewhere"):
        with pytest.raises(ValueError, match="must be relative"):
            interval_dots([Score("a", 0.5, href=address)], title="Scores")


def test_a_forest_plot_has_zero_the_margin_and_the_verdicts():
    rows = [
        Effect("law", -0.09, -0.12, -0.06, 400, "worse"),
        Effect("code", -0.03, -0.08, 0.02, 100),
        Effect("chess", 0.05, 0.02, 0.08, 0, "better"),
    ]
    root = parsed(forest_plot(rows, title="Differences", margin=0.02))
    (zero,) = of_class(root, "zero")
    (margin,) = of_class(root, "margin")
    x, width = numbers_of(margin, "x", "width")
    assert x + width / 2 == pytest.approx(numbers_of(zero, "x1")[0], abs=0.02)
    worse, inconclusive, better = (of_class(group, "marker")[0] for group in root if group.tag.endswith("}g"))
    assert numbers_of(worse, "cx") < numbers_of(inconclusive, "cx") < numbers_of(zero, "x1")
    assert numbers_of(zero, "x1") < numbers_of(better, "cx")
    assert [numbers_of(each, "r")[0] for each in (worse, inconclusive, better)] == [6.0, 4.5, 3.0]
    assert len(of_class(root, "effect-worse")) == len(of_class(root, "effect-better")) == 1
    assert texts(root, "value") == [
        "−0.090 [−0.120, −0.060]",
        "−0.030 [−0.080, 0.020]",
        "+0.050 [0.020, 0.080]",
    ]
    assert "The band is the margin of 0.020." in description(root)
    assert_inside(root)


def test_a_forest_plot_without_margin_and_counts():
    root = parsed(forest_plot([Effect("a", 0.1), Effect("b", None)], title="Differences"))
    assert not of_class(root, "margin")
    assert numbers_of(of_class(root, "marker")[0], "r") == [4.0]
    assert texts(root, "value") == ["+0.100", "not reported"]


@given(
    st.lists(
        st.builds(Score, st.text(max_size=40), ANY, ANY, ANY, st.integers(-1, 9), st.just("")), max_size=6
    ),
    ANY,
)
def test_any_scores_are_a_well_formed_chart(rows: list[Score], threshold: float | None):
    assert_inside(parsed(interval_dots(rows, title="Scores", threshold=threshold)))


@given(
    st.lists(
        st.builds(Effect, st.text(max_size=40), ANY, ANY, ANY, st.integers(-1, 10**9), href=st.just("")),
        max_size=6,
    ),
    ANY,
)
def test_any_differences_are_a_well_formed_chart(rows: list[Effect], margin: float | None):
    assert_inside(parsed(forest_plot(rows, title="Differences", margin=margin)))

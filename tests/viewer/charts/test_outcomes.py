"""Outcome bars, timelines and progress bars."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.models.sample import OUTCOMES, Outcome, TimelineBucket
from evalhub_server.viewer.charts import outcome_bar, outcome_words, progress_bar, timeline
from viewer.charts.svg_reader import assert_inside, description, numbers_of, of_class, parsed, texts, tooltips

START = datetime(2026, 11, 29, 21, 0, 0, tzinfo=UTC)


def test_parts_of_the_bar_are_to_scale():
    root = parsed(outcome_bar({"passed": 1620, "failed": 380}))
    passed, failed = (of_class(root, f"outcome-{each}")[0] for each in ("passed", "failed"))
    (width, end), (other, start) = numbers_of(passed, "width", "x"), numbers_of(failed, "width", "x")
    assert width / other == pytest.approx(1620 / 380, rel=0.01)
    assert end + width < start
    assert start + other == pytest.approx(480)
    assert list(tooltips(root)) == ["1,620 passed", "380 failed"]
    assert texts(root, "glyph") == ["✓", "✕"]
    assert description(root) == "1,620 passed · 380 failed · 0 errors · 0 unscored"


def test_few_samples_stay_visible_and_link_to_their_list():
    root = parsed(outcome_bar({"passed": 13_999, "error": 1}, links={"error": "?outcome=error"}))
    (error,) = of_class(root, "outcome-error")
    assert numbers_of(error, "width") == [2.0]
    assert list(tooltips(root)) == ["13,999 passed", "1 error"]
    assert [element.get("href") for element in root.iter() if element.tag.endswith("}a")] == [
        "?outcome=error"
    ]
    assert_inside(root)


def test_no_samples_are_an_empty_bar():
    assert len(of_class(parsed(outcome_bar({})), "empty")) == 1
    assert outcome_words({"error": 1}) == "0 passed · 0 failed · 1 error · 0 unscored"


@given(st.dictionaries(st.sampled_from(OUTCOMES), st.integers(0, 10**9)))
def test_any_counts_fill_the_bar(counts: Mapping[Outcome, int]):
    root = parsed(outcome_bar(counts))
    assert_inside(root)
    ends = [sum(numbers_of(rect, "x", "width")) for rect in root.iter() if rect.tag.endswith("}rect")]
    assert max(ends) == pytest.approx(480, abs=0.05)


def test_bars_of_a_timeline_are_stacked():
    shown = [
        TimelineBucket(start=START + timedelta(seconds=30 * number), outcomes={"passed": 1} if number else {})
        for number in range(60)
    ]
    shown[0] = TimelineBucket(start=START, outcomes={"passed": 2, "error": 1})
    root = parsed(timeline(shown))
    passed, error = of_class(root, "outcome-passed")[0], of_class(root, "outcome-error")[0]
    assert numbers_of(passed, "height")[0] == pytest.approx(2 * numbers_of(error, "height")[0], abs=0.02)
    assert sum(numbers_of(error, "y", "height")) == pytest.approx(numbers_of(passed, "y")[0], abs=0.02)
    assert list(tooltips(root))[:2] == ["21:00:00 UTC: 2 passed", "21:00:00 UTC: 1 error"]
    assert description(root).startswith("61 passed · 0 failed · 1 error")
    assert "21:10" in texts(root, "tick")
    assert_inside(root)


@pytest.mark.parametrize("count", [0, 1])
def test_a_short_timeline_is_well_formed(count: int):
    root = parsed(timeline([TimelineBucket(start=START, outcomes={"passed": 1})] * count))
    assert len(of_class(root, "outcome-passed")) == count
    assert ("21:00:00" in texts(root, "tick")) == bool(count)


@pytest.mark.parametrize(
    ("done", "total", "html"),
    [
        (61, 100, '<progress aria-label="Progress" max="100" value="61">61 %</progress>'),
        (7, 5, '<progress aria-label="Progress" max="5" value="5">100 %</progress>'),
        (0.5, 2.0, '<progress aria-label="Progress" max="2" value="0.5">25 %</progress>'),
        (None, 5, '<progress aria-label="Progress">unknown</progress>'),
        (3, 0, '<progress aria-label="Progress">unknown</progress>'),
        (math.nan, 5, '<progress aria-label="Progress">unknown</progress>'),
    ],
)
def test_progress_bars(done: float | None, total: float | None, html: str):
    assert progress_bar(done, total) == html


def test_the_label_of_a_progress_bar_is_foreign_text():
    assert 'aria-label="&#34;&gt;x"' in progress_bar(1, 2, label='">x')

"""Numbers and times as the pages show them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.domain.statistics.results import ScoreSummary
from evalhub_server.viewer import numbers
from evalhub_server.viewer.numbers import MISSING

NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (0.874, 3, "0.874"),
        (0.5, 2, "0.50"),
        (0.0, 3, "0.000"),
        (1, 3, "1.000"),
        (-0.25, 3, "−0.250"),
        (12345.6789, 3, "12,345.679"),
        (0.00004, 3, "4.0e−05"),
        (0.0005, 3, "0.001"),
        (2.5e16, 3, "2.5e+16"),
        (None, 3, MISSING),
        (math.nan, 3, MISSING),
        (math.inf, 3, MISSING),
    ],
)
def test_scores(value: float | None, places: int, text: str):
    assert numbers.score(value, places) == text


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.874, 0.859, 0.888, "0.874 [0.859, 0.888]"),
        (0.5, 0.2, 0.8, "0.50 [0.20, 0.80]"),
        (0.5, 0.4498, 0.5502, "0.50 [0.45, 0.55]"),
        (0.91234, 0.9121, 0.9126, "0.9123 [0.9121, 0.9126]"),
        (0.0, 0.0, 0.036, "0.000 [0.000, 0.036]"),
        (0.01, -0.0002, 0.02, "0.010 [0.000, 0.020]"),
        (0.874, None, None, "0.874"),
        (0.874, 0.8, math.inf, "0.874"),
        (None, 0.8, 0.9, MISSING),
        (None, None, None, MISSING),
    ],
)
def test_scores_with_intervals(value: float | None, low: float | None, high: float | None, text: str):
    assert numbers.score_with_interval(value, low, high) == text


def test_a_column_has_one_number_of_decimals():
    assert numbers.decimals([0.06, 0.2, None]) == 2
    assert numbers.decimals([0.06, 0.01]) == 3
    assert numbers.decimals([0.0001, 0.0004]) == 4
    assert numbers.decimals([0.0001, 0.01]) == 3
    assert numbers.decimals([None, math.nan]) == 3
    assert numbers.score_with_interval(0.5, 0.2, 0.8, 3) == "0.500 [0.200, 0.800]"
    assert numbers.score_with_interval(0.5, None, None, 2) == "0.50"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.064, "−0.064"),
        (0.012, "+0.012"),
        (0.0, "0.000"),
        (0.00004, "+4.0e−05"),
        (None, MISSING),
        (math.nan, MISSING),
    ],
)
def test_differences_have_a_sign(value: float | None, text: str):
    assert numbers.delta(value) == text


def test_counts():
    assert numbers.count(2000) == "2,000"
    assert numbers.count(0) == "0"
    assert numbers.count(-3) == "−3"
    assert numbers.count(None) == MISSING
    assert numbers.counted(1, "sample") == "1 sample"
    assert numbers.counted(1200, "reply", "replies") == "1,200 replies"


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (61, 100, "61 %"),
        (1999, 2000, "99 %"),
        (1, 2000, "<1 %"),
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (6, 5, "120 %"),
        (1, 0, MISSING),
        (math.nan, 5, MISSING),
        (1, math.inf, MISSING),
    ],
)
def test_shares(part: float, whole: float, text: str):
    assert numbers.share(part, whole) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.004, "4 ms"),
        (0.0994, "99 ms"),
        (0.0999, "0.10 s"),
        (0.31, "0.31 s"),
        (0.996, "1.0 s"),
        (3.14, "3.1 s"),
        (9.96, "10 s"),
        (26, "26 s"),
        (59.6, "1 min 00 s"),
        (192, "3 min 12 s"),
        (3599.6, "1 h 00 min"),
        (3840, "1 h 04 min"),
        (86399, "1 d 00 h"),
        (183_600, "2 d 03 h"),
        (-26, "−26 s"),
        (None, MISSING),
        (math.nan, MISSING),
    ],
)
def test_durations(seconds: float | None, text: str):
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (65536, "64 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (29 * 1024**2, "29 MiB"),
        (5 * 1024**6, "5,120 PiB"),
        (None, MISSING),
    ],
)
def test_sizes(size_bytes: int | None, text: str):
    assert numbers.size(size_bytes) == text


@pytest.mark.parametrize(
    ("elapsed", "text"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(seconds=-3), "just now"),
        (timedelta(seconds=12), "12 s ago"),
        (timedelta(minutes=5, seconds=59), "5 min ago"),
        (timedelta(hours=23, minutes=59), "23 h ago"),
        (timedelta(hours=-2), "in 2 h"),
        (timedelta(hours=24), "2026-11-29 12:00"),
        (timedelta(days=-40), "2027-01-09 12:00"),
    ],
)
def test_times_are_relative_within_a_day(elapsed: timedelta, text: str):
    assert f">{text}</time>" in numbers.moment(NOW - elapsed, NOW)


def test_a_time_has_its_seconds_in_utc():
    at = datetime(2026, 11, 30, 1, 6, 11, tzinfo=timezone(timedelta(hours=2)))
    assert numbers.moment(at, NOW) == (
        '<time datetime="2026-11-29T23:06:11Z" title="2026-11-29 23:06:11 UTC">12 h ago</time>'
    )
    assert numbers.moment(None, NOW) is MISSING


def test_missing_values_have_words_for_screen_readers():
    assert "–" in MISSING
    assert "not reported" in MISSING


def summary(n: int, n_scored: int, n_error: int = 0, n_missing: int = 0) -> ScoreSummary:
    return ScoreSummary(
        n_expected=n_scored + n_error + n_missing,
        n_scored=n_scored,
        n_error=n_error,
        n_missing=n_missing,
        n=n,
        model_errors="wrong",
        infrastructure_errors="exclude",
    )


@pytest.mark.parametrize(
    ("scored", "text"),
    [
        (summary(2000, 2000), "n = 2,000"),
        (summary(34, 34, n_error=6), "n = 34 · 6 errors excluded"),
        (summary(34, 34, n_error=1, n_missing=2), "n = 34 · 1 error and 2 missing excluded"),
        (summary(40, 34, n_error=6), "n = 40 · 6 errors counted as wrong"),
        (
            summary(39, 34, n_error=6, n_missing=1),
            "n = 39 · 6 errors and 1 missing: 5 counted as wrong, 2 excluded",
        ),
    ],
)
def test_the_number_of_samples_names_exclusions(scored: ScoreSummary, text: str):
    assert numbers.sample_counts(scored) == text


@given(st.one_of(st.none(), st.floats()), st.integers(0, 6))
def test_no_number_is_empty_or_nan(value: float | None, places: int):
    shown = (
        numbers.score(value, places),
        numbers.delta(value, places),
        numbers.duration(value),
        numbers.score_with_interval(value, value, value),
    )
    for text in shown:
        assert text
        assert not {"nan", "inf", "None"} & set(text.replace("−", "").split())
        assert "-" not in text.replace(str(MISSING), "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (10, "less than a minute"),
        (250, "about 4 min"),
        (3540, "about 59 min"),
        (3600, "about 1 h"),
        (7750, "about 2 h 10 min"),
        (7150, "about 2 h"),
        (None, MISSING),
        (math.inf, MISSING),
    ],
)
def test_estimates_are_rounded(seconds: float | None, text: str):
    assert numbers.about(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(732, "732"), (1200.0, "1,200"), (4.25, "4.2"), (0.0312, "0.031"), (123.4, "123"), (None, MISSING)],
)
def test_amounts_are_whole_where_they_can_be(value: float | None, text: str):
    assert numbers.amount(value) == text

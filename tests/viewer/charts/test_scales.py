"""Ticks and positions of axes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.viewer.charts.scales import Scale, linear_scale, time_scale

START = datetime(2026, 11, 29, 21, 6, 11, tzinfo=UTC)


def labels(scale: Scale) -> list[str]:
    return [tick.label for tick in scale.ticks]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([0.859, 0.888], ["0.85", "0.86", "0.87", "0.88", "0.89"]),
        ([-0.064, 0.02], ["−0.08", "−0.06", "−0.04", "−0.02", "0", "0.02"]),
        ([0.0, 14_042.0], ["0", "5,000", "10,000", "15,000"]),
        ([0.0, 3e7], ["0", "1e+07", "2e+07", "3e+07"]),
        ([0.874], ["0.2", "0.4", "0.6", "0.8", "1.0", "1.2", "1.4"]),
        ([], ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(values: list[float], ticks: list[str]):
    assert labels(linear_scale(values, 0, 100)) == ticks


def test_positions_are_linear_and_stay_on_the_axis():
    scale = linear_scale([0.0, 1.0], 100, 200)
    assert scale.position(0.25) == pytest.approx(125)
    assert scale.position(-5) == 100
    assert scale.position(5) == 200
    assert linear_scale([0.0, 1.0], 200, 100).position(0.25) == pytest.approx(175)


@given(st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=10))
def test_any_values_have_a_scale(values: list[float]):
    scale = linear_scale(values, 0, 100)
    assert scale.low < scale.high
    assert 2 <= len(scale.ticks) <= 9
    slack = (scale.high - scale.low) * 1e-6
    assert all(scale.low - slack <= value <= scale.high + slack for value in values)


@pytest.mark.parametrize(
    ("length", "ticks"),
    [
        (timedelta(seconds=4), ["21:06:11", "21:06:12", "21:06:13", "21:06:14", "21:06:15"]),
        (timedelta(minutes=20), ["21:10", "21:15", "21:20", "21:25"]),
        (timedelta(hours=5), ["22:00", "23:00", "11-30", "01:00", "02:00"]),
        (timedelta(days=5), ["11-30", "12-01", "12-02", "12-03", "12-04"]),
        (timedelta(days=120), ["2026-12-01", "2027-01-01", "2027-02-01", "2027-03-01"]),
    ],
)
def test_times_have_round_ticks(length: timedelta, ticks: list[str]):
    assert labels(time_scale([START, START + length], 0, 100)) == ticks


def test_one_time_and_many_years_have_a_scale():
    single = time_scale([START], 0, 100)
    assert single.position(START.timestamp()) == 50
    assert single.ticks
    assert 2 <= len(time_scale([START, START.replace(year=2090)], 0, 100).ticks) <= 7
    assert time_scale([], 0, 100).low < 0

"""Durations with and without units."""

from __future__ import annotations

import pytest

from evalhub_common.durations import Duration, Timespan


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("15s", 15),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        (".5m", 30),
        ("+250ms", 0.25),
        ("3µs", 3e-6),
        (" 0 ", 0),
        (2_000_000_000, 2),
    ],
)
def test_durations(value: object, seconds: float):
    duration = Duration.parse(value)
    assert type(duration) is Duration
    assert duration == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["15", "-1s", "soon", "1 h", "", True, -5, None])
def test_a_value_that_is_not_a_duration(value: object):
    with pytest.raises(ValueError, match="is not a duration"):
        Duration.parse(value)


def test_a_timespan_needs_a_unit():
    assert type(Timespan.parse("2m")) is Timespan
    assert Timespan.parse("2m") == 120
    assert Timespan.parse(0) == 0
    with pytest.raises(ValueError, match='3600 has no unit; write for example "3600s"'):
        Timespan.parse(3600)

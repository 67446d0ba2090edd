"""Estimates of the remaining time."""

from __future__ import annotations

from evalhub_server.domain.remaining_time import RemainingTime


def test_the_estimate_uses_the_rate_of_the_last_minute():
    remaining = RemainingTime()
    assert remaining.estimate_s(0, 100) is None
    remaining.report(0, 0)
    assert remaining.estimate_s(0, 100) is None
    assert remaining.rate_per_s is None
    remaining.report(10, 10)
    assert remaining.rate_per_s == 1
    assert remaining.estimate_s(10, 100) == 90
    assert remaining.estimate_s(40, 100) == 60
    for now in range(20, 160, 10):
        remaining.report(now, 10 + (now - 10) / 10)  # a tenth of the speed
    assert remaining.estimate_s(150, 100) == 760


def test_a_new_attempt_starts_over_and_no_estimate_is_negative():
    remaining = RemainingTime()
    remaining.report(0, 5)
    remaining.report(10, 8)
    remaining.report(20, 1)
    assert remaining.estimate_s(20, 10) is None
    remaining.report(30, 9)
    assert remaining.estimate_s(100, 10) == 0

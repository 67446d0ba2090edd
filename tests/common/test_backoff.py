"""Delays between retries."""

from __future__ import annotations

from itertools import islice

import pytest

from evalhub_common.backoff import Backoff, retry_after_s


def test_delays_double_up_to_the_longest():
    assert list(islice(Backoff(0.5, 3.0).delays(), 5)) == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_delay_after_very_many_failures():
    assert Backoff(0.2, 10.0).delay_s(100_000) == 10.0


def test_jitter_shortens_a_delay_by_at_most_its_part():
    backoff = Backoff(2.0, 8.0, jitter=0.5)
    assert (backoff.delay_s(1, 0.0), backoff.delay_s(1, 0.5), backoff.delay_s(1, 1.0)) == (1.0, 1.5, 2.0)
    assert (backoff.delay_s(9, 0.0), backoff.delay_s(9, 1.0)) == (4.0, 8.0)
    assert all(1.0 <= backoff.delay_s(1) <= 2.0 for _ in range(100))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:05 GMT", 0.0),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None):
    assert retry_after_s(header, now_s=10.0) == seconds

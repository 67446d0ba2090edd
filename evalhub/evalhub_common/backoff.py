"""Delays between retries: exponential backoff with jitter, and the ``Retry-After`` header."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import NamedTuple


class Backoff(NamedTuple):
    """``first_s`` after the first failure, doubled after each further one, up to ``max_s``.

    ``jitter`` is the part of each delay (0 to 1) that is random, so that clients which failed together do not retry
    together: with 0.5 a delay is between one half of its full length and the whole.
    """

    first_s: float
    max_s: float
    jitter: float = 0.0

    def delay_s(self, failures: int, chance: float | None = None) -> float:
        """The delay after the given number of failures in a row (from 1).

        ``chance`` (0 to 1) replaces the random number: 0 gives the shortest delay, 1 the longest.
        """
        full_s = min(self.first_s * 2.0 ** min(failures - 1, 60), self.max_s)
        if not self.jitter:
            return full_s
        if chance is None:
            chance = random.random()  # noqa: S311  spreads load, protects nothing
        return full_s * (1 - self.jitter * (1 - chance))

    def delays(self) -> Iterator[float]:
        """The delays after the first, second, … failure, without end."""
        failures = 0
        while True:
            failures += 1
            yield self.delay_s(failures)


def retry_after_s(header: str | None, now_s: float | None = None) -> float | None:
    """Seconds to wait after a ``Retry-After`` header (RFC 9110, 10.2.3), at least 0; None without a valid one.

    ``now_s`` is the Unix time that a date is compared with (default: the clock's).
    """
    text = (header or "").strip()
    if not text:
        return None
    if text.isascii() and text.isdecimal():
        return float(text)
    from email.utils import parsedate_to_datetime  # dates are rare, and the import takes milliseconds

    try:
        moment_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(moment_s - (time.time() if now_s is None else now_s), 0.0)

"""Estimates of the remaining time of benchmarks, from the progress that they report."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0
"""The estimate uses the rate over this time, because the rate at the start says little about the rest."""


class RemainingTime:
    """The remaining time of one benchmark. Times are in seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._reports: deque[tuple[float, float]] = deque()

    def report(self, now_s: float, done: float) -> None:
        """Note what is done. A smaller value than before is a new attempt."""
        if self._reports and done < self._reports[-1][1]:
            self._reports.clear()
        if not self._reports or done != self._reports[-1][1]:
            self._reports.append((now_s, done))
        while len(self._reports) > 2 and self._reports[1][0] < now_s - WINDOW_S:
            self._reports.popleft()

    @property
    def rate_per_s(self) -> float | None:
        """Units done per second; None before two different reports."""
        if len(self._reports) < 2:
            return None
        (first_s, first), (last_s, last) = self._reports[0], self._reports[-1]
        return None if last_s <= first_s else (last - first) / (last_s - first_s)

    def estimate_s(self, now_s: float, total: float) -> float | None:
        """The estimate; None before two different reports."""
        rate = self.rate_per_s
        if rate is None:
            return None
        last_s, last = self._reports[-1]
        return max((total - last) / rate - (now_s - last_s), 0.0)

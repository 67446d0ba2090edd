"""Verdicts on scores in words."""

from __future__ import annotations

from typing import NamedTuple

from evalhub_server.domain.statistics.gate_thresholds import interval_outcome


class ThresholdWords(NamedTuple):
    """The result of a test, and what the interval of the score says about it."""

    result: str
    note: str

    def __str__(self) -> str:
        return f"{self.result}; {self.note}"


def words_of_test(
    passed: bool, threshold: float, limits: tuple[float, float] | None, *, lower_is_better: bool
) -> ThresholdWords:
    """``passed`` is the result of the test, ``limits`` are those of the score's interval; None without one."""
    result = "passed" if passed else "not passed"
    if limits is None:
        return ThresholdWords(result, "no interval is known")
    if interval_outcome(limits, threshold, lower_is_better=lower_is_better) == "inconclusive":
        return ThresholdWords(result, "the interval includes the threshold")
    side = "above" if limits[0] >= threshold else "below"
    return ThresholdWords(result, f"the whole interval lies {side}")

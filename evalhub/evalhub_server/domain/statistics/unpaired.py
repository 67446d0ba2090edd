"""Unpaired differences, for runs without samples or ids: Newcombe's interval, Welch's t, and z from standard errors."""

from __future__ import annotations

import math

from evalhub_server.domain.statistics.distributions import (
    normal_upper_tail,
    t_quantile,
    t_two_sided_p,
    two_sided_z,
)
from evalhub_server.domain.statistics.intervals import wilson


def newcombe_independent(x1: int, n1: int, x2: int, n2: int, alpha: float = 0.05) -> tuple[float, float]:
    """Interval of the difference of two independent proportions (Newcombe 1998), from their Wilson limits."""
    p1, p2 = x1 / n1, x2 / n2
    low1, high1 = wilson(x1, n1, alpha)
    low2, high2 = wilson(x2, n2, alpha)
    return (
        p1 - p2 - math.hypot(p1 - low1, high2 - p2),
        p1 - p2 + math.hypot(high1 - p1, p2 - low2),
    )


def welch(
    first: tuple[int, float, float], second: tuple[int, float, float], alpha: float = 0.05
) -> tuple[float, float, float]:
    """Welch's t from (n, mean, sd) of both runs, each n at least 2: low, high, two-sided p."""
    se, df = welch_se(first, second)
    difference = first[1] - second[1]
    if se == 0:
        return difference, difference, 1.0 if difference == 0 else 0.0
    half = t_quantile(alpha, df) * se
    return difference - half, difference + half, t_two_sided_p(difference / se, df)


def welch_se(first: tuple[int, float, float], second: tuple[int, float, float]) -> tuple[float, float]:
    """Standard error of the difference, and Satterthwaite's degrees of freedom (1 without variance)."""
    (n1, _, sd1), (n2, _, sd2) = first, second
    part1, part2 = sd1 * sd1 / n1, sd2 * sd2 / n2
    total = part1 + part2
    if total == 0:
        return 0.0, 1.0
    share = part1 / total
    return math.sqrt(total), 1 / (share * share / (n1 - 1) + (1 - share) ** 2 / (n2 - 1))


def from_standard_errors(difference: float, se: float, alpha: float = 0.05) -> tuple[float, float, float]:
    """Interval and two-sided p of a difference with a standard error: low, high, p."""
    half = two_sided_z(alpha) * se
    if se == 0:
        return difference, difference, 1.0 if difference == 0 else 0.0
    return difference - half, difference + half, 2 * normal_upper_tail(abs(difference) / se)

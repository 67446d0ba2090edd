"""Intervals for the score of one benchmark: Wilson, Clopper-Pearson, t and guarded t, and bounds for missing samples.

``alpha`` is the two-sided error probability: 0.05 for 95 % confidence.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from evalhub_server.domain.statistics.distributions import beta_quantile, mean_and_sd, t_quantile, two_sided_z

GUARD_BELOW = 15
"""With fewer values than this that differ from the most frequent one, the t interval alone is not trusted."""
EQUAL_DIGITS = 12
"""Decimals to which values count as equal: ``0.9 - 0.85`` and ``0.95 - 0.9`` differ as doubles."""


def wilson(successes: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927); exactly 0 or 1 at the ends."""
    square = two_sided_z(alpha) ** 2
    p = successes / n
    scale = 1 + square / n
    centre = (p + square / (2 * n)) / scale
    half = math.sqrt(square) / scale * math.sqrt(p * (1 - p) / n + square / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def clopper_pearson(successes: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """Interval of a proportion that covers with at least the nominal probability, and is 5 to 11 % wider than Wilson's."""
    low = beta_quantile(alpha / 2, successes, n - successes + 1) if successes else 0.0
    high = beta_quantile(1 - alpha / 2, successes + 1, n - successes) if successes < n else 1.0
    return low, high


def t_limits(n: int, mean: float, sd: float, alpha: float) -> tuple[float, float]:
    """t interval of a mean of ``n`` values, at least 2."""
    half = t_quantile(alpha, n - 1) * sd / math.sqrt(n)
    return mean - half, mean + half


def augmented(n: int, mean: float, sd: float, low: float, high: float) -> tuple[int, float, float]:
    """Count, mean and standard deviation after adding one value at ``low`` and one at ``high``."""
    total = n + 2
    shifted = (n * mean + low + high) / total
    squares = (n - 1) * sd * sd + n * (mean - shifted) ** 2 + (low - shifted) ** 2 + (high - shifted) ** 2
    return total, shifted, math.sqrt(squares / (total - 1))


def bounded_limits(
    n: int, mean: float, sd: float, bounds: tuple[float, float], alpha: float, *, guarded: bool
) -> tuple[float, float]:
    """t interval of a mean in a range; ``guarded``: the hull with that of two more values, one at each bound."""
    low, high = t_limits(n, mean, sd, alpha)
    if guarded:
        other_low, other_high = t_limits(*augmented(n, mean, sd, *bounds), alpha)
        low, high = min(low, other_low), max(high, other_high)
    return max(bounds[0], low), min(bounds[1], high)


def nonmodal_count(values: Sequence[float]) -> int:
    """Number of values that differ from the most frequent one."""
    counts = Counter(round(value, EQUAL_DIGITS) for value in values)
    return len(values) - max(counts.values())


def bounded_mean_interval(
    values: Sequence[float], low: float, high: float, alpha: float = 0.05
) -> tuple[float, float, str]:
    """Interval of the mean of at least two values in a range: low, high, and ``t`` or ``guarded t``.

    The t interval, unless fewer than 15 values differ from the most frequent one: nearly equal scores have nothing to
    estimate a variance from, and the interval becomes the hull with that of two more values, one at each bound.
    """
    mean, sd = mean_and_sd(values)
    guarded = nonmodal_count(values) < GUARD_BELOW
    limits = bounded_limits(len(values), mean, sd, (low, high), alpha, guarded=guarded)
    return *limits, "guarded t" if guarded else "t"


def missing_bounds_binary(correct: int, wrong: int, missing: int, alpha: float = 0.05) -> tuple[float, float]:
    """Low limit if all missing samples were wrong, high limit if all were right."""
    n = correct + wrong + missing
    return wilson(correct, n, alpha)[0], wilson(correct + missing, n, alpha)[1]

"""Paired right/wrong answers: McNemar's test, the score interval of Tango (1998), and two alternatives.

Letters as in the literature: of ``n`` pairs, ``b`` are right in the first run alone, ``c`` in the second alone. The
difference is ``(b - c) / n``.
"""

from __future__ import annotations

import math

from msgspec import Struct

from evalhub_server.domain.statistics.distributions import (
    binomial_half_cdf,
    binomial_half_pmf,
    find_root,
    normal_upper_tail,
    two_sided_z,
)
from evalhub_server.domain.statistics.intervals import wilson


class McNemar(Struct, kw_only=True, frozen=True):
    """p values of McNemar's test: two-sided exact, mid-p and score, and one-sided for ``b`` above ``c``."""

    exact: float
    midp: float
    score: float
    one_sided_exact: float
    one_sided_midp: float

    @property
    def p(self) -> float:
        """The larger of mid-p and score: where it is at most alpha, Tango's interval excludes 0."""
        return max(self.midp, self.score)


def mcnemar(b: int, c: int) -> McNemar:
    """McNemar's test of ``b`` against ``c`` changed answers; all p values are 1 (one-sided: 1) without any.

    The exact test rejects too rarely; mid-p has an error of at most 0.05 in all cases of Fagerland et al. (2013).
    """
    m = b + c
    if m == 0:
        return McNemar(exact=1.0, midp=1.0, score=1.0, one_sided_exact=1.0, one_sided_midp=1.0)
    k = min(b, c)
    tail, point = binomial_half_cdf(k, m), binomial_half_pmf(k, m)
    above = binomial_half_cdf(c, m)  # P(X >= b) = P(X <= c)
    return McNemar(
        exact=min(1.0, 2 * tail),
        midp=min(1.0, 2 * tail - point),
        score=2 * normal_upper_tail(abs(b - c) / math.sqrt(m)),
        one_sided_exact=above,
        one_sided_midp=above - point / 2,  # P(X = c) = P(X = b)
    )


def tango_score(b: int, c: int, n: int, difference: float) -> float:
    """Tango's score statistic for a hypothesised difference; it falls as the difference grows.

    Its restricted estimate of the probability of ``c`` is the root of a quadratic equation, in the form without
    cancellation. A zero denominator gives an infinite value with the sign of the numerator.
    """
    numerator, variance = _score_parts(b, c, n, difference)
    if variance > 0:
        return numerator / math.sqrt(variance)
    return math.copysign(math.inf, numerator) if numerator else 0.0


def _score_parts(b: int, c: int, n: int, difference: float) -> tuple[float, float]:
    """The score statistic's numerator and the variance below its square root."""
    quadratic = 2 * n
    linear = -b - c + (2 * n - b + c) * difference
    constant = -c * difference * (1 - difference)
    root = math.sqrt(max(0.0, linear * linear - 4 * quadratic * constant))
    q = -2 * constant / (linear + root) if linear > 0 else (root - linear) / (2 * quadratic)
    return b - c - n * difference, n * (2 * q + difference * (1 - difference))


def tango(b: int, c: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """Score interval of a paired difference of proportions (Tango 1998), never of zero width."""
    z = two_sided_z(alpha)
    estimate = (b - c) / n

    def above(difference: float) -> float:
        numerator, variance = _score_parts(b, c, n, difference)
        return numerator - z * math.sqrt(max(0.0, variance))

    def below(difference: float) -> float:
        numerator, variance = _score_parts(b, c, n, difference)
        return numerator + z * math.sqrt(max(0.0, variance))

    # Without variance the estimate is a root of its own (no changed answer, or all in one direction).
    step = 0.0 if _score_parts(b, c, n, estimate)[1] > 0 else 1e-12
    low = -1.0 if c == n else find_root(above, -1.0, estimate - step)
    high = 1.0 if b == n else find_root(below, estimate + step, 1.0)
    return low, high


def newcombe_paired(a: int, b: int, c: int, d: int, alpha: float = 0.05) -> tuple[float, float]:
    """Newcombe's method 10 (1998) from all four counts; more conservative than Tango's with few changed answers."""
    n = a + b + c + d
    first, second = (a + b) / n, (a + c) / n
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    product = a * d - b * c
    if product > 0:
        product = max(product - n / 2, 0)
    phi = product / math.sqrt(margins) if margins else 0.0
    first_low, first_high = wilson(a + b, n, alpha)
    second_low, second_high = wilson(a + c, n, alpha)
    down1, up1 = first - first_low, first_high - first
    down2, up2 = second - second_low, second_high - second
    difference = (b - c) / n
    return (
        difference - math.sqrt(max(0.0, down1 * down1 - 2 * phi * down1 * up2 + up2 * up2)),
        difference + math.sqrt(max(0.0, up1 * up1 - 2 * phi * up1 * down2 + down2 * down2)),
    )


def bonett_price(b: int, c: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """Adjusted Wald interval of Bonett and Price (2012), clipped to [-1, 1]."""
    first, second = (b + 1) / (n + 2), (c + 1) / (n + 2)
    half = two_sided_z(alpha) * math.sqrt((first + second - (first - second) ** 2) / (n + 2))
    return max(-1.0, first - second - half), min(1.0, first - second + half)

"""Paired real-valued scores: paired t, the guarded interval for bounded metrics, and sign-flip permutation."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from evalhub_server.domain.statistics.distributions import t_lower_tail, t_two_sided_p
from evalhub_server.domain.statistics.intervals import EQUAL_DIGITS, augmented, bounded_limits

MAX_ENUMERATED = 20
MAX_SUMS = 200_000
MONTE_CARLO = 9999


def t_test(n: int, mean: float, sd: float, hypothesis: float = 0.0) -> float:
    """Two-sided p value of a mean of ``n`` differences; without spread 1 if the mean is the hypothesis, else 0."""
    if sd == 0:
        return 1.0 if mean == hypothesis else 0.0
    return t_two_sided_p((mean - hypothesis) * math.sqrt(n) / sd, n - 1)


def t_lower_p(n: int, mean: float, sd: float, hypothesis: float) -> float:
    """One-sided p value of "at least ``hypothesis``": small if the mean is clearly below."""
    if sd == 0:
        return 0.0 if mean < hypothesis else 1.0
    return t_lower_tail((mean - hypothesis) * math.sqrt(n) / sd, n - 1)


def bounded_difference_limits(
    n: int, mean: float, sd: float, width: float, alpha: float = 0.05
) -> tuple[float, float]:
    """Interval of the mean difference of a metric whose range has that width: the hull of two t intervals.

    The second has two more differences, ``-width`` and ``+width`` (the idea of Bonett and Price's interval): t alone knows
    nothing of large losses that are too rare to be in the sample.
    """
    return bounded_limits(n, mean, sd, (-width, width), alpha, guarded=True)


def bounded_difference_p(n: int, mean: float, sd: float, width: float) -> float:
    """Two-sided p value: the larger of the two t tests, so it is at most alpha iff the interval excludes 0."""
    return max(t_test(n, mean, sd), t_test(*augmented(n, mean, sd, -width, width)))


def bounded_difference_lower_p(n: int, mean: float, sd: float, width: float, hypothesis: float) -> float:
    """One-sided p value of "at least ``hypothesis``", the larger of the two."""
    return max(
        t_lower_p(n, mean, sd, hypothesis), t_lower_p(*augmented(n, mean, sd, -width, width), hypothesis)
    )


def sign_flip(differences: Sequence[float], seed: int = 0) -> float:
    """Two-sided p value of the sign-flip permutation test.

    Exact for at most 20 differences that are not 0, and for differences on a grid (averages of repeats) with few
    different sums; otherwise Monte Carlo with 9999 replicates. On differences of -1, 0 and 1 it equals the exact McNemar
    test. It assumes differences that are symmetric under the null hypothesis.
    """
    values = [abs(value) for value in differences if round(value, EQUAL_DIGITS) != 0]
    observed = abs(math.fsum(differences)) - 1e-9
    if not values:
        return 1.0
    sums: dict[float, int] = {0.0: 1}
    for value in values:
        following: dict[float, int] = {}
        for total, count in sums.items():
            for side in (total - value, total + value):
                key = round(side, EQUAL_DIGITS)
                following[key] = following.get(key, 0) + count
        sums = following
        if len(sums) > MAX_SUMS and len(values) > MAX_ENUMERATED:
            return _sign_flip_sampled(values, observed, seed)
    return sum(count for total, count in sums.items() if abs(total) >= observed) / 2 ** len(values)


def _sign_flip_sampled(values: Sequence[float], observed: float, seed: int) -> float:
    draw = random.Random(seed).random  # noqa: S311  reproducible, not secret
    hits = sum(
        abs(sum(value if draw() < 0.5 else -value for value in values)) >= observed
        for _ in range(MONTE_CARLO)
    )
    return (1 + hits) / (MONTE_CARLO + 1)

"""Means, standard errors and percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean of at least one value."""
    return math.fsum(values) / len(values)


def mean_stderr(values: Sequence[float]) -> float | None:
    """The standard error of the mean: the sample standard deviation (divisor n - 1) over sqrt(n).

    For 0/1 scores with mean p this equals ``sqrt(p * (1 - p) / (n - 1))``, the binomial form, and is what
    lm-evaluation-harness reports as ``acc_stderr`` (``lm_eval/api/metrics.py``: ``mean_stderr``). It is
    undefined for a single value: None.
    """
    count = len(values)
    if count < 2:
        return None
    centre = mean(values)
    variance = math.fsum((value - centre) ** 2 for value in values) / (count - 1)
    return math.sqrt(variance / count)


def wilson_interval(successes: float, count: int) -> tuple[float, float]:
    """The 95 % score interval of Wilson (1927) for a share of ``count`` (at least one) yes/no values.

    Unlike mean ± 1.96 standard errors it is never a single point: 40 of 40 gives 0.91 to 1.
    """
    share, z2 = successes / count, Z95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def share_stderr(successes: float, count: int) -> float | None:
    """A standard error of a share: half the width of Wilson's interval over 1.96; None for a single value.

    Close to ``sqrt(p * (1 - p) / n)`` where that is usable, and positive if all values are equal.
    """
    if count < 2:
        return None
    low, high = wilson_interval(successes, count)
    return (high - low) / (2 * Z95)


def clustered_stderr(clusters: Sequence[Sequence[float]]) -> float | None:
    """The standard error of the mean over all values when the values of one cluster belong together.

    ``sqrt(sum over clusters of (sum of deviations from the mean)^2) / n``, with n values in all: the
    clustered standard error of E. Miller, "Adding Error Bars to Evals" (2024, arXiv:2411.00640), section 2.2.
    Constraints of one prompt are answered together, so treating them as independent would understate the
    error. None for fewer than two clusters.
    """
    if len(clusters) < 2:
        return None
    values = [value for cluster in clusters for value in cluster]
    centre = mean(values)
    total = math.fsum(math.fsum(value - centre for value in cluster) ** 2 for cluster in clusters)
    return math.sqrt(total) / len(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of at least one value lies, by linear interpolation.

    This is type 7 of Hyndman and Fan (1996), "Sample quantiles in statistical packages", the default of
    NumPy.
    """
    ordered = sorted(values)
    position = (len(ordered) - 1) * share
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def quantile_interval(values: Sequence[float], share: float) -> tuple[float | None, float | None]:
    """A 95 % interval of the quantile ``share`` (0 to 1, exclusive) from order statistics, without any assumption on the distribution.

    The number of ``n`` independent values below the quantile is binomial with ``n`` and ``share``. The lower limit is the
    largest value of rank l with P(B < l) at most 2.5 %, the upper limit the smallest value of rank u with P(B >= u) at most 2.5 %
    (H. A. David, H. N. Nagaraja, "Order Statistics", 2003, section 7.1). A limit that no value reaches is None: with
    20 values there is no upper limit of the 99th percentile.
    """
    ordered, count = sorted(values), len(values)
    low = high = None
    below = 0.0  # P(B < rank)
    for rank in range(1, count + 1):
        below += _binomial(count, rank - 1, share)
        if below <= 0.025:
            low = ordered[rank - 1]
        if 1 - below <= 0.025:
            high = ordered[rank - 1]
            break
    return low, high


def _binomial(count: int, successes: int, share: float) -> float:
    """The probability of a number of successes; by logarithms, so that 10,000 values neither overflow nor underflow."""
    ways = math.lgamma(count + 1) - math.lgamma(successes + 1) - math.lgamma(count - successes + 1)
    return math.exp(ways + successes * math.log(share) + (count - successes) * math.log1p(-share))


_T_SMALL = (12.706205, 4.302653, 3.182446, 2.776445)
"""97.5 % quantiles of Student's distribution with 1 to 4 degrees of freedom."""


def t_quantile(df: int) -> float:
    """The 97.5 % quantile of Student's distribution with ``df`` (at least 1) degrees of freedom, to three decimals.

    From 5 on by the expansion of R. A. Fisher and E. A. Cornish (1960): Abramowitz and Stegun, 26.7.5.
    """
    if df <= len(_T_SMALL):
        return _T_SMALL[df - 1]
    z = Z95
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / df**power for power, term in enumerate(terms, start=1))


def ratio(amounts: Sequence[float], weights: Sequence[float]) -> tuple[float, float | None]:
    """``sum(amounts) / sum(weights)``, with its standard error over the pairs; None for a single pair.

    The standard error is that of the ratio estimator (W. G. Cochran, "Sampling Techniques", 1977, section 2.11). With
    all weights 1 this is the mean with :func:`mean_stderr`.
    """
    value, count = math.fsum(amounts) / math.fsum(weights), len(amounts)
    if count < 2:
        return value, None
    squares = math.fsum(
        (amount - value * weight) ** 2 for amount, weight in zip(amounts, weights, strict=True)
    )
    return value, math.sqrt(squares / (count - 1) / count) / mean(weights)

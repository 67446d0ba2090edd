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

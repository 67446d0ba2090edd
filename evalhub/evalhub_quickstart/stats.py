"""Means, standard errors and percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence


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

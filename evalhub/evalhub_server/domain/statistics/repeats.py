"""Repeats of an item: the division of variance, and pass@k. The averages of the items' repeats are the data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from evalhub_server.domain.statistics.distributions import mean_and_sd


class RepeatsDecomposition(Struct, kw_only=True, frozen=True):
    """How the variance of the items' averages divides. None where it cannot be estimated: one repeat per item."""

    mean: float
    sample_means: tuple[float, ...]
    se: float
    var_of_sample_means: float
    mean_within_variance: float | None
    between_variance: float | None
    noise_share: float | None
    se_floor: float | None


def decompose_repeats(samples: Sequence[Sequence[float]]) -> RepeatsDecomposition:
    """Decompose the variance of at least two items, each with one or more repeats; counts may differ.

    Items with a single repeat contribute nothing to the estimate of the variance within items.
    """
    means = [math.fsum(each) / len(each) for each in samples]
    mean, sd = mean_and_sd(means)
    variance = sd * sd
    n = len(means)
    within = [(mean_and_sd(each)[1] ** 2, len(each)) for each in samples if len(each) > 1]
    result = RepeatsDecomposition(
        mean=mean,
        sample_means=tuple(means),
        se=sd / math.sqrt(n),
        var_of_sample_means=variance,
        mean_within_variance=None,
        between_variance=None,
        noise_share=None,
        se_floor=None,
    )
    if not within:
        return result
    mean_within = math.fsum(square for square, _ in within) / len(within)
    noise = math.fsum(square / k for square, k in within) / len(within)
    between = max(0.0, variance - noise)
    return RepeatsDecomposition(
        mean=result.mean,
        sample_means=result.sample_means,
        se=result.se,
        var_of_sample_means=variance,
        mean_within_variance=mean_within,
        between_variance=between,
        noise_share=min(1.0, noise / variance) if variance else None,
        se_floor=math.sqrt(between / n),
    )


def pass_at_k(n: int, right: int, k: int) -> float:
    """Probability that at least one of ``k`` of an item's ``n`` repeats, ``right`` of them right, is right.

    Chen et al. (2021), "Evaluating Large Language Models Trained on Code".

    Raises:
        ValueError: not ``1 <= k <= n`` or not ``0 <= right <= n``.
    """
    if not (1 <= k <= n and 0 <= right <= n):
        raise ValueError(f"pass@{k} needs at least {k} repeats and 0 to {n} right ones, not {right} of {n}")
    return 1 - math.comb(n - right, k) / math.comb(n, k)

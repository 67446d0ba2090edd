"""Planning: items needed for a difference or a margin, and the margins that given samples can support.

``discordance`` is the share of items whose answer changes; for real-valued scores, the variance of the differences takes
its place. Powers and alphas: two-sided ``alpha``, default 0.05; power 0.8.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from evalhub_server.domain.statistics.distributions import find_root, normal_quantile, t_quantile, two_sided_z

POWER = 0.8
MIN_MARGIN = 1e-9
"""Smaller margins need more items than there can be, and count as none."""


def n_for_superiority(
    discordance: float, difference: float, alpha: float = 0.05, power: float = POWER
) -> int:
    """Items needed to find a difference between right/wrong answers (Connor 1987).

    Raises:
        ValueError: not ``0 < |difference| <= discordance``.
    """
    delta = abs(difference)
    if not 0 < delta <= discordance:
        raise ValueError(f"a difference of {difference} is impossible with a discordance of {discordance}")
    return math.ceil((_superiority_root(discordance, delta, alpha, power) / delta) ** 2)


def _superiority_root(discordance: float, delta: float, alpha: float, power: float) -> float:
    return two_sided_z(alpha) * math.sqrt(discordance) + normal_quantile(power) * math.sqrt(
        max(0.0, discordance - delta * delta)
    )


def n_for_margin(discordance: float, margin: float, alpha: float = 0.05, power: float = POWER) -> int:
    """Items needed to confirm a margin above 0 if the true difference is 0; at least the floor of no changes."""
    if margin < MIN_MARGIN:
        raise ValueError(f"a margin must be at least {MIN_MARGIN:g}")
    needed = math.ceil((two_sided_z(alpha) + normal_quantile(power)) ** 2 * discordance / margin**2)
    return max(needed, min_n_for_margin(margin, alpha))


def min_n_for_margin(margin: float, alpha: float = 0.05) -> int:
    """The smallest n with which a margin can be confirmed at all: when no answer changed.

    Without changes the lower limit is ``-z²/(n + z²)``, so a margin of one percentage point needs 381 items.
    """
    if margin < MIN_MARGIN:
        raise ValueError(f"a margin must be at least {MIN_MARGIN:g}")
    return max(1, math.floor(two_sided_z(alpha) ** 2 * (1 - margin) / margin) + 1)


def smallest_margin(n: int, alpha: float = 0.05, width: float | None = None) -> float:
    """The margin that ``n`` items cannot confirm, even if none changed; every larger one they can.

    ``width`` is the width of the range of a real-valued metric, None for right/wrong answers.
    """
    if width is None:
        square = two_sided_z(alpha) ** 2
        return square / (n + square)
    return t_quantile(alpha, n + 1) * width * math.sqrt(2 / ((n + 1) * (n + 2)))


class Detectable(NamedTuple):
    """The difference that is found with the power; ``exact`` is None if even the largest possible one is not."""

    exact: float | None
    simple: float


def detectable_difference(
    n: int, discordance: float, alpha: float = 0.05, power: float = POWER
) -> Detectable:
    """The smallest difference of right/wrong answers that ``n`` items find with the power (MDE).

    ``exact`` solves the formula of :func:`n_for_superiority`; ``simple`` is ``(z_alpha/2 + z_power) * sqrt(discordance/n)``.
    """
    simple = (two_sided_z(alpha) + normal_quantile(power)) * math.sqrt(discordance / n)

    def excess(delta: float) -> float:
        return _superiority_root(discordance, delta, alpha, power) - delta * math.sqrt(n)

    exact = None if excess(discordance) > 0 else find_root(excess, 0.0, discordance)
    return Detectable(exact, simple)


def smoothed_discordance(fixed: int, broken: int, n: int) -> float:
    """The discordance of a run for planning: ``(b + c + 1) / (n + 2)``, never 0."""
    return (fixed + broken + 1) / (n + 2)


def repeats_variance(
    between: float, noise_baseline: float, k_baseline: int, noise_candidate: float, k_candidate: int
) -> float:
    """Variance of an item's difference with repeats: ``between + noise_B / K_B + noise_C / K_C`` (Miller 2024)."""
    return between + noise_baseline / k_baseline + noise_candidate / k_candidate

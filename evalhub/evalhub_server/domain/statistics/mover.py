"""MOVER: the interval of a weighted sum from the intervals of its parts (Zou and Donner 2008), and its inversion to p."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from evalhub_server.domain.statistics.distributions import find_root, normal_upper_tail

Limits = Callable[[float], tuple[float, float]]
"""The interval of one part for a two-sided alpha."""
_Z_MAX = 37.0
"""Beyond, p is below the smallest double."""


def mover(
    weights: Sequence[float], estimates: Sequence[float], limits: Sequence[tuple[float, float]]
) -> tuple[float, float, float]:
    """Estimate and interval of the weighted sum of independent parts: estimate, low, high. Weights are not negative."""
    total = math.fsum(w * m for w, m in zip(weights, estimates, strict=True))
    parts = list(zip(weights, estimates, limits, strict=True))
    return (
        total,
        total - math.sqrt(math.fsum((w * (m - low)) ** 2 for w, m, (low, _) in parts)),
        total + math.sqrt(math.fsum((w * (high - m)) ** 2 for w, m, (_, high) in parts)),
    )


def mover_p(
    weights: Sequence[float],
    estimates: Sequence[float],
    limits: Sequence[Limits],
    hypothesis: float = 0.0,
) -> float:
    """Two-sided p value: the alpha at which the bound nearer to the hypothesis touches it."""
    total = math.fsum(w * m for w, m in zip(weights, estimates, strict=True)) - hypothesis
    if total == 0:
        return 1.0
    side = 0 if total > 0 else 1

    def distance(z: float) -> float:
        alpha = 2 * normal_upper_tail(z)
        squares = math.fsum(
            (w * (m - part(alpha)[side])) ** 2 for w, m, part in zip(weights, estimates, limits, strict=True)
        )
        return abs(total) - math.sqrt(squares)

    low, high = 0.0, 2.0
    while distance(high) > 0:
        if high >= _Z_MAX:
            return 0.0
        low, high = high, min(_Z_MAX, 2 * high)
    if low == 0.0:
        low = 1e-9
        if distance(low) <= 0:
            return 1.0
    return 2 * normal_upper_tail(find_root(distance, low, high))

"""Sufficient statistics of an unpaired difference, for runs without samples or ids.

What every kind has is described in :mod:`evalhub_server.domain.statistics.evidence`.
"""

from __future__ import annotations

from msgspec import Struct

from evalhub_server.domain.statistics.distributions import normal_upper_tail, t_lower_tail
from evalhub_server.domain.statistics.intervals import augmented
from evalhub_server.domain.statistics.mover import mover_p
from evalhub_server.domain.statistics.planning import smallest_margin
from evalhub_server.domain.statistics.unpaired import (
    from_standard_errors,
    newcombe_independent,
    welch,
    welch_se,
)


class BinaryUnpaired(Struct, kw_only=True, frozen=True, tag_field="kind", tag="binary_unpaired"):
    """Independent right/wrong answers of two runs; ``first`` is the side whose larger share is better."""

    first_successes: int
    first_n: int
    second_successes: int
    second_n: int

    @property
    def n(self) -> int:
        return min(self.first_n, self.second_n)

    @property
    def estimate(self) -> float:
        return self.first_successes / self.first_n - self.second_successes / self.second_n

    @property
    def interval_method(self) -> str:
        return "Newcombe, unpaired"

    @property
    def test(self) -> str:
        return "Newcombe, inverted, unpaired"

    def limits(self, alpha: float) -> tuple[float, float]:
        return newcombe_independent(
            self.first_successes, self.first_n, self.second_successes, self.second_n, alpha
        )

    @property
    def p(self) -> float:
        return _inverted_p(self, 0.0)

    def lower_p(self, hypothesis: float) -> float:
        p = _inverted_p(self, hypothesis) / 2
        return p if self.estimate < hypothesis else 1 - p

    def smallest_margin(self, alpha: float) -> float | None:
        return smallest_margin(self.n, alpha)


class MeansUnpaired(Struct, kw_only=True, frozen=True, tag_field="kind", tag="means_unpaired"):
    """Independent scores of two runs; ``first`` is the side whose larger mean is better.

    ``bounds`` is the metric's range, None without one. With a range, the result is never narrower than that with one more
    score at each bound in each run.
    """

    first: tuple[int, float, float]
    """n, mean, standard deviation."""
    second: tuple[int, float, float]
    bounds: tuple[float, float] | None = None

    @property
    def n(self) -> int:
        return min(self.first[0], self.second[0])

    @property
    def estimate(self) -> float:
        return self.first[1] - self.second[1]

    @property
    def interval_method(self) -> str:
        return "Welch t, unpaired" if self.bounds is None else "guarded Welch t, unpaired"

    @property
    def test(self) -> str:
        return self.interval_method

    def _versions(self) -> list[tuple[tuple[int, float, float], tuple[int, float, float]]]:
        versions = [(self.first, self.second)]
        if self.bounds is not None:
            versions.append((augmented(*self.first, *self.bounds), augmented(*self.second, *self.bounds)))
        return versions

    def limits(self, alpha: float) -> tuple[float, float]:
        results = [welch(first, second, alpha) for first, second in self._versions()]
        low, high = min(each[0] for each in results), max(each[1] for each in results)
        if self.bounds is None:
            return low, high
        width = self.bounds[1] - self.bounds[0]
        return max(-width, low), min(width, high)

    @property
    def p(self) -> float:
        return max(welch(first, second)[2] for first, second in self._versions())

    def lower_p(self, hypothesis: float) -> float:
        return max(_welch_lower_p(first, second, hypothesis) for first, second in self._versions())

    def smallest_margin(self, alpha: float) -> float | None:
        return None


class AggregatesUnpaired(Struct, kw_only=True, frozen=True, tag_field="kind", tag="aggregates_unpaired"):
    """A difference of reported scores, with the standard error from those that the harness reported."""

    difference: float
    se: float

    @property
    def n(self) -> int:
        return 0

    @property
    def estimate(self) -> float:
        return self.difference

    @property
    def interval_method(self) -> str:
        return "z from the harness's standard errors, unpaired"

    @property
    def test(self) -> str:
        return self.interval_method

    def limits(self, alpha: float) -> tuple[float, float]:
        return from_standard_errors(self.difference, self.se, alpha)[:2]

    @property
    def p(self) -> float:
        return from_standard_errors(self.difference, self.se)[2]

    def lower_p(self, hypothesis: float) -> float:
        if self.se == 0:
            return 0.0 if self.difference < hypothesis else 1.0
        return normal_upper_tail(-(self.difference - hypothesis) / self.se)

    def smallest_margin(self, alpha: float) -> float | None:
        return None


def _inverted_p(evidence: BinaryUnpaired, hypothesis: float) -> float:
    """The alpha at which the limit nearer to the hypothesis touches it."""
    return mover_p([1.0], [evidence.estimate], [evidence.limits], hypothesis)


def _welch_lower_p(
    first: tuple[int, float, float], second: tuple[int, float, float], hypothesis: float
) -> float:
    se, df = welch_se(first, second)
    excess = first[1] - second[1] - hypothesis
    if se == 0:
        return 0.0 if excess < 0 else 1.0
    return t_lower_tail(excess / se, df)

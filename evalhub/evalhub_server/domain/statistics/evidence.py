"""Sufficient statistics of a difference between two runs, with the interval and the tests that belong to each kind.

All differences are oriented: positive means that the candidate is better. Every kind has

* ``estimate``: the difference,
* ``limits(alpha)``: its interval with confidence ``1 - alpha``,
* ``p``: the two-sided p value of no difference,
* ``lower_p(hypothesis)``: the one-sided p value of "the difference is at least ``hypothesis``"; small if it is below,
* ``interval_method`` and ``test``: names for users,
* ``smallest_margin(alpha)``: margins up to this one cannot be confirmed with these samples, None if that is unknown.
"""

from __future__ import annotations

import math

from msgspec import Struct

from evalhub_server.domain.statistics.distributions import (
    normal_upper_tail,
    t_lower_tail,
    t_quantile,
    t_two_sided_p,
)
from evalhub_server.domain.statistics.intervals import GUARD_BELOW, augmented, t_limits
from evalhub_server.domain.statistics.mover import mover_p
from evalhub_server.domain.statistics.paired_binary import mcnemar, tango, tango_score
from evalhub_server.domain.statistics.paired_real import (
    bounded_difference_limits,
    bounded_difference_lower_p,
    bounded_difference_p,
    t_lower_p,
    t_test,
)
from evalhub_server.domain.statistics.planning import smallest_margin
from evalhub_server.domain.statistics.unpaired import (
    from_standard_errors,
    newcombe_independent,
    welch,
    welch_se,
)


class BinaryPairs(Struct, kw_only=True, frozen=True, tag_field="kind", tag="binary_pairs"):
    """Paired right/wrong answers: ``fixed`` are right in the candidate alone, ``broken`` in the baseline alone."""

    n: int
    fixed: int
    broken: int
    exact: bool = False

    @property
    def estimate(self) -> float:
        return (self.fixed - self.broken) / self.n

    @property
    def interval_method(self) -> str:
        return "Tango score interval"

    @property
    def test(self) -> str:
        return "McNemar exact" if self.exact else "McNemar mid-p and score"

    def limits(self, alpha: float) -> tuple[float, float]:
        return tango(self.fixed, self.broken, self.n, alpha)

    @property
    def p(self) -> float:
        result = mcnemar(self.fixed, self.broken)
        return max(result.exact, result.p) if self.exact else result.p

    def lower_p(self, hypothesis: float) -> float:
        return normal_upper_tail(-tango_score(self.fixed, self.broken, self.n, hypothesis))

    def smallest_margin(self, alpha: float) -> float | None:
        return smallest_margin(self.n, alpha)


class BoundedPairs(Struct, kw_only=True, frozen=True, tag_field="kind", tag="bounded_pairs"):
    """Paired scores in a range of that ``width``: mean and standard deviation of the differences."""

    n: int
    mean: float
    sd: float
    width: float
    paired_t: bool = False
    """Paired t alone."""

    @property
    def estimate(self) -> float:
        return self.mean

    @property
    def interval_method(self) -> str:
        return "paired t" if self.paired_t else "guarded paired t"

    @property
    def test(self) -> str:
        return self.interval_method

    def limits(self, alpha: float) -> tuple[float, float]:
        if self.paired_t:
            low, high = t_limits(self.n, self.mean, self.sd, alpha)
            return max(-self.width, low), min(self.width, high)
        return bounded_difference_limits(self.n, self.mean, self.sd, self.width, alpha)

    @property
    def p(self) -> float:
        if self.paired_t:
            return t_test(self.n, self.mean, self.sd)
        return bounded_difference_p(self.n, self.mean, self.sd, self.width)

    def lower_p(self, hypothesis: float) -> float:
        if self.paired_t:
            return t_lower_p(self.n, self.mean, self.sd, hypothesis)
        return bounded_difference_lower_p(self.n, self.mean, self.sd, self.width, hypothesis)

    def smallest_margin(self, alpha: float) -> float | None:
        return None if self.paired_t else smallest_margin(self.n, alpha, self.width)


class UnboundedPairs(Struct, kw_only=True, frozen=True, tag_field="kind", tag="unbounded_pairs"):
    """Paired scores without a range. ``nonmodal`` differences are unlike the most frequent one."""

    n: int
    mean: float
    sd: float
    nonmodal: int

    @property
    def estimate(self) -> float:
        return self.mean

    @property
    def interval_method(self) -> str:
        return "paired t"

    @property
    def test(self) -> str:
        return "paired t"

    @property
    def usable(self) -> bool:
        """There are enough different differences for a verdict."""
        return self.nonmodal >= GUARD_BELOW

    def limits(self, alpha: float) -> tuple[float, float]:
        return t_limits(self.n, self.mean, self.sd, alpha)

    @property
    def p(self) -> float:
        return t_test(self.n, self.mean, self.sd)

    def lower_p(self, hypothesis: float) -> float:
        return t_lower_p(self.n, self.mean, self.sd, hypothesis)

    def smallest_margin(self, alpha: float) -> float | None:
        return None


class ClusteredPairs(Struct, kw_only=True, frozen=True, tag_field="kind", tag="clustered_pairs"):
    """Pairs in clusters: never narrower than the interval of the same pairs without clusters."""

    pairs: BinaryPairs | BoundedPairs | UnboundedPairs
    clusters: int
    se: float
    """CR2 standard error."""
    df: float
    """Degrees of freedom of Bell and McCaffrey."""

    @property
    def n(self) -> int:
        return self.pairs.n

    @property
    def estimate(self) -> float:
        return self.pairs.estimate

    @property
    def interval_method(self) -> str:
        return f"cluster-robust t (CR2), at least {self.pairs.interval_method}"

    @property
    def test(self) -> str:
        return f"cluster-robust t (CR2), at least {self.pairs.test}"

    def limits(self, alpha: float) -> tuple[float, float]:
        low, high = self.pairs.limits(alpha)
        half = t_quantile(alpha, self.df) * self.se
        low, high = min(low, self.estimate - half), max(high, self.estimate + half)
        width = self._width
        return (low, high) if width is None else (max(-width, low), min(width, high))

    @property
    def _width(self) -> float | None:
        match self.pairs:
            case BinaryPairs():
                return 1.0
            case BoundedPairs(width=width):
                return width
            case UnboundedPairs():
                return None

    @property
    def p(self) -> float:
        return max(self.pairs.p, t_two_sided_p(self.estimate / self.se, self.df) if self.se else 0.0)

    def lower_p(self, hypothesis: float) -> float:
        p = self.pairs.lower_p(hypothesis)
        return max(p, t_lower_tail((self.estimate - hypothesis) / self.se, self.df)) if self.se else p

    def smallest_margin(self, alpha: float) -> float | None:
        return self.pairs.smallest_margin(alpha)


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
    bounds: tuple[float, float] | None

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


Pairs = BinaryPairs | BoundedPairs | UnboundedPairs
DifferenceEvidence = (
    BinaryPairs
    | BoundedPairs
    | UnboundedPairs
    | ClusteredPairs
    | BinaryUnpaired
    | MeansUnpaired
    | AggregatesUnpaired
)


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


def is_paired(evidence: DifferenceEvidence) -> bool:
    """The evidence is of the same items on both sides."""
    return isinstance(evidence, BinaryPairs | BoundedPairs | UnboundedPairs | ClusteredPairs)


def spread(evidence: DifferenceEvidence) -> float | None:
    """Variance of an item's difference, smoothed for planning; for right/wrong answers the discordance. None: unpaired."""
    match evidence:
        case BinaryPairs(n=n, fixed=fixed, broken=broken):
            return (fixed + broken + 1) / (n + 2)
        case BoundedPairs(n=n, mean=mean, sd=sd, width=width):
            return max(sd * sd, augmented(n, mean, sd, -width, width)[2] ** 2)
        case UnboundedPairs(sd=sd):
            return sd * sd
        case ClusteredPairs(pairs=pairs, se=se):
            return max(spread(pairs) or 0.0, pairs.n * se * se)
        case _:
            return None


def standard_error_is_zero(evidence: DifferenceEvidence) -> bool:
    """The interval has no width, so it supports no verdict."""
    low, high = evidence.limits(0.05)
    return not math.isfinite(low) or low == high

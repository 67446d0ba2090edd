"""Sufficient statistics of a paired difference: right/wrong answers, scores with and without a range, clusters.

What every kind has is described in :mod:`evalhub_server.domain.statistics.evidence`.
"""

from __future__ import annotations

from msgspec import Struct

from evalhub_server.domain.statistics.distributions import (
    normal_upper_tail,
    t_lower_tail,
    t_quantile,
    t_two_sided_p,
)
from evalhub_server.domain.statistics.intervals import GUARD_BELOW, t_limits
from evalhub_server.domain.statistics.paired_binary import mcnemar, tango, tango_score
from evalhub_server.domain.statistics.paired_real import (
    bounded_difference_limits,
    bounded_difference_lower_p,
    bounded_difference_p,
    t_lower_p,
    t_test,
)
from evalhub_server.domain.statistics.planning import smallest_margin


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


Pairs = BinaryPairs | BoundedPairs | UnboundedPairs

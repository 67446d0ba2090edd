"""Sufficient statistics of one run's score, with the interval and one-sided tests that belong to each kind.

Every kind has ``estimate``, ``limits(alpha, gate)``, ``lower_p(threshold)`` (small if the score is below) and
``upper_p(threshold)`` (small if it is above). ``gate``: the interval that a threshold is compared with, guarded always.
"""

from __future__ import annotations

import math

from msgspec import Struct

from evalhub_server.domain.statistics.distributions import (
    normal_upper_tail,
    t_lower_tail,
    t_quantile,
    two_sided_z,
)
from evalhub_server.domain.statistics.intervals import (
    GUARD_BELOW,
    augmented,
    bounded_limits,
    t_limits,
    wilson,
)
from evalhub_server.domain.statistics.paired_real import t_lower_p


class Proportion(Struct, kw_only=True, frozen=True, tag_field="kind", tag="proportion"):
    """Right/wrong answers."""

    n: int
    successes: int

    @property
    def estimate(self) -> float:
        return self.successes / self.n

    @property
    def method(self) -> str:
        return "Wilson"

    def limits(self, alpha: float, *, gate: bool = False) -> tuple[float, float]:
        return wilson(self.successes, self.n, alpha)

    def lower_p(self, threshold: float) -> float:
        return 1 - self.upper_p(threshold)

    def upper_p(self, threshold: float) -> float:
        if not 0 < threshold < 1:
            return 1.0 if self.estimate <= threshold else 0.0
        return normal_upper_tail(
            (self.estimate - threshold) / math.sqrt(threshold * (1 - threshold) / self.n)
        )


class BoundedMean(Struct, kw_only=True, frozen=True, tag_field="kind", tag="bounded_mean"):
    """Real-valued scores in a range; ``nonmodal`` of them differ from the most frequent one."""

    n: int
    mean: float
    sd: float
    low: float
    high: float
    nonmodal: int

    @property
    def estimate(self) -> float:
        return self.mean

    @property
    def guarded(self) -> bool:
        """Too few scores differ for t alone."""
        return self.nonmodal < GUARD_BELOW

    @property
    def method(self) -> str:
        return "guarded t" if self.guarded else "t"

    def limits(self, alpha: float, *, gate: bool = False) -> tuple[float, float]:
        return bounded_limits(
            self.n, self.mean, self.sd, (self.low, self.high), alpha, guarded=gate or self.guarded
        )

    def lower_p(self, threshold: float) -> float:
        return max(
            t_lower_p(self.n, self.mean, self.sd, threshold),
            t_lower_p(*augmented(self.n, self.mean, self.sd, self.low, self.high), threshold),
        )

    def upper_p(self, threshold: float) -> float:
        total, mean, sd = augmented(self.n, self.mean, self.sd, self.low, self.high)
        return max(
            t_lower_p(self.n, -self.mean, self.sd, -threshold), t_lower_p(total, -mean, sd, -threshold)
        )


class UnboundedMean(Struct, kw_only=True, frozen=True, tag_field="kind", tag="unbounded_mean"):
    """Real-valued scores without a range."""

    n: int
    mean: float
    sd: float
    nonmodal: int

    @property
    def estimate(self) -> float:
        return self.mean

    @property
    def method(self) -> str:
        return "t"

    @property
    def usable(self) -> bool:
        """There are enough different scores for a verdict."""
        return self.nonmodal >= GUARD_BELOW

    def limits(self, alpha: float, *, gate: bool = False) -> tuple[float, float]:
        return t_limits(self.n, self.mean, self.sd, alpha)

    def lower_p(self, threshold: float) -> float:
        return t_lower_p(self.n, self.mean, self.sd, threshold)

    def upper_p(self, threshold: float) -> float:
        return t_lower_p(self.n, -self.mean, self.sd, -threshold)


class ClusteredScores(Struct, kw_only=True, frozen=True, tag_field="kind", tag="clustered_scores"):
    """Scores in clusters: never narrower than the interval of the same scores without clusters."""

    scores: Proportion | BoundedMean | UnboundedMean
    clusters: int
    se: float
    """CR2 standard error."""
    df: float
    """Degrees of freedom of Bell and McCaffrey."""

    @property
    def n(self) -> int:
        return self.scores.n

    @property
    def estimate(self) -> float:
        return self.scores.estimate

    @property
    def method(self) -> str:
        return f"cluster-robust t (CR2), at least {self.scores.method}"

    def limits(self, alpha: float, *, gate: bool = False) -> tuple[float, float]:
        low, high = self.scores.limits(alpha, gate=gate)
        half = t_quantile(alpha, self.df) * self.se
        low, high = min(low, self.estimate - half), max(high, self.estimate + half)
        match self.scores:
            case Proportion():
                return max(0.0, low), min(1.0, high)
            case BoundedMean(low=lowest, high=highest):
                return max(lowest, low), min(highest, high)
            case UnboundedMean():
                return low, high

    def lower_p(self, threshold: float) -> float:
        p = self.scores.lower_p(threshold)
        return max(p, t_lower_tail((self.estimate - threshold) / self.se, self.df)) if self.se else p

    def upper_p(self, threshold: float) -> float:
        p = self.scores.upper_p(threshold)
        return max(p, t_lower_tail((threshold - self.estimate) / self.se, self.df)) if self.se else p


class ReportedScore(Struct, kw_only=True, frozen=True, tag_field="kind", tag="reported_score"):
    """A score with the standard error that the harness reported, without samples."""

    value: float
    stderr: float

    @property
    def n(self) -> int:
        return 0

    @property
    def estimate(self) -> float:
        return self.value

    @property
    def method(self) -> str:
        return "z from the harness's standard error"

    def limits(self, alpha: float, *, gate: bool = False) -> tuple[float, float]:
        half = two_sided_z(alpha) * self.stderr
        return self.value - half, self.value + half

    def lower_p(self, threshold: float) -> float:
        return self.upper_p(2 * self.value - threshold)

    def upper_p(self, threshold: float) -> float:
        if self.stderr == 0:
            return 1.0 if self.value <= threshold else 0.0
        return normal_upper_tail((self.value - threshold) / self.stderr)


ScoreEvidence = Proportion | BoundedMean | UnboundedMean | ClusteredScores | ReportedScore

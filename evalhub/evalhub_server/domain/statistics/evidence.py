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

from evalhub_server.domain.statistics.intervals import augmented
from evalhub_server.domain.statistics.paired_evidence import (
    BinaryPairs,
    BoundedPairs,
    ClusteredPairs,
    Pairs,
    UnboundedPairs,
)
from evalhub_server.domain.statistics.unpaired_evidence import (
    AggregatesUnpaired,
    BinaryUnpaired,
    MeansUnpaired,
)

__all__ = [
    "AggregatesUnpaired",
    "BinaryPairs",
    "BinaryUnpaired",
    "BoundedPairs",
    "ClusteredPairs",
    "DifferenceEvidence",
    "MeansUnpaired",
    "Pairs",
    "UnboundedPairs",
    "is_paired",
    "spread",
]

DifferenceEvidence = (
    BinaryPairs
    | BoundedPairs
    | UnboundedPairs
    | ClusteredPairs
    | BinaryUnpaired
    | MeansUnpaired
    | AggregatesUnpaired
)


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

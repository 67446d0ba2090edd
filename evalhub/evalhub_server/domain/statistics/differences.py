"""The evidence of a difference: from joined items, from the extremes of missing data, or from unpaired scores."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

from msgspec import Struct

from evalhub_server.domain.statistics.clusters import cluster_robust_mean
from evalhub_server.domain.statistics.columns import Prepared
from evalhub_server.domain.statistics.distributions import mean_and_sd
from evalhub_server.domain.statistics.evidence import (
    AggregatesUnpaired,
    BinaryPairs,
    BinaryUnpaired,
    BoundedPairs,
    ClusteredPairs,
    DifferenceEvidence,
    MeansUnpaired,
    Pairs,
    UnboundedPairs,
)
from evalhub_server.domain.statistics.inputs import CompareOptions
from evalhub_server.domain.statistics.intervals import EQUAL_DIGITS, nonmodal_count
from evalhub_server.domain.statistics.pairing import Join
from evalhub_server.domain.statistics.results import Clustering, Flips, ScoreSummary
from evalhub_server.domain.statistics.score import cluster_keys


class Matched(Struct, kw_only=True, frozen=True):
    """Differences of matched items, positive if the candidate is better, and their evidence."""

    differences: list[float]
    evidence: DifferenceEvidence | None
    clustering: Clustering | None
    single_cluster: bool
    """Clusters are declared, and there are not two of them."""


def matched(baseline: Prepared, candidate: Prepared, joined: Join, options: CompareOptions) -> Matched:
    """The evidence of the joined items; none for fewer than two."""
    left = [value for row in joined.baseline if (value := baseline.values[row]) is not None]
    right = [value for row in joined.candidate if (value := candidate.values[row]) is not None]
    differences = oriented(left, right, lower_is_better=baseline.run.rules.lower_is_better)
    binary = baseline.binary and candidate.binary
    bounds = common_bounds(baseline, candidate)
    pairs = pair_evidence(differences, binary=binary, bounds=bounds, options=options)
    keys = cluster_keys(baseline, joined.baseline)
    if pairs is None or keys is None:
        return Matched(differences=differences, evidence=pairs, clustering=None, single_cluster=False)
    if len(set(keys)) < 2:
        return Matched(differences=differences, evidence=pairs, clustering=None, single_cluster=True)
    mean = cluster_robust_mean(differences, keys)
    effect = mean.design_effect
    return Matched(
        differences=differences,
        evidence=ClusteredPairs(pairs=pairs, clusters=mean.clusters, se=mean.cr2_se, df=mean.df),
        clustering=Clustering(
            clusters=mean.clusters,
            design_effect=effect,
            effective_n=len(differences) / effect if effect else None,
            df=mean.df,
        ),
        single_cluster=False,
    )


def oriented(baseline: Sequence[float], candidate: Sequence[float], *, lower_is_better: bool) -> list[float]:
    """Differences of scores, positive if the candidate is better."""
    first, second = (baseline, candidate) if lower_is_better else (candidate, baseline)
    return list(map(operator.sub, first, second))


def common_bounds(baseline: Prepared, candidate: Prepared) -> tuple[float, float] | None:
    """The range of both runs; None unless both have the same."""
    return baseline.bounds if baseline.bounds == candidate.bounds else None


def pair_evidence(
    differences: Sequence[float],
    *,
    binary: bool,
    bounds: tuple[float, float] | None,
    options: CompareOptions,
) -> Pairs | None:
    """The evidence of independent pairs; None for fewer than two."""
    n = len(differences)
    if n < 2:
        return None
    if binary:
        return BinaryPairs(
            n=n, fixed=differences.count(1.0), broken=differences.count(-1.0), exact=options.exact
        )
    mean, sd = mean_and_sd(differences)
    if round(mean, EQUAL_DIGITS) == 0 and sd < 10**-EQUAL_DIGITS:
        mean = sd = 0.0
    if bounds is None:
        return UnboundedPairs(n=n, mean=mean, sd=sd, nonmodal=nonmodal_count(differences))
    return BoundedPairs(n=n, mean=mean, sd=sd, width=bounds[1] - bounds[0], paired_t=options.paired_t)


def flips(baseline: Prepared, joined: Join, differences: Sequence[float], limit: int) -> Flips:
    """Items whose score changed, the largest change first, then by sample id."""
    changes = [
        (change, baseline.ids[row])
        for difference, row in zip(differences, joined.baseline, strict=True)
        if difference and (change := round(difference, EQUAL_DIGITS))
    ]
    fixed = sorted((-change, name) for change, name in changes if change > 0)
    broken = sorted((change, name) for change, name in changes if change < 0)
    return Flips(
        fixed=len(fixed),
        broken=len(broken),
        fixed_ids=tuple(name for _, name in fixed[:limit]),
        broken_ids=tuple(name for _, name in broken[:limit]),
        discordance=len(changes) / len(differences) if differences else 0.0,
    )


def missing_items(baseline: Prepared, candidate: Prepared, joined: Join, options: CompareOptions) -> int:
    """Number of items that a failed or missing score on either side leaves open."""
    if options.allow_subset:
        return 0
    union = joined.common + joined.only_baseline + joined.only_candidate
    absent = max(0, max(baseline.n_expected, candidate.n_expected) - union)
    open_items = joined.only_baseline + joined.only_candidate + absent
    if baseline.worst or candidate.worst:
        for row, name in enumerate(baseline.ids):
            other = candidate.rows.get(name)
            if other is not None and (_is_open(baseline, row) or _is_open(candidate, other)):
                open_items += 1
    return open_items


def _is_open(prepared: Prepared, row: int) -> bool:
    return bool(prepared.worst) and prepared.worst[row] != prepared.best[row]


def extreme_evidence(
    baseline: Prepared, candidate: Prepared, options: CompareOptions, *, candidate_worst: bool
) -> DifferenceEvidence | None:
    """The evidence with one side's missing items at the worst score and the other's at the best; None without a range."""
    bounds = common_bounds(baseline, candidate)
    if bounds is None:
        return None
    low_is_better = baseline.run.rules.lower_is_better
    worst, best = (bounds[1], bounds[0]) if low_is_better else bounds
    sides = (best, worst) if candidate_worst else (worst, best)
    columns = [
        _column(prepared, worst=is_worst)
        for prepared, is_worst in ((baseline, not candidate_worst), (candidate, candidate_worst))
    ]
    names = dict.fromkeys((*baseline.ids, *candidate.ids))
    values = [
        [sides[side] if (row := prepared.rows.get(name)) is None else columns[side][row] for name in names]
        for side, prepared in enumerate((baseline, candidate))
    ]
    absent = max(0, max(baseline.n_expected, candidate.n_expected) - len(names))
    for side in (0, 1):
        values[side] += [sides[side]] * absent
    differences = oriented(values[0], values[1], lower_is_better=low_is_better)
    binary = baseline.binary and candidate.binary
    pairs = pair_evidence(differences, binary=binary, bounds=bounds, options=options)
    keys = _union_clusters(baseline, candidate, names, absent)
    if pairs is None or keys is None or len(set(keys)) < 2:
        return pairs
    mean = cluster_robust_mean(differences, keys)
    return ClusteredPairs(pairs=pairs, clusters=mean.clusters, se=mean.cr2_se, df=mean.df)


def _column(prepared: Prepared, *, worst: bool) -> Sequence[float]:
    """One score per row: all have one if there is no column of extremes."""
    if prepared.worst:
        return prepared.worst if worst else prepared.best
    return [value if value is not None else math.nan for value in prepared.values]


def _union_clusters(
    baseline: Prepared, candidate: Prepared, names: dict[str, None], absent: int
) -> list[str] | None:
    keys = [
        dict(zip(prepared.ids, found, strict=True))
        for prepared in (candidate, baseline)
        if (found := cluster_keys(prepared, range(len(prepared.ids)))) is not None
    ]
    if not keys:
        return None
    known: dict[str, str] = {}
    for each in keys:
        known.update(each)
    return [known.get(name, f"item\x00{name}") for name in names] + [f"absent\x00{i}" for i in range(absent)]


def unpaired_evidence(
    baseline: ScoreSummary,
    candidate: ScoreSummary,
    sides: tuple[Prepared | None, Prepared | None],
    *,
    lower_is_better: bool,
) -> DifferenceEvidence | None:
    """The evidence of two scores whose items cannot be matched; None if a side has no standard error."""
    prepared = [each for each in sides if each is not None]
    if len(prepared) == 2:
        first, second = reversed(prepared) if not lower_is_better else prepared
        values = [[value for value in each.values if value is not None] for each in (first, second)]
        if min(len(each) for each in values) < 2:
            return None
        if first.binary and second.binary:
            return BinaryUnpaired(
                first_successes=round(sum(values[0])),
                first_n=len(values[0]),
                second_successes=round(sum(values[1])),
                second_n=len(values[1]),
            )
        moments = [(len(each), *mean_and_sd(each)) for each in values]
        return MeansUnpaired(first=moments[0], second=moments[1], bounds=common_bounds(first, second))
    errors = [_standard_error(each) for each in (baseline, candidate)]
    if errors[0] is None or errors[1] is None or baseline.value is None or candidate.value is None:
        return None
    difference = baseline.value - candidate.value if lower_is_better else candidate.value - baseline.value
    return AggregatesUnpaired(difference=difference, se=math.hypot(errors[0], errors[1]))


def _standard_error(summary: ScoreSummary) -> float | None:
    """Half the interval at a confidence of 68 %: one standard error, never 0 for right/wrong answers."""
    if summary.evidence is None:
        return None
    low, high = summary.evidence.limits(2 * 0.15865525393145707)
    return (high - low) / 2 or None

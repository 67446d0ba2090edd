"""Rankings of models with the ranges of ranks that the data do not exclude, and the models that cannot be distinguished."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from msgspec import Struct

from evalhub_server.domain.statistics.clusters import MIN_CLUSTERS, MIN_DF, cr2_error
from evalhub_server.domain.statistics.common_items import CommonItems, common_items
from evalhub_server.domain.statistics.differences import oriented, pair_evidence
from evalhub_server.domain.statistics.evidence import (
    BinaryPairs,
    ClusteredPairs,
    DifferenceEvidence,
    UnboundedPairs,
)
from evalhub_server.domain.statistics.inputs import CompareOptions, ModelRuns, WeightKind
from evalhub_server.domain.statistics.mover import mover
from evalhub_server.domain.statistics.paired_evidence import Pairs
from evalhub_server.domain.statistics.rank_groups import undistinguished
from evalhub_server.domain.statistics.ranks import rank_ranges
from evalhub_server.domain.statistics.results import (
    Interval,
    Leaderboard,
    Note,
    PairTest,
    Rank,
    Ranking,
)
from evalhub_server.domain.statistics.score import plain_evidence
from evalhub_server.domain.statistics.suite import suite_p

Pair = tuple[str, str]


def leaderboard(
    models: Sequence[ModelRuns],
    benchmarks: Mapping[str, float],
    options: CompareOptions | None = None,
    weights: WeightKind = "declared",
) -> Leaderboard:
    """Rank models on each benchmark and on the suite, by paired tests of all pairs on common items.

    ``benchmarks`` has the names of the suite's benchmarks with their declared weights. All pairs of 20 models on 14,042
    items take about a second: not on an event loop.

    Raises:
        ValueError: two models have the same name, or columns of items have different lengths.
    """
    options = options or CompareOptions()
    names = [each.model for each in models]
    if len(set(names)) < len(names):
        raise ValueError("models of a leaderboard need different names")
    compared = _Models(
        jobs={each.model: each.job_id for each in models},
        chosen_of={each.model: max(each.chosen_of, 1) for each in models},
        alpha=options.alpha,
    )
    fields = [common_items(name, models, options) for name in benchmarks]
    evidence = [_all_pairs(field, options) for field in fields]
    rankings = tuple(
        _benchmark_ranking(field, pairs, compared) for field, pairs in zip(fields, evidence, strict=True)
    )
    declared = [weight or 1.0 for weight in benchmarks.values()]
    return Leaderboard(
        alpha=options.alpha,
        weights=weights,
        suite=_suite_ranking(fields, evidence, declared, weights, compared),
        benchmarks=rankings,
    )


def _all_pairs(field: CommonItems, options: CompareOptions) -> dict[Pair, DifferenceEvidence]:
    """The evidence of each pair, positive if the first is better; none for fewer than two items."""
    if field.n < 2:
        return {}
    sums = _cluster_sums(field)
    pairs: dict[Pair, DifferenceEvidence] = {}
    for first, second in combinations(field.columns, 2):
        if field.binary:
            one, two = field.bits[first], field.bits[second]
            if field.lower_is_better:
                one, two = two, one
            base: Pairs = BinaryPairs(
                n=field.n,
                fixed=(one & ~two).bit_count(),
                broken=(two & ~one).bit_count(),
                exact=options.exact,
            )
        else:
            differences = oriented(
                field.columns[second], field.columns[first], lower_is_better=field.lower_is_better
            )
            found = pair_evidence(differences, binary=False, bounds=field.bounds, options=options)
            if found is None:
                continue
            base = found
        pairs[first, second] = base if sums is None else _clustered(base, sums, (first, second))
    return pairs


class _ClusterSums(Struct, kw_only=True, frozen=True):
    sizes: list[int]
    sums: dict[str, list[float]]
    sign: int


def _cluster_sums(field: CommonItems) -> _ClusterSums | None:
    """Sums of scores per cluster and model: those of differences follow from them."""
    if field.clusters is None or max(field.clusters, default=0) < 1:
        return None
    count = max(field.clusters) + 1
    sizes = [0] * count
    for cluster in field.clusters:
        sizes[cluster] += 1
    sums: dict[str, list[float]] = {}
    for model, column in field.columns.items():
        totals = [0.0] * count
        for cluster, value in zip(field.clusters, column, strict=True):
            totals[cluster] += value
        sums[model] = totals
    return _ClusterSums(sizes=sizes, sums=sums, sign=-1 if field.lower_is_better else 1)


def _clustered(base: Pairs, sums: _ClusterSums, pair: Pair) -> DifferenceEvidence:
    first, second = (sums.sums[each] for each in pair)
    mean = base.estimate
    deviations = [
        sums.sign * (a - b) - size * mean for a, b, size in zip(first, second, sums.sizes, strict=True)
    ]
    se, df = cr2_error(deviations, sums.sizes)
    return ClusteredPairs(pairs=base, clusters=len(sums.sizes), se=se, df=df)


def _undecided(evidence: DifferenceEvidence) -> bool:
    """The pair supports no verdict."""
    if isinstance(evidence, ClusteredPairs):
        return evidence.clusters < MIN_CLUSTERS or evidence.df < MIN_DF or _undecided(evidence.pairs)
    return isinstance(evidence, UnboundedPairs) and not evidence.usable


class _Models(Struct, kw_only=True, frozen=True):
    """The models by name: their jobs, and of how many runs each was chosen for its score."""

    jobs: Mapping[str, str]
    chosen_of: Mapping[str, int]
    alpha: float

    def level(self, model: str) -> float:
        """The error probability of the interval of a score: Bonferroni over the runs of which the model's one was chosen."""
        return self.alpha / self.chosen_of[model]

    def adjusted(self, pair: Pair, p: float) -> float:
        """The p value of two chosen runs: Bonferroni over all pairs of runs of the two models."""
        return min(1.0, p * self.chosen_of[pair[0]] * self.chosen_of[pair[1]])


def _benchmark_ranking(
    field: CommonItems, pairs: Mapping[Pair, DifferenceEvidence], models: _Models
) -> Ranking:
    scores = {model: math.fsum(column) / field.n for model, column in field.columns.items() if field.n}
    intervals: dict[str, Interval] = {}
    for model, column in field.columns.items():
        evidence = plain_evidence(column, binary=field.binary, bounds=field.bounds)
        if evidence is not None:
            alpha = models.level(model)
            low, high = evidence.limits(alpha)
            intervals[model] = Interval(low=low, high=high, confidence=1 - alpha, method=evidence.method)
    tests = {pair: (each.estimate, 1.0 if _undecided(each) else each.p) for pair, each in pairs.items()}
    return _ranking(
        field.name, field.metric, field.n, scores, intervals, tests, models, field.not_ranked,
        field.warnings, sign=-1 if field.lower_is_better else 1,
    )  # fmt: skip


def _suite_ranking(
    fields: Sequence[CommonItems],
    evidence: Sequence[Mapping[Pair, DifferenceEvidence]],
    declared: Sequence[float],
    kind: WeightKind,
    models: _Models,
) -> Ranking | None:
    """The ranking of the models that have every benchmark; None for fewer than two, or with unbounded metrics."""
    complete = [
        model
        for model in models.jobs
        if fields and all(model in field.columns and field.n > 1 for field in fields)
    ]
    if len(complete) < 2 or any(field.bounds is None for field in fields):
        return None
    raw = {"macro": [1.0] * len(fields), "pooled": [float(f.n) for f in fields], "declared": list(declared)}[
        kind
    ]
    weights = [each / math.fsum(raw) for each in raw]
    scores: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    for model in complete:
        alpha = models.level(model)
        estimates: list[float] = []
        limits: list[tuple[float, float]] = []
        for field in fields:
            found = plain_evidence(field.columns[model], binary=field.binary, bounds=field.bounds)
            if found is None or field.bounds is None:
                return None
            value, (low, high) = found.estimate, found.limits(alpha)
            turn = sum(field.bounds)
            estimates.append(turn - value if field.lower_is_better else value)
            limits.append((turn - high, turn - low) if field.lower_is_better else (low, high))
        total, low, high = mover(weights, estimates, limits)
        scores[model] = total
        intervals[model] = Interval(low=low, high=high, confidence=1 - alpha, method="MOVER")
    tests: dict[Pair, tuple[float, float]] = {}
    for pair in combinations(complete, 2):
        found = [part for each in evidence if (part := each.get(pair)) is not None]
        estimates = [part.estimate for part in found]
        estimate = math.fsum(w * d for w, d in zip(weights, estimates, strict=True))
        undecided = any(_undecided(part) for part in found)
        p = 1.0 if undecided else suite_p(weights, found)
        tests[pair] = (estimate, p)
    left_out = tuple(
        Note(code=model, message="not ranked on every benchmark")
        for model in models.jobs
        if model not in complete
    )
    n = sum(field.n for field in fields)
    return _ranking("", "", n, scores, intervals, tests, models, left_out, (), sign=1)


def _ranking(
    name: str,
    metric: str,
    n: int,
    scores: Mapping[str, float],
    intervals: Mapping[str, Interval],
    tests: Mapping[Pair, tuple[float, float]],
    models: _Models,
    not_ranked: tuple[Note, ...],
    warnings: tuple[Note, ...],
    *,
    sign: int,
) -> Ranking:
    """Ranks from scores and tests; ``sign`` is -1 where lower scores are better."""
    goodness = {model: sign * score for model, score in scores.items()}
    chosen = {pair: models.adjusted(pair, p) for pair, (_, p) in tests.items()}
    ranges, adjusted = rank_ranges(goodness, chosen, models.alpha)
    order = sorted(scores, key=lambda model: (-goodness[model], model))
    differing = [
        pair for pair, p in adjusted.items() if p <= models.alpha and goodness[pair[0]] != goodness[pair[1]]
    ]
    return Ranking(
        name=name,
        metric=metric,
        n_common=n,
        ranks=tuple(
            Rank(
                model=model,
                job_id=models.jobs[model],
                score=scores[model],
                interval=intervals.get(model),
                best_rank=ranges[model][0],
                worst_rank=ranges[model][1],
                tied_with_best=ranges[model][0] == 1,
            )
            for model in order
        ),
        pairs=tuple(
            PairTest(first=pair[0], second=pair[1], difference=difference, p=p, p_adjusted=adjusted[pair])
            for pair, (difference, p) in tests.items()
        ),
        groups=undistinguished(order, differing) if order else (),
        not_ranked=not_ranked,
        warnings=warnings,
    )

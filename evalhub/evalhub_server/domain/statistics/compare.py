"""The comparison of two runs of one benchmark."""

from __future__ import annotations

from msgspec.structs import replace

from evalhub_server.domain.statistics.clusters import FEW_CLUSTERS, MIN_CLUSTERS, MIN_DF
from evalhub_server.domain.statistics.columns import Prepared, prepare
from evalhub_server.domain.statistics.differences import (
    Matched,
    common_bounds,
    extreme_evidence,
    flips,
    matched,
    missing_items,
    unpaired_evidence,
)
from evalhub_server.domain.statistics.evidence import (
    BinaryPairs,
    ClusteredPairs,
    DifferenceEvidence,
    UnboundedPairs,
    is_paired,
    spread,
)
from evalhub_server.domain.statistics.inputs import INCOMPLETE_CODES, CompareOptions, Run
from evalhub_server.domain.statistics.judging import extreme, judge
from evalhub_server.domain.statistics.pairing import (
    Join,
    has_ids,
    header_differences,
    join,
    join_differences,
)
from evalhub_server.domain.statistics.planning import MIN_MARGIN, detectable_difference, n_for_margin
from evalhub_server.domain.statistics.results import (
    BenchmarkComparison,
    Difference,
    Interval,
    MissingExtremes,
    Note,
    Precision,
    ScoreSummary,
)
from evalhub_server.domain.statistics.score import MAX_EXCLUDED_SHARE, score_prepared, score_run
from evalhub_server.domain.statistics.verdicts import verdict_of
from evalhub_server.domain.statistics.wording import comparison_wording


def compare_runs(
    baseline: Run, candidate: Run, options: CompareOptions | None = None, *, name: str = ""
) -> BenchmarkComparison:
    """Compare a candidate with a baseline on one benchmark.

    Runs that differ in what changes scores are not comparable, and the reasons say in what. Without samples on either
    side the comparison is unpaired; without standard errors it is a bare difference without a verdict.

    Raises:
        ValueError: columns of items have different lengths.
    """
    options = options or CompareOptions()
    sides = [None if run.items is None else prepare(run, options) for run in (baseline, candidate)]
    return compare_prepared((baseline, candidate), (sides[0], sides[1]), options, name=name)


def compare_prepared(
    runs: tuple[Run, Run],
    sides: tuple[Prepared | None, Prepared | None],
    options: CompareOptions,
    *,
    name: str = "",
) -> BenchmarkComparison:
    """:func:`compare_runs` for runs whose items are prepared already."""
    summaries = [
        score_run(run, options) if each is None else score_prepared(each, options)
        for run, each in zip(runs, sides, strict=True)
    ]
    reasons, warnings = header_differences(*runs, options)
    result = BenchmarkComparison(
        name=name or runs[0].name,
        provider_id=runs[0].header.provider_id,
        benchmark_id=runs[0].header.benchmark_id,
        metric=runs[0].rules.metric,
        lower_is_better=runs[0].rules.lower_is_better,
        verdict="not_comparable",
        wording="",
        baseline=summaries[0],
        candidate=summaries[1],
        margin=options.margin,
        alpha=options.alpha,
        value_range=_declared(runs[0]),
    )
    first, second = sides
    if first is None or second is None or not (has_ids(first) and has_ids(second)):
        return _unpaired(result, sides, reasons, warnings, options)
    joined = join(first, second)
    more, extra = join_differences(first, second, joined, options)
    result = replace(
        result,
        paired=True,
        n_baseline=len(first.ids),
        n_candidate=len(second.ids),
        n_matched=len(joined.baseline),
        n_only_baseline=joined.only_baseline,
        n_only_candidate=joined.only_candidate,
        value_range=common_bounds(first, second),
        reasons=tuple(reasons + more),
        warnings=tuple(warnings + extra),
    )
    if result.reasons:
        return replace(result, wording=comparison_wording(result))
    return _paired(result, first, second, joined, options)


def _paired(
    result: BenchmarkComparison, first: Prepared, second: Prepared, joined: Join, options: CompareOptions
) -> BenchmarkComparison:
    """The comparison of items that may be compared."""
    pairs = matched(first, second, joined, options)
    stop = [*_incomplete((result.baseline, result.candidate)), *_excluded(first, second)]
    inconclusive = _too_little(pairs)
    result = replace(
        result,
        flips=flips(first, joined, pairs.differences, options.max_sample_ids),
        clustering=pairs.clustering,
        missing=_missing(first, second, joined, options),
        warnings=result.warnings + _repeat_warnings(first, second, pairs),
    )
    if pairs.evidence is None:
        result = replace(
            result, verdict="incomplete" if stop else "inconclusive", reasons=tuple(stop or inconclusive)
        )
        return replace(result, wording=comparison_wording(result))
    result = replace(
        result,
        evidence=pairs.evidence,
        difference=_difference(pairs.evidence, options.alpha),
        precision=_precision(pairs.evidence, options),
    )
    return judge(replace(result, reasons=tuple(stop or inconclusive)), incomplete=bool(stop))


def _missing(
    first: Prepared, second: Prepared, joined: Join, options: CompareOptions
) -> MissingExtremes | None:
    n = missing_items(first, second, joined, options)
    if not n:
        return None
    worst = extreme_evidence(first, second, options, candidate_worst=True)
    best = extreme_evidence(first, second, options, candidate_worst=False)
    if worst is None or best is None:
        return MissingExtremes(n=n, worst=None, best=None, verdict_differs=True)
    low, high = (extreme(each, options.alpha, None, options.margin) for each in (worst, best))
    return MissingExtremes(
        n=n, worst=low, best=high, verdict_differs=verdict_of(low.flags) != verdict_of(high.flags)
    )


def _difference(evidence: DifferenceEvidence, alpha: float) -> Difference:
    low, high = evidence.limits(alpha)
    p = evidence.p
    return Difference(
        estimate=evidence.estimate,
        interval=Interval(low=low, high=high, confidence=1 - alpha, method=evidence.interval_method),
        p=p,
        test=evidence.test,
        borderline=(low > 0 or high < 0) and p > alpha,
    )


def _precision(evidence: DifferenceEvidence, options: CompareOptions) -> Precision:
    variance = spread(evidence)
    detectable = needed = None
    if variance is not None and evidence.n:
        found = detectable_difference(evidence.n, variance, options.alpha)
        detectable = found.exact if isinstance(evidence, BinaryPairs) else found.simple
        if options.margin is not None and options.margin >= MIN_MARGIN:
            needed = n_for_margin(variance, options.margin, options.alpha)
    return Precision(
        smallest_margin=evidence.smallest_margin(options.alpha),
        detectable_difference=detectable,
        n_for_margin=needed,
    )


def _incomplete(summaries: tuple[ScoreSummary | None, ScoreSummary | None]) -> list[Note]:
    """Reasons of the scores themselves that forbid a verdict."""
    codes = {"not_a_mean", "score_differs", *INCOMPLETE_CODES}
    return [
        Note(code=note.code, message=f"{label}: {note.message}")
        for label, summary in zip(("baseline", "candidate"), summaries, strict=True)
        if summary is not None
        for note in summary.notes
        if note.code in codes
    ]


def _excluded(*sides: Prepared | None) -> list[Note]:
    """Reasons of the policies for failures that forbid a verdict."""
    notes: list[Note] = []
    for label, each in zip(("baseline", "candidate"), sides, strict=True):
        if each is None:
            continue
        if each.n_excluded > MAX_EXCLUDED_SHARE * each.n_expected:
            text = f"{each.n_excluded} of {each.n_expected} samples failed, more than the 1 % that may be left out"
            notes.append(Note(code="too_many_excluded", message=f"{label}: {text}"))
        if each.n_refused:
            text = f"{each.n_refused} samples failed, and the policy is to refuse"
            notes.append(Note(code="failures_refused", message=f"{label}: {text}"))
    return notes


def _too_little(pairs: Matched) -> list[Note]:
    """Reasons why the matched items support no verdict."""
    evidence = pairs.evidence
    if evidence is None:
        return [
            Note(
                code="too_few_items", message=f"{len(pairs.differences)} matched items, at least 2 are needed"
            )
        ]
    if pairs.single_cluster:
        return [Note(code="too_few_clusters", message="all items are of one cluster")]
    notes: list[Note] = []
    if isinstance(evidence, ClusteredPairs) and (evidence.clusters < MIN_CLUSTERS or evidence.df < MIN_DF):
        text = f"{evidence.clusters} clusters with {evidence.df:.1f} degrees of freedom; at least 10 and 4 are needed"
        notes.append(Note(code="too_few_clusters", message=text))
    inner = evidence.pairs if isinstance(evidence, ClusteredPairs) else evidence
    if isinstance(inner, UnboundedPairs) and not inner.usable:
        text = f"the metric has no declared range, and only {inner.nonmodal} differences are unlike the most frequent one"
        notes.append(Note(code="too_few_values", message=text))
    return notes


def _repeat_warnings(first: Prepared, second: Prepared, pairs: Matched) -> tuple[Note, ...]:
    notes: list[Note] = []
    counts = [max((len(group) for group in each.repeats), default=1) for each in (first, second)]
    if counts[0] != counts[1]:
        text = f"{counts[0]} repeats per item in the baseline, {counts[1]} in the candidate"
        notes.append(Note(code="other_repeats", message=text))
    elif counts == [1, 1] and any(_samples_randomly(each) for each in (first, second)):
        text = "one run per item: run-to-run noise is included in the interval but not shown separately"
        notes.append(Note(code="one_repeat", message=text))
    if pairs.clustering is not None and pairs.clustering.clusters < FEW_CLUSTERS:
        text = f"{pairs.clustering.clusters} clusters are few: the interval may be too narrow"
        notes.append(Note(code="few_clusters", message=text))
    return tuple(notes)


def _samples_randomly(prepared: Prepared) -> bool:
    """The run's parameters name a temperature above 0."""
    temperature = prepared.run.header.parameters.get("temperature")
    return isinstance(temperature, int | float) and temperature > 0


def _unpaired(
    result: BenchmarkComparison,
    sides: tuple[Prepared | None, Prepared | None],
    reasons: list[Note],
    warnings: list[Note],
    options: CompareOptions,
) -> BenchmarkComparison:
    """The comparison of scores whose items cannot be matched."""
    baseline, candidate = result.baseline, result.candidate
    assert baseline is not None  # noqa: S101  set by the caller
    assert candidate is not None  # noqa: S101
    label = Note(code="unpaired", message="unpaired: per-sample results are missing")
    result = replace(
        result,
        n_baseline=baseline.n,
        n_candidate=candidate.n,
        reasons=tuple(reasons + [n for each in sides if each is not None for n in each.problems]),
        warnings=(*warnings, label),
    )
    if result.reasons:
        return replace(result, wording=comparison_wording(result))
    evidence = unpaired_evidence(baseline, candidate, sides, lower_is_better=result.lower_is_better)
    stop = [*_incomplete((baseline, candidate)), *_excluded(*sides)]
    if evidence is None:
        stop.append(Note(code="no_samples", message=_bare_difference(baseline, candidate)))
        result = replace(result, verdict="incomplete", reasons=tuple(stop))
        return replace(result, wording=comparison_wording(result))
    result = replace(
        result,
        evidence=evidence,
        difference=_difference(evidence, options.alpha),
        precision=_precision(evidence, options) if is_paired(evidence) else None,
        reasons=tuple(stop),
    )
    return judge(result, incomplete=bool(stop))


def _bare_difference(baseline: ScoreSummary, candidate: ScoreSummary) -> str:
    if baseline.value is None or candidate.value is None:
        return "a score is missing"
    return (
        f"there are no per-sample results and no standard errors; the scores are {baseline.value:.6g} and "
        f"{candidate.value:.6g}"
    )


def _declared(run: Run) -> tuple[float, float] | None:
    low, high = run.rules.low, run.rules.high
    return None if low is None or high is None else (low, high)

"""The comparison of two jobs: the suite first, then its benchmarks with p values adjusted over all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from evalhub_server.domain.statistics.compare import compare_runs
from evalhub_server.domain.statistics.evidence import DifferenceEvidence, is_paired
from evalhub_server.domain.statistics.inputs import CompareOptions, SuiteBenchmark, WeightKind
from evalhub_server.domain.statistics.judging import judge
from evalhub_server.domain.statistics.mover import mover, mover_p
from evalhub_server.domain.statistics.multiplicity import holm, holm_step_alphas
from evalhub_server.domain.statistics.results import (
    BenchmarkComparison,
    Flag,
    Interval,
    Note,
    ScoreSummary,
    SuiteComparison,
    SuiteDifference,
    SuiteScore,
)
from evalhub_server.domain.statistics.score import score_run
from evalhub_server.domain.statistics.verdicts import verdict_flags, verdict_of
from evalhub_server.domain.statistics.wording import suite_wording

WEIGHT_KINDS: tuple[WeightKind, ...] = ("macro", "pooled", "declared")
_NO_SUITE_CODES = {"too_few_clusters", "too_few_values", "too_few_items"}


def compare_suites(
    benchmarks: Sequence[SuiteBenchmark],
    options: CompareOptions | None = None,
    weights: WeightKind = "declared",
) -> SuiteComparison:
    """Compare two jobs over the benchmarks of a suite.

    The number of benchmarks that p values are adjusted for is that of the suite, those without a result included: what
    is compared must not depend on results.

    Raises:
        ValueError: two benchmarks have the same name, or columns of items have different lengths.
    """
    options = options or CompareOptions()
    names = [each.name for each in benchmarks]
    if len(set(names)) < len(names):
        raise ValueError("benchmarks of a suite need different names")
    results = adjust(
        [replace(_compare(each, options), weight=each.weight or 1.0) for each in benchmarks], options.alpha
    )
    return summarise(results, options, weights)


def adjust(results: Sequence[BenchmarkComparison], alpha: float) -> list[BenchmarkComparison]:
    """Set Holm's p values and the intervals at the level of its decisions, and judge each benchmark with them."""
    p_values = {each.name: 1.0 if each.difference is None else each.difference.p for each in results}
    adjusted, levels = holm(p_values), holm_step_alphas(p_values, alpha)
    judged: list[BenchmarkComparison] = []
    for each in results:
        if each.difference is None or each.evidence is None:
            judged.append(each)
            continue
        level = levels[each.name]
        low, high = each.evidence.limits(level)
        difference = replace(
            each.difference,
            p_adjusted=adjusted[each.name],
            adjusted_interval=Interval(
                low=low, high=high, confidence=1 - level, method=each.evidence.interval_method
            ),
            borderline=(low > 0 or high < 0) and adjusted[each.name] > alpha,
        )
        judged.append(
            judge(
                replace(each, difference=difference),
                incomplete=each.verdict == "incomplete",
                claim_alpha=level,
            )
        )
    return judged


def summarise(
    results: Sequence[BenchmarkComparison], options: CompareOptions, weights: WeightKind
) -> SuiteComparison:
    """The suite's own difference, scores and verdict, from comparisons that are adjusted."""
    reasons = _reasons(results)
    usable = [each for each in results if each.evidence is not None and each.value_range is not None]
    refused = any(each.code in {"shared_items", "unbounded_metric"} for each in reasons)
    difference = None if refused or not usable else _difference(usable, options.alpha, weights)
    alternatives: tuple[SuiteDifference, ...] = ()
    if difference is not None:
        others = [_difference(usable, options.alpha, kind) for kind in WEIGHT_KINDS if kind != weights]
        alternatives = tuple(each for each in others if each.estimate * difference.estimate < 0)
    result = SuiteComparison(
        verdict="inconclusive",
        wording="",
        difference=difference,
        alternatives=alternatives,
        baseline=_score(usable, weights, baseline=True) if difference else None,
        candidate=_score(usable, weights, baseline=False) if difference else None,
        weights=dict(zip([each.name for each in results], normalised(results, weights), strict=True)),
        benchmarks=tuple(results),
        alpha=options.alpha,
        margin=options.margin,
        reasons=tuple(reasons),
        warnings=_warnings(results, alternatives),
    )
    return _judged(result, usable, weights)


def normalised(results: Sequence[BenchmarkComparison], kind: WeightKind) -> list[float]:
    """Weights that sum to 1: equal, by the number of matched items, or as declared."""
    match kind:
        case "macro":
            raw = [1.0] * len(results)
        case "pooled":
            raw = [float(each.n_matched or (each.evidence.n if each.evidence else 0)) for each in results]
        case "declared":
            raw = [each.weight or 1.0 for each in results]
    total = math.fsum(raw)
    return [each / total if total else 1 / len(raw) for each in raw]


def adjust_candidates(suites: Mapping[str, SuiteComparison]) -> dict[str, SuiteComparison]:
    """Adjust several candidates' comparisons with one baseline: Holm over the candidates, for the choice of the best."""
    adjusted = holm({name: each.difference.p if each.difference else 1.0 for name, each in suites.items()})
    return {
        name: replace(each, n_candidates=len(suites), p_adjusted=adjusted[name] if len(suites) > 1 else None)
        for name, each in suites.items()
    }


def _compare(benchmark: SuiteBenchmark, options: CompareOptions) -> BenchmarkComparison:
    baseline, candidate = benchmark.baseline, benchmark.candidate
    if baseline is not None and candidate is not None:
        return compare_runs(baseline, candidate, options, name=benchmark.name)
    side = "baseline" if baseline is None else "candidate"
    run = baseline or candidate
    text = "neither job has a result" if run is None else f"the {side} has no result"
    return BenchmarkComparison(
        name=benchmark.name,
        provider_id=run.header.provider_id if run else "",
        benchmark_id=run.header.benchmark_id if run else "",
        metric=run.rules.metric if run else "",
        lower_is_better=run.rules.lower_is_better if run else False,
        verdict="incomplete",
        wording=f"incomplete: {text}",
        reasons=(Note(code="not_run", message=text),),
        baseline=score_run(baseline, options) if baseline else None,
        candidate=score_run(candidate, options) if candidate else None,
        margin=options.margin,
        alpha=options.alpha,
    )


def _reasons(results: Sequence[BenchmarkComparison]) -> list[Note]:
    """Why the suite has no difference, or one without a verdict."""
    if not results:
        return [Note(code="no_benchmarks", message="there are no benchmarks to compare")]
    notes: list[Note] = []
    seen: set[tuple[str, str]] = set()
    for each in results:
        key = (each.provider_id, each.benchmark_id)
        if each.benchmark_id and key in seen:
            text = f"{each.name} shares its items with another benchmark of the suite, so their differences cannot be summed"
            notes.append(Note(code="shared_items", message=text))
        seen.add(key)
        if each.verdict in {"incomplete", "not_comparable"}:
            notes.append(Note(code="incomplete", message=f"{each.name} is {each.verdict.replace('_', ' ')}"))
        elif each.value_range is None:
            text = f"{each.name}: '{each.metric}' has no declared range, so it cannot be part of a mean over benchmarks"
            notes.append(Note(code="unbounded_metric", message=text))
        notes += [
            Note(code=reason.code, message=f"{each.name}: {reason.message}")
            for reason in each.reasons
            if reason.code in _NO_SUITE_CODES
        ]
    return notes


def _difference(results: Sequence[BenchmarkComparison], alpha: float, kind: WeightKind) -> SuiteDifference:
    weights = normalised(results, kind)
    evidence = [each.evidence for each in results if each.evidence is not None]
    estimates = [each.estimate for each in evidence]
    total, low, high = mover(weights, estimates, [each.limits(alpha) for each in evidence])
    return SuiteDifference(
        weights=kind,
        estimate=total,
        interval=Interval(low=low, high=high, confidence=1 - alpha, method="MOVER"),
        p=suite_p(weights, evidence),
    )


def suite_p(weights: Sequence[float], evidence: Sequence[DifferenceEvidence]) -> float:
    """The p value of a weighted sum; of one benchmark, its own."""
    if len(evidence) == 1:
        return evidence[0].p
    return mover_p(weights, [each.estimate for each in evidence], [each.limits for each in evidence])


def _score(results: Sequence[BenchmarkComparison], kind: WeightKind, *, baseline: bool) -> SuiteScore | None:
    """The weighted mean of one side's scores with its interval; None if one has no interval."""
    estimates: list[float] = []
    limits: list[tuple[float, float]] = []
    for each in results:
        summary: ScoreSummary | None = each.baseline if baseline else each.candidate
        if summary is None or summary.value is None or summary.interval is None or each.value_range is None:
            return None
        value, low, high = summary.value, summary.interval.low, summary.interval.high
        if each.lower_is_better:
            turn = each.value_range[0] + each.value_range[1]
            value, low, high = turn - value, turn - high, turn - low
        estimates.append(value)
        limits.append((low, high))
    total, low, high = mover(normalised(results, kind), estimates, limits)
    return SuiteScore(value=total, low=low, high=high)


def _judged(
    result: SuiteComparison, usable: Sequence[BenchmarkComparison], kind: WeightKind
) -> SuiteComparison:
    """Flags, verdict and wording of the suite; a claim must hold at both extremes of missing data."""
    n = sum(each.n_matched for each in usable)
    difference = result.difference
    if difference is None or any(each.code == "incomplete" for each in result.reasons):
        result = replace(result, verdict="incomplete")
    elif not result.reasons:
        interval = difference.interval
        flags = verdict_flags(interval.low, interval.high, result.margin, p=difference.p, alpha=result.alpha)
        held = flags
        for worst in (True, False):
            at_extreme = _extreme_flags(result, usable, kind, worst=worst)
            kept: list[Flag] = [flag for flag in held if flag in at_extreme]
            held = tuple(kept)
        if held != flags:
            note = Note(code="missing_data", message="failed or missing samples could change the verdict")
            result = replace(result, reasons=(note,) if not held else (), warnings=(*result.warnings, note))
        result = replace(result, flags=held, verdict=verdict_of(held))
    return replace(result, wording=suite_wording(result, n))


def _extreme_flags(
    result: SuiteComparison, usable: Sequence[BenchmarkComparison], kind: WeightKind, *, worst: bool
) -> tuple[Flag, ...]:
    evidence: list[DifferenceEvidence] = []
    for each in usable:
        found = each.evidence
        if each.missing is not None:
            extreme = each.missing.worst if worst else each.missing.best
            found = None if extreme is None else extreme.evidence
        if found is None:
            return ()
        evidence.append(found)
    _, low, high = mover(
        normalised(usable, kind),
        [each.estimate for each in evidence],
        [each.limits(result.alpha) for each in evidence],
    )
    return verdict_flags(low, high, result.margin)


def _warnings(
    results: Sequence[BenchmarkComparison], alternatives: Sequence[SuiteDifference]
) -> tuple[Note, ...]:
    notes: list[Note] = []
    better = [each.name for each in results if "improved" in each.flags]
    worse = [each.name for each in results if "regressed" in each.flags]
    if better and worse:
        text = f"better on {', '.join(better)}, worse on {', '.join(worse)}: the mean hides that"
        notes.append(Note(code="opposite_directions", message=text))
    notes += [
        Note(
            code="sign_depends_on_weights",
            message=f"with {each.weights} weights the difference has the other sign",
        )
        for each in alternatives
    ]
    if len({each.value_range for each in results if each.value_range is not None}) > 1:
        text = "the metrics have different ranges, so those with wide ranges dominate the mean"
        notes.append(Note(code="different_ranges", message=text))
    if any(each.evidence is not None and not is_paired(each.evidence) for each in results):
        notes.append(Note(code="unpaired", message="some benchmarks are compared without per-sample results"))
    return tuple(notes)

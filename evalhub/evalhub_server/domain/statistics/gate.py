"""Quality gates: a policy applied to the comparison of two jobs, or to the scores of one."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from evalhub_server.domain.statistics.evidence import DifferenceEvidence, is_paired, spread
from evalhub_server.domain.statistics.gate_results import (
    EXIT_CODES,
    GateOutcome,
    GateResult,
    GateRow,
    ScoredBenchmark,
)
from evalhub_server.domain.statistics.gate_thresholds import threshold_row
from evalhub_server.domain.statistics.gate_wording import difference_row_wording, gate_wording
from evalhub_server.domain.statistics.multiplicity import holm
from evalhub_server.domain.statistics.planning import MIN_MARGIN, n_for_margin
from evalhub_server.domain.statistics.policy import (
    GateBenchmark,
    GateKind,
    GatePolicy,
    PolicyError,
    check_policy,
    margin_problem,
)
from evalhub_server.domain.statistics.results import BenchmarkComparison, Note, SuiteComparison
from evalhub_server.domain.statistics.verdicts import verdict_flags

_UNDECIDABLE = {"too_few_clusters", "too_few_values", "too_few_items"}


def evaluate_gate(
    policy: GatePolicy,
    suite: SuiteComparison | None,
    scores: Sequence[ScoredBenchmark] = (),
    attempt: int = 1,
) -> GateResult:
    """Apply a policy to a comparison, to scores for thresholds, or to both.

    Passing needs every required benchmark to pass on its plain interval (intersection-union, no adjustment); failing needs
    one failure that survives Holm over the required benchmarks at alpha/2. A required benchmark without a result or
    comparison makes the gate incomplete; anything between is inconclusive. Nothing evaluated is never a pass.

    Raises:
        PolicyError: the policy contradicts itself, names an unknown benchmark, lacks a margin, or has one that the items
            cannot support whatever the result is.
    """
    comparisons = {each.name: each for each in suite.benchmarks} if suite else {}
    scored = {each.name: each for each in scores}
    for name, each in comparisons.items():
        if name not in scored and each.candidate is not None:
            scored[name] = ScoredBenchmark(
                name=name,
                provider_id=each.provider_id,
                benchmark_id=each.benchmark_id,
                metric=each.metric,
                lower_is_better=each.lower_is_better,
                summary=each.candidate,
            )
    known = {_key(each) for each in (*comparisons.values(), *scored.values())}
    check_policy(policy, known)
    entries = _entries(policy, comparisons, scored)
    _check_floors(policy, entries, comparisons)
    rows: list[GateRow] = []
    for name, entry in entries:
        if policy.kind_of(entry) == "threshold":
            rows.append(threshold_row(name, entry, scored.get(name), policy.alpha))
        else:
            rows.append(_difference_row(name, entry, comparisons.get(name), policy))
    rows = _decided(rows, policy.alpha)
    outcome = _outcome(rows)
    result = GateResult(
        outcome=outcome,
        exit_code=EXIT_CODES[outcome],
        wording="",
        alpha=policy.alpha,
        attempt=attempt,
        benchmarks=tuple(rows),
        suite=suite.difference if suite else None,
        warnings=_warnings(rows, suite, attempt),
    )
    return replace(result, wording=gate_wording(result))


def _key(each: BenchmarkComparison | ScoredBenchmark) -> str:
    """What a policy calls the benchmark."""
    return f"{each.provider_id}/{each.benchmark_id}" if each.benchmark_id else each.name


def _entries(
    policy: GatePolicy, comparisons: dict[str, BenchmarkComparison], scored: dict[str, ScoredBenchmark]
) -> list[tuple[str, GateBenchmark]]:
    """Names of benchmarks with what the policy requires of each; a benchmark may occur several times in a job."""
    keys = {name: _key(each) for name, each in (*comparisons.items(), *scored.items())}
    if policy.benchmarks:
        return [
            (name, entry) for entry in policy.benchmarks for name, key in keys.items() if key == entry.name
        ]
    entries: list[tuple[str, GateBenchmark]] = []
    for name, key in keys.items():
        provider_id, _, benchmark_id = key.partition("/")
        entries.append((name, GateBenchmark(provider_id=provider_id, id=benchmark_id)))
    return entries


def _check_floors(
    policy: GatePolicy,
    entries: Sequence[tuple[str, GateBenchmark]],
    comparisons: dict[str, BenchmarkComparison],
) -> None:
    """Refuse margins that are missing, or that the items at hand cannot support, before any verdict.

    Raises:
        PolicyError: with the smallest margin that each benchmark's items support.
    """
    problems: list[str] = []
    for name, entry in entries:
        comparison = comparisons.get(name)
        if policy.kind_of(entry) != "non_inferiority" or comparison is None or comparison.evidence is None:
            continue
        evidence = comparison.evidence
        margin = _margin(policy, entry, comparison)
        floor = evidence.smallest_margin(policy.alpha)
        if margin is not None and floor is not None and MIN_MARGIN <= margin <= floor:
            problems.append(margin_problem(name, margin, evidence.n, policy.alpha, floor))
    if problems:
        raise PolicyError(problems)


def _margin(policy: GatePolicy, entry: GateBenchmark, comparison: BenchmarkComparison) -> float | None:
    """The margin in the metric's unit; a relative one is a share of the baseline's score."""
    absolute, relative = policy.margins_of(entry)
    if absolute is not None:
        return absolute
    baseline = comparison.baseline
    if relative is None or baseline is None or baseline.value is None:
        return None
    return relative * abs(baseline.value)


def _difference_row(
    name: str, entry: GateBenchmark, comparison: BenchmarkComparison | None, policy: GatePolicy
) -> GateRow:
    """The outcome of one benchmark that is compared, before the adjustment of failures."""
    kind: GateKind = policy.kind_of(entry)
    row = GateRow(name=name, kind=kind, required=entry.required, outcome="incomplete", wording="")
    if comparison is None:
        return _unevaluated(row, Note(code="not_run", message="there is no comparison"))
    evidence = comparison.evidence
    if evidence is None or comparison.verdict in {"incomplete", "not_comparable"}:
        return replace(row, reasons=comparison.reasons, wording=comparison.wording)
    if not is_paired(evidence) and policy.unpaired == "refuse":
        text = "per-sample results are missing, and the policy does not allow an unpaired comparison"
        return _unevaluated(row, Note(code="unpaired", message=text))
    margin = _margin(policy, entry, comparison) if kind == "non_inferiority" else 0.0
    if margin is None or (kind == "non_inferiority" and margin < MIN_MARGIN):
        return _unevaluated(
            row, Note(code="no_margin", message="the baseline has no score to take a share of")
        )
    low, high = evidence.limits(policy.alpha)
    variance = spread(evidence)
    row = replace(
        row,
        n=evidence.n,
        margin=margin if kind == "non_inferiority" else None,
        low=low,
        high=high,
        flags=verdict_flags(low, high, margin if kind == "non_inferiority" else None),
        p_fail=evidence.lower_p(-margin),
        n_needed=n_for_margin(variance, margin, policy.alpha) if variance is not None and margin else None,
        smallest_margin=evidence.smallest_margin(policy.alpha),
    )
    undecidable = tuple(each for each in comparison.reasons if each.code in _UNDECIDABLE)
    if undecidable or low == high:
        reasons = undecidable or (Note(code="no_spread", message="the interval has no width"),)
        return replace(row, outcome="inconclusive", p_fail=1.0, reasons=reasons)
    outcomes = {_claim(each, margin, policy.alpha) for each in _versions(comparison, evidence)}
    if len(outcomes) > 1 or (comparison.missing is not None and comparison.missing.worst is None):
        n = comparison.missing.n if comparison.missing else 0
        text = f"{n} failed or missing samples could change the outcome"
        note = Note(code="missing_data", message=text)
        return replace(row, outcome="inconclusive", p_fail=1.0, reasons=(note,))
    return replace(row, outcome=outcomes.pop())


def _versions(comparison: BenchmarkComparison, evidence: DifferenceEvidence) -> list[DifferenceEvidence]:
    """The evidence, and that of both extremes of missing data."""
    missing = comparison.missing
    extremes = () if missing is None else (missing.worst, missing.best)
    return [evidence, *(each.evidence for each in extremes if each is not None)]


def _claim(evidence: DifferenceEvidence, margin: float, alpha: float) -> GateOutcome:
    """Superiority is the claim with margin 0."""
    low, high = evidence.limits(alpha)
    if low > -margin and (margin > 0 or evidence.p <= alpha):
        return "pass"
    return "fail" if high < -margin else "inconclusive"


def _unevaluated(row: GateRow, note: Note) -> GateRow:
    return replace(row, outcome="incomplete", reasons=(note,), wording=f"incomplete: {note.message}")


def _decided(rows: Sequence[GateRow], alpha: float) -> list[GateRow]:
    """Adjust failures over the required benchmarks, and word every row."""
    required = {each.name: 1.0 if each.p_fail is None else each.p_fail for each in rows if each.required}
    adjusted = holm(required)
    decided: list[GateRow] = []
    for row in rows:
        p = adjusted.get(row.name, row.p_fail) if row.p_fail is not None else None
        each = replace(row, p_fail_adjusted=p)
        if each.outcome == "fail" and p is not None and p > alpha / 2:
            text = f"below the limit on its own, not after the adjustment for {len(required)} benchmarks"
            each = replace(each, outcome="inconclusive", reasons=(Note(code="adjusted", message=text),))
        decided.append(each if each.wording else replace(each, wording=difference_row_wording(each, alpha)))
    return decided


def _outcome(rows: Sequence[GateRow]) -> GateOutcome:
    """A proven failure outweighs what is missing; anything missing outweighs passes."""
    outcomes = [each.outcome for each in rows if each.required]
    if not outcomes:
        return "incomplete"
    order: tuple[GateOutcome, ...] = ("fail", "incomplete", "inconclusive")
    for outcome in order:
        if outcome in outcomes:
            return outcome
    return "pass"


def _warnings(rows: Sequence[GateRow], suite: SuiteComparison | None, attempt: int) -> tuple[Note, ...]:
    notes: list[Note] = []
    failed = [each.name for each in rows if each.outcome == "fail"]
    if failed and suite is not None and suite.difference is not None and suite.difference.estimate >= 0:
        text = f"{', '.join(failed)} fail although the weighted mean of the suite is not worse"
        notes.append(Note(code="hidden_by_mean", message=text))
    if attempt > 1:
        text = f"this is attempt {attempt}: repeating a gate until it passes voids its confidence"
        notes.append(Note(code="repeated", message=text))
    if not any(each.required for each in rows):
        notes.append(Note(code="nothing_evaluated", message="no required benchmark was evaluated"))
    if suite is not None:
        notes += suite.warnings
    return tuple(notes)

"""Jobs as inputs of comparisons: the run of a benchmark, and the suite of two jobs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from evalhub_server.domain import problems
from evalhub_server.domain.lineage_view import LineageView, Source
from evalhub_server.domain.record import BenchmarkRecord, PlannedBenchmark
from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.domain.samples import ERROR_KINDS, current_set
from evalhub_server.domain.scoring import finite_number, standard_error
from evalhub_server.domain.statistics.columns import MAX_ABS_SCORE
from evalhub_server.domain.statistics.inputs import (
    ItemStatus,
    MetricRules,
    Note,
    Run,
    RunHeader,
    RunItems,
    SuiteBenchmark,
)
from evalhub_server.models.common import State
from evalhub_server.models.provider import MetricProperties
from evalhub_server.models.sample import OUTCOMES, SampleSet

LATENCY = "latency_s"
"""The name of the latency of samples, unless they have a metric with this name."""

_UNDECLARED = MetricProperties()
_GROUPS: dict[str, Literal["clusters", "strata"]] = {"clusters": "clusters", "strata": "strata"}


def rules_of(planned: PlannedBenchmark, metric: str = "") -> MetricRules:
    """What is declared of a metric, by default the primary one, in the job's snapshot of the provider."""
    primary = planned.primary_score
    name = metric or (primary.metric if primary else "")
    declared = _properties(planned, name)
    low, high = declared.range or (None, None)
    return MetricRules(
        metric=name,
        low=low,
        high=high,
        lower_is_better=primary.lower_is_better
        if primary is not None and name == primary.metric
        else declared.lower_is_better,
        aggregation="other" if declared.aggregation == "other" else "mean",
        groups=_GROUPS.get(planned.groups, ""),
    )


def sample_metric_of(planned: PlannedBenchmark, metric: str) -> str:
    """The name in samples of a metric of results."""
    return _properties(planned, metric).sample_metric or metric


def _properties(planned: PlannedBenchmark, metric: str) -> MetricProperties:
    return next((each for each in planned.metric_properties if each.metric == metric), _UNDECLARED)


def run_of(
    source: Source,
    *,
    metric: str = "",
    rules: MetricRules | None = None,
    items: RunItems | None = None,
    n_expected: int | None = None,
) -> Run | None:
    """The run of one benchmark, with the faults of its samples; None unless it is completed.

    ``metric`` is the primary metric by default, ``rules`` are those of :func:`rules_of`. The standard error is the result's
    ``<metric>_stderr``, or ``stderr`` of the primary metric.
    """
    job, planned, record = source.job, source.planned, source.record
    if record.state is not State.COMPLETED or record.result is None:
        return None
    faults, incomplete = sample_faults(record)
    primary = planned.primary_score
    name = metric or (rules.metric if rules else "") or (primary.metric if primary else "")
    is_primary = primary is not None and name == primary.metric
    metrics = record.result.metrics
    error = _computable(standard_error(metrics, name, is_primary=is_primary))
    parameters = dict(planned.parameters)
    limit = parameters.get("num_examples")
    reference = planned.test_data_ref
    return Run(
        header=RunHeader(
            provider_id=planned.provider_id,
            benchmark_id=planned.id,
            job_id=job.id,
            model_name=job.model_name,
            dataset_revision=record.resolved_sha or (reference.resolved_sha if reference else ""),
            parameters=parameters,
            num_examples=limit if isinstance(limit, int) and not isinstance(limit, bool) else None,
            n_expected=n_expected,
            reported_value=_computable(finite_number(metrics.get(name))),
            reported_stderr=error,
        ),
        rules=rules or rules_of(planned, name),
        items=items,
        problems=faults,
        incomplete=incomplete,
    )


def _computable(number: float | None) -> float | None:
    """The number, unless it is so large that squares are infinite."""
    return number if number is not None and abs(number) <= MAX_ABS_SCORE else None


def items_of(
    sample_ids: Sequence[str],
    epochs: Sequence[int],
    scores: Sequence[float],
    *,
    failed: Sequence[str | None],
    groups: Sequence[str],
    key_hashes: Sequence[str | bytes | None],
) -> RunItems:
    """Columns of samples as items: a score of NaN is missing, an empty group is none.

    ``failed`` has the kind of error of each sample that failed (``model``, ``infrastructure``, or empty if it is unknown,
    which counts as infrastructure), None for the others.
    """
    statuses: list[ItemStatus] = []
    for score, kind in zip(scores, failed, strict=True):
        if kind is not None:
            statuses.append("model_error" if kind == "model" else "infrastructure_error")
        else:
            statuses.append("missing" if math.isnan(score) else "ok")
    return RunItems(
        sample_ids=sample_ids,
        epochs=epochs if any(epochs) else None,
        scores=scores,
        statuses=statuses,
        clusters=[group or None for group in groups],
        key_hashes=key_hashes,
    )


def items_of_index(index: SampleIndex, metric: str) -> RunItems | None:
    """The items of a sample file with the scores of one metric; None if no sample has the metric."""
    scores = index.metrics.get(metric)
    if scores is None and metric == LATENCY:
        scores = index.latency_s
    if scores is None or not len(index):
        return None
    error = OUTCOMES.index("error")
    return items_of(
        index.ids,
        index.epochs,
        scores,
        failed=[
            ERROR_KINDS[kind] if outcome == error else None
            for outcome, kind in zip(index.outcomes, index.error_kinds, strict=True)
        ],
        groups=index.group(),
        key_hashes=index.key_hash(),
    )


def awaits_samples(benchmark: BenchmarkRecord) -> bool:
    """Whether samples of a benchmark may still be stored: its workload runs, or the server reads them."""
    samples = current_set(benchmark)
    return benchmark.has_workload if samples is None else samples.state == "pending"


def sample_faults(benchmark: BenchmarkRecord) -> tuple[tuple[Note, ...], tuple[Note, ...]]:
    """What rules out every use of a benchmark's samples, and what makes them incomplete; see :class:`Run`."""
    if awaits_samples(benchmark):
        return (), (Note(code="samples_pending", message="the samples are not stored yet"),)
    samples = current_set(benchmark)
    if samples is None:
        return (), ()
    faults: list[Note] = []
    incomplete: list[Note] = []
    if samples.duplicates:
        text = f"{samples.duplicates} samples occur more than once in the same epoch; no score can be chosen among them"
        faults.append(Note(code="duplicate_samples", message=text))
    match samples.state:
        case "cut":
            text = f"the samples were cut: {samples.message or 'a limit was reached'}"
            incomplete.append(Note(code="samples_cut", message=text))
        case "failed":
            text = f"the samples could not be stored: {samples.message}"
            incomplete.append(Note(code="samples_failed", message=text))
        case _:
            pass
    return tuple(faults), tuple(incomplete)


def expected_items(samples: SampleSet, index: SampleIndex) -> int | None:
    """The number of items that a sample file should have; None if every line is a sample.

    Lines that are no samples count as missing items, except for duplicates.
    """
    bad = samples.bad_lines - samples.duplicates
    return len(set(index.ids)) + bad if bad > 0 else None


def check_metric(metric: str, views: Iterable[LineageView]) -> None:
    """Raise :class:`ApiError` (400) for a metric that no result has."""
    known = {
        name
        for view in views
        for source in view.values()
        if source.record.result is not None
        for name in source.record.result.metrics
    }
    if metric and known and metric not in known:
        raise problems.unknown_metric(metric, sorted(known)[:50])


def suite_of(
    baseline: LineageView, candidate: LineageView, runs: Callable[[Source], Run | None]
) -> list[SuiteBenchmark]:
    """The benchmarks of two jobs, matched by name, those of the baseline first; weights are the baseline's.

    ``runs`` returns the run of a benchmark, or None without a result.
    """
    return [
        SuiteBenchmark(
            name=name,
            baseline=runs(baseline[name]) if name in baseline else None,
            candidate=runs(candidate[name]) if name in candidate else None,
            weight=max(0.0, (baseline.get(name) or candidate[name]).planned.weight),
        )
        for name in dict.fromkeys([*baseline, *candidate])
    ]

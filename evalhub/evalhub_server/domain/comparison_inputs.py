"""Jobs as inputs of comparisons: the run of a benchmark, and the suite of two jobs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.scoring import finite_number
from evalhub_server.domain.statistics.inputs import (
    ItemStatus,
    MetricRules,
    Run,
    RunHeader,
    RunItems,
    SuiteBenchmark,
)
from evalhub_server.models.common import State


def benchmark_names(job: JobRecord) -> list[str]:
    """The name of each benchmark in comparisons: ``provider_id/id``, with ``#2``, ``#3``, … where a job repeats one."""
    names: list[str] = []
    counts: dict[str, int] = {}
    for benchmark in job.plan.benchmarks:
        name = f"{benchmark.provider_id}/{benchmark.id}"
        counts[name] = counts.get(name, 0) + 1
        names.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return names


def run_of(
    job: JobRecord,
    index: int,
    *,
    metric: str = "",
    rules: MetricRules | None = None,
    items: RunItems | None = None,
    n_expected: int | None = None,
) -> Run | None:
    """The run of one benchmark; None unless it is completed.

    ``metric`` is the primary metric by default; ``rules`` are what the provider file declares of it, without any the
    metric has no range. The standard error is the result's ``<metric>_stderr``, or ``stderr`` of the primary metric.
    """
    planned, record = job.plan.benchmarks[index], job.benchmarks[index]
    if record.state is not State.COMPLETED or record.result is None:
        return None
    primary = planned.primary_score
    name = metric or (rules.metric if rules else "") or (primary.metric if primary else "")
    is_primary = primary is not None and name == primary.metric
    metrics = record.result.metrics
    error = finite_number(metrics.get(f"{name}_stderr"))
    if error is None and is_primary:
        error = finite_number(metrics.get("stderr"))
    parameters = dict(planned.parameters)
    limit = parameters.get("num_examples")
    reference = planned.test_data_ref
    model = job.request.model
    return Run(
        header=RunHeader(
            provider_id=planned.provider_id,
            benchmark_id=planned.id,
            job_id=job.id,
            model_name=model.name if model else "",
            dataset_revision=record.resolved_sha or (reference.resolved_sha if reference else ""),
            parameters=parameters,
            num_examples=limit if isinstance(limit, int) and not isinstance(limit, bool) else None,
            n_expected=n_expected,
            reported_value=finite_number(metrics.get(name)),
            reported_stderr=error,
        ),
        rules=rules
        or MetricRules(
            metric=name, lower_is_better=is_primary and primary is not None and primary.lower_is_better
        ),
        items=items,
    )


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


def suite_of(
    baseline: JobRecord, candidate: JobRecord, runs: Callable[[JobRecord, int], Run | None]
) -> list[SuiteBenchmark]:
    """The benchmarks of two jobs, matched by name, those of the baseline first; weights are the baseline's.

    ``runs`` returns the run of a job's benchmark by index, or None without a result.
    """
    one, two = (
        {name: index for index, name in enumerate(benchmark_names(job))} for job in (baseline, candidate)
    )
    return [
        SuiteBenchmark(
            name=name,
            baseline=runs(baseline, one[name]) if name in one else None,
            candidate=runs(candidate, two[name]) if name in two else None,
            weight=_weight(baseline, one[name]) if name in one else _weight(candidate, two[name]),
        )
        for name in dict.fromkeys([*one, *two])
    ]


def _weight(job: JobRecord, index: int) -> float:
    return max(0.0, job.plan.benchmarks[index].weight)

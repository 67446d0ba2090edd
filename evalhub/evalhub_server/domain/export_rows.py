"""Rows of exported tables: one for each job, benchmark or sample, with plain values.

Secrets are replaced as in evaluation cards: tables leave the server's control.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Literal, cast, get_args

from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.redaction import redacted, redacted_text
from evalhub_server.domain.scoring import finite_number, standard_error
from evalhub_server.models.common import Json, State

Level = Literal["jobs", "benchmarks", "samples"]
LEVELS: tuple[Level, ...] = get_args(Level)

Cell = str | int | float | bool | None | Json | tuple[str, ...]
"""A value of a table. Formats without objects and lists write these as JSON."""

Row = tuple[Cell, ...]

_SAMPLE_TEXTS = ("input", "output", "target", "answer", "explanation")

COLUMNS: dict[Level, tuple[str, ...]] = {
    "jobs": (
        *("job_id", "name", "state", "created_at", "duration_s", "owner", "model_name", "model_url"),
        *("collection_id", "experiment", "tags", "benchmarks", "completed", "failed"),
        *("score", "threshold", "passed", "derived_from"),
    ),
    "benchmarks": (
        *("job_id", "job_name", "created_at", "model_name", "model_url", "collection_id", "benchmark_index"),
        *("provider_id", "benchmark_id", "state", "metric", "value", "stderr", "n", "threshold", "passed"),
        *("weight", "started_at", "completed_at", "parameters", "metrics", "error"),
    ),
    "samples": (
        *("job_id", "model_name", "benchmark_index", "provider_id", "benchmark_id", "sample_id", "epoch"),
        *("outcome", "group", "metric", "value", "metrics", "latency_s", "error", "error_kind"),
        *_SAMPLE_TEXTS,
    ),
}
"""The names of the columns, in order. Names are only added, at the end."""


NUMBERS = frozenset(
    {
        *("duration_s", "benchmarks", "completed", "failed", "score", "threshold", "benchmark_index"),
        *("value", "stderr", "n", "weight", "epoch", "latency_s"),
    }
)
"""Columns with numbers."""


def rows_of(job: JobRecord, level: Level) -> Iterator[Row]:
    """The rows of a job or of its benchmarks, with the values of :data:`COLUMNS`."""
    if level == "jobs":
        yield _job_row(job)
        return
    for index in range(len(job.benchmarks)):
        yield _benchmark_row(job, index)


def _model(job: JobRecord) -> tuple[str, str]:
    model = job.request.model
    return (model.name, redacted_text(model.url)) if model else ("", "")


def _job_row(job: JobRecord) -> Row:
    request, test = job.request, job.progress.test
    states = Counter(benchmark.state for benchmark in job.benchmarks)
    return (
        job.id,
        request.name,
        job.state.value,
        job.created_at.isoformat(),
        job.duration_s,
        job.owner,
        *_model(job),
        request.collection.id if request.collection else "",
        request.experiment.name if request.experiment else "",
        request.tags,
        len(job.benchmarks),
        states[State.COMPLETED],
        states[State.FAILED],
        test.score if test else None,
        test.threshold if test else None,
        test.passed if test else None,
        job.definition.derived_from,
    )


def _benchmark_row(job: JobRecord, index: int) -> Row:
    planned, benchmark, request = job.plan.benchmarks[index], job.benchmarks[index], job.request
    metrics: Json = benchmark.result.metrics if benchmark.result else {}
    primary = planned.primary_score.metric if planned.primary_score else ""
    test = benchmark.result.test if benchmark.result else None
    return (
        job.id,
        request.name,
        job.created_at.isoformat(),
        *_model(job),
        request.collection.id if request.collection else "",
        index,
        planned.provider_id,
        planned.id,
        benchmark.state.value,
        primary,
        finite_number(metrics.get(primary)),
        standard_error(metrics, primary, is_primary=True) if primary else None,
        benchmark.samples.count if benchmark.samples and benchmark.samples.readable else None,
        planned.threshold,
        test.passed if test else None,
        planned.weight,
        benchmark.started_at,
        benchmark.completed_at,
        redacted(planned.parameters),
        metrics,
        redacted_text(benchmark.error.message) if benchmark.error else "",
    )


def sample_row(job: JobRecord, index: int, sample: Json) -> Row:
    """The row of one sample, which is a line of the stored file, decoded."""
    planned = job.plan.benchmarks[index]
    metrics = cast("Json", sample.get("metrics") or {})
    primary = planned.primary_score.metric if planned.primary_score else ""
    value = metrics.get(primary)
    return (
        job.id,
        job.model_name,
        index,
        planned.provider_id,
        planned.id,
        *(sample.get(name) for name in ("sample_id", "epoch", "outcome", "group")),
        primary,
        None if value is None else float(value),
        metrics,
        *(sample.get(name) for name in ("latency_s", "error", "error_kind", *_SAMPLE_TEXTS)),
    )

"""A benchmark of a job as its pages show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from evalhub_server.domain.benchmark_progress import benchmark_phases
from evalhub_server.domain.record import BenchmarkRecord, JobRecord, PlannedBenchmark
from evalhub_server.domain.redaction import redacted_message
from evalhub_server.domain.result_warnings import result_warnings
from evalhub_server.domain.samples import sample_set_view
from evalhub_server.domain.scoring import finite_number, standard_error
from evalhub_server.domain.statistics.results import ScoreSummary
from evalhub_server.domain.timeline import moment_of
from evalhub_server.domain.verdicts import ThresholdWords, words_of_test
from evalhub_server.engine.progress_rates import Pace
from evalhub_server.models.common import Json, Message, State
from evalhub_server.models.progress import BenchmarkPhase
from evalhub_server.models.sample import SampleSet

SILENT = timedelta(seconds=90)
"""A running benchmark that reports progress and has not for so long is marked."""
STDERR = "_stderr"


class Metric(Struct, kw_only=True, frozen=True):
    """A reported metric. ``number`` is its finite value, ``text`` any other one as JSON; ``filter`` is how the answer was extracted."""

    name: str
    filter: str
    number: float | None
    text: str
    error: float | None
    primary: bool


class BenchmarkView(Struct, kw_only=True, frozen=True):
    """A benchmark of a job. ``value`` is its score, with ``summary`` if it has results; ``done`` is a share between 0 and 1."""

    index: int
    planned: PlannedBenchmark
    record: BenchmarkRecord
    metric: str
    lower_is_better: bool
    value: float | None
    running_value: float | None
    summary: ScoreSummary | None
    passed: bool | None
    verdict: ThresholdWords | None
    done: float | None
    pace: Pace
    silent_s: float | None
    phases: Sequence[BenchmarkPhase]
    duration_s: float | None
    error: Message | None
    warning: Message | None
    metrics: Sequence[Metric]
    samples: SampleSet | None
    warnings: Sequence[str]

    @property
    def state(self) -> str:
        return self.record.state.value

    @property
    def ended_at(self) -> datetime | None:
        return moment_of(self.record.completed_at)

    @property
    def limits(self) -> tuple[float | None, float | None]:
        """The limits of the score's interval."""
        interval = self.summary.interval if self.summary else None
        return (interval.low, interval.high) if interval else (None, None)


def benchmark_view(
    job: JobRecord, index: int, summary: ScoreSummary | None, pace: Pace, now: datetime
) -> BenchmarkView:
    """``summary`` is the score of the benchmark from the comparison service; None without one."""
    planned, record = job.plan.benchmarks[index], job.benchmarks[index]
    primary = planned.primary_score
    metric = primary.metric if primary else ""
    lower = primary.lower_is_better if primary else False
    metrics: Json = record.result.metrics if record.result else {}
    test = record.result.test if record.result else None
    value = summary.value if summary is not None else finite_number(metrics.get(metric))
    interval = summary.interval if summary is not None else None
    limits = (interval.low, interval.high) if interval is not None else None
    progress = record.progress
    running = record.state is State.RUNNING
    silent = now - progress.reported_at if running and progress is not None else timedelta()
    return BenchmarkView(
        index=index,
        planned=planned,
        record=record,
        metric=metric,
        lower_is_better=lower,
        value=value,
        running_value=finite_number(record.running_metrics.get(metric)) if running else None,
        summary=summary,
        passed=test.passed if test else None,
        verdict=words_of_test(test.passed, test.threshold, limits, lower_is_better=lower) if test else None,
        done=min(progress.done / progress.total, 1.0)
        if running and progress and progress.total > 0
        else None,
        pace=pace,
        silent_s=silent.total_seconds() if silent > SILENT else None,
        phases=benchmark_phases(record),
        duration_s=_duration_s(record, now),
        error=redacted_message(record.error) if record.error else None,
        warning=redacted_message(record.warning) if record.warning else None,
        metrics=metric_rows(metrics, metric),
        samples=sample_set_view(planned, record),
        warnings=result_warnings(planned, record),
    )


def metric_rows(metrics: Mapping[str, Any], primary: str) -> list[Metric]:
    """The metrics, the primary one first. A standard error belongs to its metric and has no row of its own."""
    rows: list[Metric] = []
    for name, value in metrics.items():
        base = name.removesuffix(STDERR)
        if (base != name and base in metrics) or (name == "stderr" and primary in metrics):
            continue
        number = finite_number(value)
        short, _, filter_ = name.partition(",")
        rows.append(
            Metric(
                name=short,
                filter=filter_,
                number=number,
                text="" if number is not None else msgspec.json.encode(value).decode(),
                error=standard_error(dict(metrics), name, is_primary=name == primary),
                primary=name == primary,
            )
        )
    return sorted(rows, key=lambda row: not row.primary)


def _duration_s(record: BenchmarkRecord, now: datetime) -> float | None:
    """Seconds from the start to the end, or to now while it runs."""
    start = moment_of(record.started_at) or record.launched_at
    end = moment_of(record.completed_at) if record.state.terminal else now
    if start is None or end is None or record.state is State.PENDING:
        return None
    return max((end.astimezone(UTC) - start.astimezone(UTC)).total_seconds(), 0.0)

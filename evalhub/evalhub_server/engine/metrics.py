"""What metrics say of jobs: counted as changes are committed, or looked up when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from itertools import compress
from operator import is_not

import structlog

from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.domain.transitions import LAUNCH_FAILED
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.metric_family import CounterValue, Gauge, HistogramValue, MetricFamily
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.errors import StorageError
from evalhub_server.models.common import State
from evalhub_server.plugins.hookspecs import JobChanged
from evalhub_server.plugins.storage import JobQuery, Terms

log = structlog.get_logger()

SECONDS = tuple(float(2**n) for n in range(14))
"""Bounds of durations of jobs and benchmarks: 1, 2, 4 … 8192."""

_distribution = partial(HistogramValue, SECONDS)


class JobMetrics:
    """Listens to a :class:`JobStore`.

    Counters begin at zero with the process, as Prometheus expects; gauges are asked of the storage, which remembers
    more than one process and forgets what was deleted.
    """

    def __init__(self, runtime: str) -> None:
        self._runtime = runtime
        self.jobs = MetricFamily(
            "evalhub_evaluation_jobs_total",
            "Evaluation jobs by the state they reached, once for each of their providers.",
            ("provider", "collection", "status"),
            CounterValue,
            open_labels=("provider", "collection"),
        )
        self.errors = MetricFamily(
            "evalhub_evaluation_errors_total",
            "Evaluation errors: jobs that ended as failed or partially_failed, benchmarks that could not be started.",
            ("error_type", "provider"),
            CounterValue,
            open_labels=("provider",),
        )
        self.benchmarks = MetricFamily(
            "evalhub_benchmark_completions_total",
            "Benchmarks of jobs that have ended, by their final state.",
            ("benchmark_name", "provider", "status"),
            CounterValue,
            open_labels=("benchmark_name", "provider"),
        )
        self.actions = MetricFamily(
            "evalhub_evaluation_job_actions_total",
            "Evaluation jobs that were created, were cancelled, or had a benchmark that could not be started.",
            ("action", "runtime"),
            CounterValue,
        )
        self.completions = MetricFamily(
            "evalhub_evaluation_job_completions_total",
            "Evaluation jobs that have ended, by their final state.",
            ("state",),
            CounterValue,
        )
        self.runtime_errors = MetricFamily(
            "evalhub_benchmark_runtime_errors_total",
            "Benchmarks that the runtime could not start.",
            ("runtime",),
            CounterValue,
        )
        self.job_seconds = MetricFamily(
            "evalhub_evaluation_job_duration_seconds",
            "From the creation of an evaluation job to its end.",
            ("provider", "collection"),
            _distribution,
            open_labels=("provider", "collection"),
        )
        self.benchmark_seconds = MetricFamily(
            "evalhub_benchmark_duration_seconds",
            "From the start of a benchmark to its end, as the job's results have them.",
            ("benchmark_name", "provider"),
            _distribution,
            open_labels=("benchmark_name", "provider"),
        )
        self.counters = (
            self.jobs,
            self.errors,
            self.benchmarks,
            self.actions,
            self.completions,
            self.runtime_errors,
        )
        self.histograms = (self.job_seconds, self.benchmark_seconds)

    def on_change(self, change: JobChanged) -> None:
        """CounterValue a committed change."""
        before, after = change.before, change.after
        if after is None:
            return
        if before is None:
            self.actions.labels("created", self._runtime).inc()
            self._reached(after, (), first_end=False)
            return
        # Records share what did not change, and one event of a large job changes one benchmark.
        changed = list(compress(after.benchmarks, map(is_not, before.benchmarks, after.benchmarks)))
        not_started = [b for b in changed if _launch_failed(b)]
        if not_started:
            self._not_started(before, after, not_started)
        if after.progress.cancelled and not before.progress.cancelled:
            self.actions.labels("cancelled", self._runtime).inc()
        if after.state is not before.state:
            ended = after.state.terminal and not before.state.terminal
            self._reached(after, after.benchmarks if ended else changed, first_end=ended)
        elif after.state.terminal:
            self._benchmarks_ended(
                after, [b for b in changed if b.state is not before.benchmarks[b.index].state]
            )

    def _reached(self, job: JobRecord, ended: Iterable[BenchmarkRecord], *, first_end: bool) -> None:
        """A state was reached. One end can follow another: a late result replaces what the server had assumed."""
        collection = _collection(job)
        for provider in _providers(job):
            self.jobs.labels(provider, collection, job.state.value).inc()
            if first_end:
                seconds = (job.progress.updated_at - job.created_at).total_seconds()
                self.job_seconds.labels(provider, collection).observe(max(seconds, 0.0))
        if not job.state.terminal:
            return
        self.completions.labels(job.state.value).inc()
        if job.state in (State.FAILED, State.PARTIALLY_FAILED):
            failed = {
                job.plan.benchmarks[b.index].provider_id for b in job.benchmarks if b.state is State.FAILED
            }
            for provider in failed:
                self.errors.labels("job_failed", provider).inc()
        self._benchmarks_ended(job, ended)

    def _benchmarks_ended(self, job: JobRecord, benchmarks: Iterable[BenchmarkRecord]) -> None:
        for benchmark in benchmarks:
            planned = job.plan.benchmarks[benchmark.index]
            self.benchmarks.labels(planned.id, planned.provider_id, benchmark.state.value).inc()
            seconds = _seconds(benchmark)
            if seconds is not None:
                self.benchmark_seconds.labels(planned.id, planned.provider_id).observe(seconds)

    def _not_started(
        self, before: JobRecord, after: JobRecord, not_started: Iterable[BenchmarkRecord]
    ) -> None:
        for benchmark in not_started:
            if not _launch_failed(before.benchmarks[benchmark.index]):
                provider = after.plan.benchmarks[benchmark.index].provider_id
                self.errors.labels("runtime_start_failed", provider).inc()
                self.runtime_errors.labels(self._runtime).inc()
        if not any(_launch_failed(b) for b in before.benchmarks):
            self.actions.labels("runtime_start_failed", self._runtime).inc()


async def job_gauges(store: JobStore, supervisor: Supervisor) -> list[Gauge]:
    """What is true now. Without an answer of the storage its gauges are left out: a wrong one would be believed."""
    gauges = [
        _gauge(
            "evalhub_benchmarks_waiting",
            "Benchmarks of this server that wait for their turn to be started.",
            supervisor.waiting,
        ),
        _gauge(
            "evalhub_workloads_running",
            "Workloads of benchmarks that this server starts, watches or ends.",
            supervisor.running,
        ),
    ]
    try:
        pending = await _count(store, State.PENDING)
        running = await _count(store, State.RUNNING)
    except StorageError as error:
        log.warning("metrics lack the gauges of jobs", error=str(error))
        return gauges
    active = "Evaluation jobs that have not ended: pending and running."
    return [
        _gauge("evalhub_evaluation_jobs_active", active, pending + running),
        _gauge("evalhub_evaluation_queue_depth", "Evaluation jobs that are pending.", pending),
        *gauges,
    ]


def _gauge(name: str, help_: str, value: float) -> Gauge:
    return Gauge(name=name, help=help_, values={(): value})


async def _count(store: JobStore, state: State) -> int:
    page = await store.list(JobQuery(limit=0, status=Terms(values=(state.value,))))
    return page.total_count


def _launch_failed(benchmark: BenchmarkRecord) -> bool:
    return benchmark.exit is not None and benchmark.exit.reason == LAUNCH_FAILED


def _providers(job: JobRecord) -> Iterator[str]:
    return iter(dict.fromkeys(planned.provider_id for planned in job.plan.benchmarks))


def _collection(job: JobRecord) -> str:
    return job.request.collection.id if job.request.collection else ""


def _seconds(benchmark: BenchmarkRecord) -> float | None:
    """Between the two times that the results show; None unless both are there and in their order."""
    try:
        started = datetime.fromisoformat(benchmark.started_at)
        seconds = (datetime.fromisoformat(benchmark.completed_at) - started).total_seconds()
    except (ValueError, TypeError):  # missing; or one has a time zone and the other none
        return None
    return seconds if seconds >= 0 else None

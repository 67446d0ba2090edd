"""Metrics of jobs: counters updated on committed changes, gauges read from the storage on request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import structlog

from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.domain.timeline import moment_of
from evalhub_server.domain.transitions import LAUNCH_FAILED
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.metric_family import CounterValue, Gauge, HistogramValue, MetricFamily
from evalhub_server.engine.server_state import Role, ServerState
from evalhub_server.engine.stored_bytes import StoredBytes
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.errors import StorageError
from evalhub_server.models.common import State
from evalhub_server.plugins.storage import JobQuery, Terms

log = structlog.get_logger()

SECONDS = tuple(float(2**n) for n in range(14))
"""Histogram bounds for durations of jobs and benchmarks: 1, 2, 4 … 8192."""

_distribution = partial(HistogramValue, SECONDS)


class JobMetrics:
    """Counters and histograms of jobs; register :meth:`on_change` with :meth:`JobStore.listen`.

    They start at zero with the process, as Prometheus expects. Gauges (:func:`job_gauges`) are read from the storage,
    which knows the jobs of earlier processes and those that were deleted.
    """

    def __init__(self, runtime: str) -> None:
        self._runtime = runtime
        self.jobs = MetricFamily(
            "evalhub_evaluation_jobs_total",
            "Evaluation jobs by state entered, once per provider of the job.",
            ("provider", "collection", "status"),
            CounterValue,
            open_labels=("provider", "collection"),
        )
        self.errors = MetricFamily(
            "evalhub_evaluation_errors_total",
            "Evaluation errors: jobs that failed or partially failed, benchmarks that could not be started.",
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
            "Evaluation jobs that were created, were cancelled or had a benchmark that could not be started.",
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
            "Time from the creation of an evaluation job to its end.",
            ("provider", "collection"),
            _distribution,
            open_labels=("provider", "collection"),
        )
        self.benchmark_seconds = MetricFamily(
            "evalhub_benchmark_duration_seconds",
            "Time from the reported start of a benchmark to its reported end.",
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
            self._count_state(after, (), first_end=False)
            return
        not_started = [
            new for old, new in change.benchmarks if _launch_failed(new) and not _launch_failed(old)
        ]
        if not_started:
            self._count_launch_failures(before, after, not_started)
        if after.progress.cancelled and not before.progress.cancelled:
            self.actions.labels("cancelled", self._runtime).inc()
        if after.state is not before.state:
            ended = after.state.terminal and not before.state.terminal
            counted = after.benchmarks if ended else [new for _, new in change.benchmarks]
            self._count_state(after, counted, first_end=ended)
        elif after.state.terminal:
            self._count_benchmarks(
                after, [new for old, new in change.benchmarks if new.state is not old.state]
            )

    def _count_state(self, job: JobRecord, ended: Iterable[BenchmarkRecord], *, first_end: bool) -> None:
        """Count a state that a job entered.

        A terminal state can follow another: a late result replaces a provisional failure.
        """
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
        self._count_benchmarks(job, ended)

    def _count_benchmarks(self, job: JobRecord, benchmarks: Iterable[BenchmarkRecord]) -> None:
        for benchmark in benchmarks:
            planned = job.plan.benchmarks[benchmark.index]
            self.benchmarks.labels(planned.id, planned.provider_id, benchmark.state.value).inc()
            seconds = _seconds(benchmark)
            if seconds is not None:
                self.benchmark_seconds.labels(planned.id, planned.provider_id).observe(seconds)

    def _count_launch_failures(
        self, before: JobRecord, after: JobRecord, not_started: Iterable[BenchmarkRecord]
    ) -> None:
        for benchmark in not_started:
            provider = after.plan.benchmarks[benchmark.index].provider_id
            self.errors.labels("runtime_start_failed", provider).inc()
            self.runtime_errors.labels(self._runtime).inc()
        if not any(_launch_failed(b) for b in before.benchmarks):
            self.actions.labels("runtime_start_failed", self._runtime).inc()


async def job_gauges(
    store: JobStore, supervisor: Supervisor, stored: StoredBytes, state: ServerState
) -> list[Gauge]:
    """The current gauges. While the storage is unavailable, those read from it are left out rather than wrong.

    Of several servers of one storage, only the leader has them: a sum over all servers would be wrong.
    """
    roles = [] if state.role is None else [role_gauge(state.role)]
    if state.role not in (None, Role.LEADER):
        return roles
    gauges = [
        *roles,
        _gauge(
            "evalhub_benchmarks_waiting",
            "Benchmarks in the launch queue of this server.",
            supervisor.waiting,
        ),
        _gauge(
            "evalhub_workloads_running",
            "Workloads of benchmarks that this server starts, watches or stops.",
            supervisor.running,
        ),
        stored.gauge(),
    ]
    try:
        pending = await _count(store, State.PENDING)
        running = await _count(store, State.RUNNING)
    except StorageError as error:
        log.warning("Job gauges left out of the metrics", error=str(error))
        return gauges
    active = "Evaluation jobs that have not ended: pending and running."
    return [
        _gauge("evalhub_evaluation_jobs_active", active, pending + running),
        _gauge("evalhub_evaluation_queue_depth", "Evaluation jobs that are pending.", pending),
        *gauges,
    ]


def role_gauge(role: Role) -> Gauge:
    return Gauge(
        name="evalhub_server_role",
        help="Role of this server among those that share its database: 1 for the one that it has.",
        label_names=("role",),
        values={(each.value,): float(each is role) for each in Role},
    )


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
    """The duration from start to end; None unless both are known and differ: times that contradict are stored as equal."""
    started, completed = moment_of(benchmark.started_at), moment_of(benchmark.completed_at)
    seconds = (completed - started).total_seconds() if started and completed else 0.0
    return seconds if seconds > 0 else None

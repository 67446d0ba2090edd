"""Transitions of a job: creation, launch, reports, exits, deadlines and cancellation, as functions on records.

A function returns the same object if nothing changes, so callers compare with ``is``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec.structs import replace

from evalhub_server.domain import diagnosis, problems
from evalhub_server.domain.benchmark_progress import merged_phases, merged_progress
from evalhub_server.domain.job_changes import with_benchmark
from evalhub_server.domain.job_state import with_derived_state
from evalhub_server.domain.k8s_labels import label_value
from evalhub_server.domain.metric_names import with_listed_names
from evalhub_server.domain.plain_text import message_of_adapter, plain_text
from evalhub_server.domain.planning import is_new_sha
from evalhub_server.domain.record import (
    INTERRUPTED,
    BenchmarkRecord,
    Exit,
    JobDefinition,
    JobPlan,
    JobProgress,
    JobRecord,
    PlannedBenchmark,
    RefusedEvent,
    ResultRecord,
    TrackedExperiment,
    with_changes,
)
from evalhub_server.domain.scoring import benchmark_test, missing_score
from evalhub_server.domain.timeline import earlier_of, later_of, timestamp
from evalhub_server.models.common import Json, Message, State
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.models.job import JobRequest, MetricSchema

SERVER = "server"
CREATED = Message(
    message="Evaluation job created", message_code="evaluation_job_created", message_origin="server"
)
CANCELLED = Message(
    message="Evaluation job cancelled", message_code="evaluation_job_cancelled", message_origin="server"
)

MAX_ATTEMPTS = 5

LAUNCH_FAILED = "launch_failed"
"""The reason in the exit of a workload that could not be started."""


def new_job(
    job_id: str,
    request: JobRequest,
    plan: JobPlan,
    now: datetime,
    *,
    tenant: str = "",
    owner: str = "",
    experiments: Mapping[str, TrackedExperiment] | None = None,
) -> JobRecord:
    """A pending job with every benchmark listed as pending. ``experiments`` are by the name of their tracker."""
    return JobRecord(
        definition=JobDefinition(
            id=job_id, tenant=tenant, owner=owner, created_at=now, request=request, plan=plan
        ),
        progress=JobProgress(updated_at=now, message=CREATED, experiments=dict(experiments or {})),
        benchmarks=tuple(BenchmarkRecord(index=index) for index in range(len(plan.benchmarks))),
    )


def apply_event(job: JobRecord, event: BenchmarkEvent, now: datetime) -> JobRecord:
    """Fold one adapter report into a job.

    Fields that the event leaves out keep their value. Repeats and regressions return the same object.

    Raises:
        ApiError: 404 ``resource_not_found`` if the job has no such benchmark; 409 ``job_can_not_be_updated`` if
            the job or the benchmark is terminal and the event contradicts it.
    """
    index = event.benchmark_index
    all_planned = job.plan.benchmarks
    planned = all_planned[index] if 0 <= index < len(all_planned) else None
    if planned is None or not _names(event, planned):
        if job.state.terminal:
            raise problems.job_closed(job.id, "running", job.state)
        raise problems.not_found("benchmark", event.id)

    benchmark = job.benchmarks[index]
    state = State(event.status)
    if benchmark.state.terminal:
        if not state.terminal and not job.state.terminal:
            return job
        if not (benchmark.provisional and state.terminal) or job.progress.cancelled:
            if state.terminal and _merged(planned, benchmark, event, state, now) == benchmark:
                return job
            if job.state.terminal:
                raise problems.job_closed(job.id, "running", job.state)
            raise problems.benchmark_closed(job.id, planned.id, index, benchmark.state)
        benchmark = replace(benchmark, provisional=False, error=None, completed_at="")
    elif benchmark.state is State.RUNNING and state is State.PENDING:
        return job

    merged = _merged(planned, benchmark, event, state, now)
    sha = event.job_meta.resolved_sha if event.job_meta else ""
    if is_new_sha(sha, planned, benchmark):
        merged = replace(merged, resolved_sha=sha)
    return _with_benchmark(job, merged, now)


def _names(event: BenchmarkEvent, planned: PlannedBenchmark) -> bool:
    """Whether the event is about this benchmark; the operator reports ids as the labels of the Job spell them."""
    return _is_name(event.provider_id, planned.provider_id) and _is_name(event.id, planned.id)


def _is_name(reported: str, known: str) -> bool:
    return reported == known or reported == label_value(known)


def _merged(
    planned: PlannedBenchmark,
    benchmark: BenchmarkRecord,
    event: BenchmarkEvent,
    state: State,
    now: datetime,
) -> BenchmarkRecord:
    started_at = event.started_at or benchmark.started_at
    if not started_at and state is not State.PENDING:
        started_at = timestamp(benchmark.launched_at if state.terminal and benchmark.launched_at else now)
    completed_at = ""
    if state.terminal and event.completed_at:
        completed_at = event.completed_at
        started_at = earlier_of(started_at, completed_at)
    elif state.terminal:
        completed_at = later_of(benchmark.completed_at or timestamp(now), started_at)
    metrics = with_listed_names(event.metrics, planned.metric_properties)
    result = _result(planned, benchmark, event, metrics) if state.terminal else benchmark.result
    error = message_of_adapter(event.error_message) or benchmark.error
    if state is State.FAILED and benchmark.refused and error:
        error = _with_refusal(error, diagnosis.refusal_text(benchmark.refused))
    warning = message_of_adapter(event.warning_message) or _remaining_warning(benchmark, state)
    if state is State.COMPLETED and result is not None:
        warning = _combined(warning, missing_score(planned, result.metrics))
    return replace(
        benchmark,
        state=state,
        phase=event.phase or benchmark.phase,
        phases=benchmark.phases if state.terminal else merged_phases(benchmark.phases, event.phase, now),
        error=error,
        warning=warning,
        started_at=started_at,
        completed_at=completed_at,
        result=result,
        progress=benchmark.progress
        if benchmark.state.terminal
        else merged_progress(benchmark.progress, event.progress, now),
        running_metrics=_running_metrics(benchmark, metrics, state),
    )


def _running_metrics(benchmark: BenchmarkRecord, metrics: Json, state: State) -> Json:
    if state is State.COMPLETED:
        return {}
    return metrics or benchmark.running_metrics if state is State.RUNNING else benchmark.running_metrics


def _result(
    planned: PlannedBenchmark, benchmark: BenchmarkRecord, event: BenchmarkEvent, metrics: Json
) -> ResultRecord:
    known = benchmark.result or ResultRecord()
    metrics = metrics or known.metrics
    return ResultRecord(
        metrics=metrics,
        # Converted to the base class: the event's subclass would not equal the record that a storage returns.
        metrics_schema=tuple(MetricSchema(name=s.name, type=s.type) for s in event.metrics_schema)
        or known.metrics_schema,
        additional_info=event.additional_info or known.additional_info,
        artifacts=event.artifacts or known.artifacts,
        mlflow_run_id=event.mlflow_run_id or known.mlflow_run_id,
        logs_path=event.logs_path or known.logs_path,
        test=benchmark_test(planned, metrics),
    )


def launch_intended(job: JobRecord, index: int, now: datetime, *, runtime: str) -> JobRecord:
    """Record that ``runtime`` is about to launch the benchmark, unless it has been launched or is terminal."""
    benchmark = job.benchmarks[index]
    if benchmark.state.terminal or benchmark.launched_at is not None:
        return job
    return with_benchmark(job, replace(benchmark, launched_at=now, runtime=runtime))


def launched(job: JobRecord, index: int, handle: Json, *, runtime: str) -> JobRecord:
    """Record the handle by which ``runtime`` finds the workload."""
    benchmark = job.benchmarks[index]
    if (benchmark.handle, benchmark.runtime) == (handle, runtime):
        return job
    return with_benchmark(job, replace(benchmark, handle=handle, runtime=runtime))


def noticed(job: JobRecord, index: int, notice: Message | None, now: datetime) -> JobRecord:
    """Set or clear a runtime's notice as the warning of a benchmark that is not terminal.

    An adapter's own warning takes precedence.
    """
    benchmark = job.benchmarks[index]
    warning = benchmark.warning
    if benchmark.state.terminal or (warning is not None and warning.message_origin != SERVER):
        return job
    if notice is not None:
        notice = replace(notice, message=plain_text(notice.message))
    return job if warning == notice else _with_benchmark(job, replace(benchmark, warning=notice), now)


def launch_failed(job: JobRecord, index: int, text: str, now: datetime) -> JobRecord:
    """Fail a benchmark whose workload could not be started."""
    error = Message(message=plain_text(text), message_code="evaluation_job_failed", message_origin="server")
    return _ended(job, index, Exit(reason=LAUNCH_FAILED, message=text), error, now, provisional=False)


def event_refused(job: JobRecord, index: int, refused: RefusedEvent) -> JobRecord:
    """Remember a refused event of a benchmark that has no result yet; its failure will mention it."""
    benchmark = job.benchmarks[index]
    if benchmark.state.terminal or benchmark.refused == refused:
        return job
    return with_benchmark(job, replace(benchmark, refused=refused))


def exited(
    job: JobRecord,
    index: int,
    exit_: Exit,
    log_tail: str | None,
    now: datetime,
    *,
    restart_interrupted: bool = False,
) -> JobRecord:
    """Record the exit of a workload; a benchmark without a reported result fails provisionally.

    With ``restart_interrupted``, one that was interrupted becomes pending for its next attempt, up to
    :data:`MAX_ATTEMPTS`: an adapter that brings down its host would do so for ever.
    """
    benchmark = job.benchmarks[index]
    if benchmark.state.terminal:
        return _with_exit(job, benchmark, exit_)
    if restart_interrupted and exit_.reason == INTERRUPTED and benchmark.attempt < MAX_ATTEMPTS:
        return _with_benchmark(job, _next_attempt(benchmark), now)
    error = diagnosis.exit_message(exit_, log_tail, benchmark.refused)
    return _ended(job, index, exit_, error, now, provisional=True)


def _with_exit(job: JobRecord, benchmark: BenchmarkRecord, exit_: Exit) -> JobRecord:
    return job if benchmark.exit is not None else with_benchmark(job, replace(benchmark, exit=exit_))


def _next_attempt(benchmark: BenchmarkRecord) -> BenchmarkRecord:
    """The benchmark as it was before its launch, with a note about the attempt that was interrupted."""
    text = (
        f"Attempt {benchmark.attempt} was interrupted by a stop of the server or its host. "
        f"Attempt {benchmark.attempt + 1} starts from the beginning."
    )
    note = Message(message=text, message_code=INTERRUPTED, message_origin=SERVER)
    return BenchmarkRecord(index=benchmark.index, attempt=benchmark.attempt + 1, warning=note)


def timed_out(
    job: JobRecord, index: int, kind: str, seconds: float, log_tail: str | None, now: datetime
) -> JobRecord:
    """Fail a benchmark that was stopped at a deadline; ``kind`` is ``start`` or ``run``."""
    error = diagnosis.deadline_message(kind, seconds, log_tail, job.benchmarks[index].refused)
    return _ended(job, index, Exit(reason="deadline_exceeded"), error, now, provisional=True)


def _ended(
    job: JobRecord, index: int, exit_: Exit, error: Message, now: datetime, *, provisional: bool
) -> JobRecord:
    benchmark = job.benchmarks[index]
    if benchmark.state.terminal:
        return _with_exit(job, benchmark, exit_)
    failed = replace(
        benchmark,
        state=State.FAILED,
        error=error,
        completed_at=later_of(timestamp(now), benchmark.started_at),
        result=benchmark.result or ResultRecord(),
        provisional=provisional,
        exit=exit_,
    )
    return _with_benchmark(job, failed, now)


def cancel(job: JobRecord, now: datetime) -> JobRecord:
    """Cancel the benchmarks that have not ended. A cancelled job is returned unchanged.

    Raises:
        ApiError: 409 ``job_can_not_be_updated`` if the job has ended otherwise.
    """
    if job.progress.cancelled:
        return job
    if job.state.terminal:
        raise problems.job_closed(job.id, "cancelled", job.state)
    benchmarks = tuple(
        b
        if b.state.terminal
        else replace(
            b, state=State.CANCELLED, error=CANCELLED, completed_at=later_of(timestamp(now), b.started_at)
        )
        for b in job.benchmarks
    )
    return with_changes(
        job,
        benchmarks=benchmarks,
        state=State.CANCELLED,
        message=CANCELLED,
        cancelled=True,
        updated_at=max(now, job.progress.updated_at),
    )


def _with_benchmark(job: JobRecord, benchmark: BenchmarkRecord, now: datetime) -> JobRecord:
    if benchmark == job.benchmarks[benchmark.index]:
        return job
    changed = with_benchmark(job, benchmark, updated_at=max(now, job.progress.updated_at))
    return with_derived_state(changed, benchmark.index)


def _remaining_warning(benchmark: BenchmarkRecord, state: State) -> Message | None:
    """The benchmark's warning, unless it completes and the warning is the server's own, about waiting."""
    warning = benchmark.warning
    return None if warning and warning.message_origin == SERVER and state is State.COMPLETED else warning


def _combined(warning: Message | None, addition: Message | None) -> Message | None:
    """Append the server's warning to the adapter's own, once: a repeated event must not change the benchmark."""
    if warning is None or addition is None:
        return warning or addition
    if addition.message in warning.message:
        return warning
    return replace(warning, message=f"{warning.message} {addition.message}")


def _with_refusal(error: Message, refusal: str) -> Message:
    """The adapter's failure with the event that was refused before, appended once."""
    if refusal in error.message:
        return error
    return replace(error, message=f"{error.message} (The adapter {refusal})")

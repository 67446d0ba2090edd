"""Job records converted to the resource in responses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import cast

from msgspec.structs import replace

from evalhub_server.domain.benchmark_progress import benchmark_phases
from evalhub_server.domain.lineage import lineage_members
from evalhub_server.domain.planning import resolved_request
from evalhub_server.domain.record import (
    BenchmarkRecord,
    ExportOutcome,
    JobRecord,
    OutboxEntry,
    PlannedBenchmark,
    ResultRecord,
)
from evalhub_server.domain.samples import sample_set_view
from evalhub_server.domain.scoring import left_out_of_score
from evalhub_server.models.common import Message, State
from evalhub_server.models.job import (
    BenchmarkResult,
    BenchmarkStatus,
    CollectionRef,
    Exports,
    JobExport,
    JobResource,
    JobResourceInfo,
    JobResults,
    JobStatus,
    LeftOut,
    MetricSchema,
    Model,
    OciArtifact,
    OciResults,
    OciStatus,
)


def job_resource(job: JobRecord) -> JobResource:
    """The resource of a job: a status for every benchmark by index, and results for those that reported some."""
    planned = job.plan.benchmarks
    views = [benchmark_view(planned[benchmark.index], benchmark) for benchmark in job.benchmarks]
    statuses = tuple([status for status, _ in views])
    return job_with_benchmarks(job, statuses, tuple([result for _, result in views if result is not None]))


def job_with_benchmarks(
    job: JobRecord, statuses: tuple[BenchmarkStatus, ...], results: tuple[BenchmarkResult, ...]
) -> JobResource:
    """:func:`job_resource` with these views of its benchmarks."""
    request = resolved_request(job)
    return JobResource(
        resource=_info(job),
        status=JobStatus(
            state=job.state,
            message=job.progress.message,
            benchmarks=statuses,
            duration_s=job.duration_s,
        ),
        results=JobResults(
            test=job.progress.test,
            left_out=_left_out(job),
            benchmarks=results,
            mlflow_experiment_url=job.experiment.url if job.experiment else "",
            mlflow_experiment_link=job.experiment.link
            if job.experiment and job.state is not State.PENDING
            else "",
            exports=tuple(job_export(entry) for entry in job.progress.outbox if entry.requested)
            if job.state.terminal
            else (),
            oci=oci_results(job),
        ),
        name=request.name,
        description=request.description,
        tags=request.tags,
        model=request.model or Model(),
        pass_criteria=request.pass_criteria,
        benchmarks=request.benchmarks,
        collection=request.collection,
        experiment=request.experiment,
        custom=request.custom,
        exports=_exports(request.exports),
        hardware_config=request.hardware_config,
        queue=request.queue,
    )


def job_in_lineage(job: JobRecord, lineage: Iterable[JobRecord]) -> JobResource:
    """The resource of a job of a chain of reruns, with all jobs of the chain."""
    resource = job_resource(job)
    info = replace(resource.resource, lineage=lineage_members(lineage))
    return replace(resource, resource=info)


def _left_out(job: JobRecord) -> tuple[LeftOut, ...]:
    """All benchmarks of a completed job whose tests give no score; otherwise the job's test lists those left out."""
    if job.state is not State.COMPLETED or job.progress.test is not None:
        return ()
    tests = [benchmark.result.test if benchmark.result else None for benchmark in job.benchmarks]
    return left_out_of_score(job.plan, tests) if any(tests) else ()


def job_summary(job: JobRecord) -> JobResource:
    """What a list shows of a job: all but its benchmarks, their results, and the details of the request."""
    request = job.request
    states = Counter(benchmark.state for benchmark in job.benchmarks)
    return JobResource(
        resource=_info(job),
        status=JobStatus(
            state=job.state,
            message=job.progress.message,
            duration_s=job.duration_s,
            benchmark_states={state.value: states[state] for state in State if states[state]},
        ),
        results=JobResults(test=job.progress.test),
        name=request.name,
        description=request.description,
        tags=request.tags,
        model=Model(url=request.model.url, name=request.model.name) if request.model else Model(),
        collection=CollectionRef(id=request.collection.id) if request.collection else None,
        experiment=request.experiment,
    )


def _info(job: JobRecord) -> JobResourceInfo:
    return JobResourceInfo(
        id=job.id,
        tenant=job.tenant,
        created_at=job.created_at,
        updated_at=job.progress.updated_at,
        owner=job.owner,
        mlflow_experiment_id=job.experiment.id if job.experiment else "",
        derived_from=job.definition.derived_from,
        repeats=job.definition.repeats,
        pinned=job.progress.pinned,
    )


def _exports(exports: Exports | None) -> Exports | None:
    """The requested exports as clients sent them."""
    if exports is None or not exports.others:
        return exports
    oci = {"oci": exports.oci} if exports.oci else {}
    # msgspec encodes a map in place of the model, which is the schema of the part that is known.
    return cast("Exports", {**oci, **exports.others})


def job_export(entry: OutboxEntry) -> JobExport:
    """One export as results show it."""
    outcome = entry.outcome or ExportOutcome()
    return JobExport(
        kind=entry.kind,
        name=entry.name,
        state=entry.state,
        attempts=entry.attempts,
        error=entry.error,
        reference=outcome.reference,
        digest=outcome.digest,
        link=outcome.link,
        details=outcome.details,
    )


def benchmark_view(
    planned: PlannedBenchmark, benchmark: BenchmarkRecord
) -> tuple[BenchmarkStatus, BenchmarkResult | None]:
    """What a job's resource has of one benchmark."""
    status = benchmark_status(planned, benchmark)
    return status, None if benchmark.result is None else _result(status, benchmark.result)


def benchmark_status(planned: PlannedBenchmark, benchmark: BenchmarkRecord) -> BenchmarkStatus:
    return BenchmarkStatus(
        provider_id=planned.provider_id,
        id=planned.id,
        benchmark_index=benchmark.index,
        status=benchmark.state,
        phase=benchmark.phase,
        phases=benchmark_phases(benchmark) if benchmark.phases else (),
        error_message=benchmark.error,
        warning_message=benchmark.warning,
        started_at=benchmark.started_at,
        completed_at=benchmark.completed_at,
        progress=benchmark.progress,
        running_metrics=benchmark.running_metrics,
        attempt=benchmark.attempt,
        samples=sample_set_view(planned, benchmark),
    )


def complete_metrics_schema(result: ResultRecord) -> tuple[MetricSchema, ...]:
    """The schema of all metrics. Contract: a metric that the adapter does not describe is numeric."""
    described = {schema.name for schema in result.metrics_schema}
    missing = sorted(result.metrics.keys() - described if described else result.metrics)
    return (*result.metrics_schema, *[MetricSchema(name=name, type="numeric") for name in missing])


def _result(status: BenchmarkStatus, result: ResultRecord) -> BenchmarkResult:
    return BenchmarkResult(
        id=status.id,
        provider_id=status.provider_id,
        benchmark_index=status.benchmark_index,
        metrics=result.metrics,
        metrics_schema=complete_metrics_schema(result),
        additional_info=result.additional_info,
        artifacts=result.artifacts,
        mlflow_run_id=result.mlflow_run_id,
        logs_path=result.logs_path,
        test=result.test,
        samples=status.samples,
    )


OCI_EXPORTER = "oci"


def oci_results(job: JobRecord) -> OciResults | None:
    """The status of ``exports.oci``, also without such an exporter; None until the job has ended or if unrequested."""
    if not job.state.terminal or job.request.exports is None or job.request.exports.oci is None:
        return None
    entry = next((e for e in job.progress.outbox if (e.kind, e.name) == ("exporter", OCI_EXPORTER)), None)
    state, text = _oci_status(entry)
    outcome = entry.outcome if entry else None
    return OciResults(
        status=OciStatus(
            state=state,
            message=Message(message=text, message_code=f"oci_export_{state}", message_origin="server"),
        ),
        evaluation_card=OciArtifact(oci_digest=outcome.digest, oci_reference=outcome.reference)
        if outcome
        else None,
    )


def _oci_status(entry: OutboxEntry | None) -> tuple[str, str]:
    if entry is None:
        return (
            "failed",
            "The server has no OCI exporter: plugins.exporters in its configuration does not contain oci",
        )
    if entry.state == "succeeded":
        return entry.state, "Evaluation card pushed"
    if entry.state == "failed":
        return entry.state, f"Evaluation card not pushed: {entry.error}"
    if entry.attempts:
        return (
            entry.state,
            f"Evaluation card not pushed yet, after attempt {entry.attempts}: {entry.error}",
        )
    return entry.state, "Evaluation card not pushed yet"

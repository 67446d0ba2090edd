"""The job resource that clients read, made from a record."""

from __future__ import annotations

from evalhub_server.domain.oci_results import oci_results
from evalhub_server.domain.record import (
    BenchmarkRecord,
    ExportOutcome,
    ExportRecord,
    JobRecord,
    PlannedBenchmark,
    ResultRecord,
)
from evalhub_server.models.common import State
from evalhub_server.models.job import (
    BenchmarkResult,
    BenchmarkStatus,
    JobExport,
    JobResource,
    JobResourceInfo,
    JobResults,
    JobStatus,
    MetricSchema,
    Model,
)


def job_resource(job: JobRecord) -> JobResource:
    """Benchmarks come in the order of their index; one that has ended also has an entry in the results."""
    request = job.request
    planned = job.plan.benchmarks
    return JobResource(
        resource=JobResourceInfo(
            id=job.id,
            tenant=job.tenant,
            created_at=job.created_at,
            updated_at=job.updated_at,
            owner=job.owner,
            mlflow_experiment_id=job.experiment.id if job.experiment else "",
        ),
        status=JobStatus(
            state=job.state,
            message=job.message,
            benchmarks=tuple(_status(planned[b.index], b) for b in job.benchmarks),
        ),
        results=JobResults(
            test=job.test,
            benchmarks=tuple(
                _result(planned[b.index], b.index, b.result) for b in job.benchmarks if b.result
            ),
            mlflow_experiment_url=job.experiment.url if job.experiment else "",
            mlflow_experiment_link=job.experiment.link
            if job.experiment and job.state is not State.PENDING
            else "",
            exports=tuple(_export(export) for export in job.exports if export.asked)
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
        exports=request.exports,
        hardware_config=request.hardware_config,
        queue=request.queue,
    )


def _export(export: ExportRecord) -> JobExport:
    outcome = export.outcome or ExportOutcome()
    return JobExport(
        kind=export.kind,
        name=export.name,
        state=export.state,
        attempts=export.attempts,
        error=export.error,
        reference=outcome.reference,
        digest=outcome.digest,
        link=outcome.link,
        details=outcome.details,
    )


def _status(planned: PlannedBenchmark, benchmark: BenchmarkRecord) -> BenchmarkStatus:
    return BenchmarkStatus(
        provider_id=planned.provider_id,
        id=planned.id,
        benchmark_index=benchmark.index,
        status=benchmark.state,
        phase=benchmark.phase,
        error_message=benchmark.error,
        warning_message=benchmark.warning,
        started_at=benchmark.started_at,
        completed_at=benchmark.completed_at,
    )


def described_metrics(result: ResultRecord) -> tuple[MetricSchema, ...]:
    """Contract: a metric that nobody described is called numeric."""
    described = {schema.name for schema in result.metrics_schema}
    missing = sorted(result.metrics.keys() - described)
    return (*result.metrics_schema, *(MetricSchema(name=name, type="numeric") for name in missing))


def _result(planned: PlannedBenchmark, index: int, result: ResultRecord) -> BenchmarkResult:
    return BenchmarkResult(
        id=planned.id,
        provider_id=planned.provider_id,
        benchmark_index=index,
        metrics=result.metrics,
        metrics_schema=described_metrics(result),
        additional_info=result.additional_info,
        artifacts=result.artifacts,
        mlflow_run_id=result.mlflow_run_id,
        logs_path=result.logs_path,
        test=result.test,
    )

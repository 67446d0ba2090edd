"""What an adapter is told: ``job.json`` made from a record."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from evalhub_server.domain.record import JobRecord
from evalhub_server.models.job import Model
from evalhub_server.models.jobspec import JobSpec, JobSpecExports, JobSpecOci


def job_spec(job: JobRecord, index: int, callback_url: str) -> JobSpec:
    """The specification of benchmark ``index``. ``num_examples`` is lifted out of its parameters."""
    benchmark = job.plan.benchmarks[index]
    request = job.request
    parameters = dict(benchmark.parameters)
    experiment = request.experiment
    oci = request.exports.oci if request.exports else None
    return JobSpec(
        id=job.id,
        provider_id=benchmark.provider_id,
        benchmark_id=benchmark.id,
        benchmark_index=index,
        model=request.model or Model(),
        num_examples=_whole_number(parameters.pop("num_examples", None)),
        parameters=parameters,
        experiment_name=experiment.name if experiment else UNSET,
        tags=(experiment.tags or UNSET) if experiment else UNSET,
        callback_url=callback_url,
        exports=JobSpecExports(oci=JobSpecOci(coordinates=oci.coordinates))
        if oci and oci.coordinates
        else UNSET,
        primary_score=benchmark.primary_score or UNSET,
    )


def _whole_number(value: object) -> int | UnsetType:
    """A number, truncated; a string of digits counts as one, since the released server lost it silently."""
    if isinstance(value, bool):
        return UNSET
    if isinstance(value, int | float):
        return int(value)
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return UNSET

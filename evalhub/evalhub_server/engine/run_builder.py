"""Run builder: a benchmark of a job record converted to the run that a runtime launches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from msgspec import UNSET
from msgspec.structs import replace

from evalhub_server.domain.planning import example_limit
from evalhub_server.domain.record import JobRecord
from evalhub_server.models.job import Model
from evalhub_server.models.jobspec import JobSpec, JobSpecExports, JobSpecOci
from evalhub_server.plugins.runtime import BenchmarkRun
from evalhub_server.plugins.tracking import Tracker

PreviousSamplesOf = Callable[[JobRecord, int], Awaitable[Path | None]]
EnvironmentOf = Callable[[JobRecord, int], Mapping[str, str]]


class RunBuilder:
    """Builds runs with the settings that all runs share.

    ``provider_key`` selects the runtime's entry in a provider. ``callback_path(job_id)`` is appended to
    ``callback_url`` and authenticates the job's adapters. Variables for adapters, in increasing precedence:
    ``environment`` for all, ``environment_of`` for one benchmark, those of the trackers.
    """

    def __init__(
        self,
        callback_url: str,
        provider_key: str,
        trackers: Sequence[Tracker],
        callback_path: Callable[[str], str] | None = None,
        environment: Mapping[str, str] | None = None,
        environment_of: EnvironmentOf | None = None,
    ) -> None:
        self._callback_url = callback_url
        self._provider_key = provider_key
        self._trackers = list(trackers)
        self._callback_path = callback_path
        self._environment = dict(environment or {})
        self._environment_of = environment_of
        self.previous_samples: PreviousSamplesOf | None = None
        """Finds the samples that a benchmark of a rerun may reuse; None while there is no store of samples."""

    async def for_launch(self, job: JobRecord, index: int) -> BenchmarkRun:
        """The run, with the samples of the benchmark that it repeats."""
        run = self(job, index)
        previous = await self.previous_samples(job, index) if self.previous_samples is not None else None
        return replace(run, previous_samples=previous)

    def __call__(self, job: JobRecord, index: int) -> BenchmarkRun:
        environment = dict(self._environment)
        if self._environment_of is not None:
            environment.update(self._environment_of(job, index))
        for tracker in self._trackers:
            environment.update(tracker.environment(job.tenant))
        path = self._callback_path(job.id) if self._callback_path else ""
        benchmark = job.plan.benchmarks[index]
        oci = job.request.exports.oci if job.request.exports else None
        return BenchmarkRun(
            spec=job_spec(job, index, self._callback_url + path),
            attempt=job.benchmarks[index].attempt,
            tenant=job.tenant,
            config=job.plan.runtimes.get(benchmark.provider_id, {}).get(self._provider_key),
            environment=environment,
            hardware=benchmark.hardware_config,
            queue=job.request.queue,
            test_data=benchmark.test_data_ref,
            test_data_path=benchmark.test_data_path,
            oci_connection=oci.k8s.connection if oci and oci.k8s else "",
        )


def job_spec(job: JobRecord, index: int, callback_url: str) -> JobSpec:
    """The job specification of benchmark ``index``; ``num_examples`` is moved out of its parameters."""
    benchmark = job.plan.benchmarks[index]
    request = job.request
    parameters = dict(benchmark.parameters)
    limit = example_limit(parameters)
    parameters.pop("num_examples", None)
    experiment = request.experiment
    oci = request.exports.oci if request.exports else None
    return JobSpec(
        id=job.id,
        provider_id=benchmark.provider_id,
        benchmark_id=benchmark.id,
        benchmark_index=index,
        model=request.model or Model(),
        num_examples=UNSET if limit is None else limit,
        parameters=parameters,
        experiment_name=experiment.name if experiment else UNSET,
        tags=(experiment.tags or UNSET) if experiment else UNSET,
        callback_url=callback_url,
        exports=JobSpecExports(oci=JobSpecOci(coordinates=oci.coordinates))
        if oci and oci.coordinates
        else UNSET,
        primary_score=benchmark.primary_score or UNSET,
        alias_of=benchmark.alias_of or UNSET,
        requires=benchmark.requires or UNSET,
        generating_twin=benchmark.generating_twin or UNSET,
        metric_properties=benchmark.metric_properties or UNSET,
    )

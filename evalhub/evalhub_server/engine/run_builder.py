"""From a record to what a runtime is asked to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from evalhub_server.domain.jobspec import job_spec
from evalhub_server.domain.record import JobRecord
from evalhub_server.plugins.runtime import BenchmarkRun
from evalhub_server.plugins.tracking import Tracker

EnvironmentOf = Callable[[JobRecord, int], Mapping[str, str]]


class RunBuilder:
    """Knows what every run has in common: the callback address, the runtime's key, the trackers' environment.

    ``callback_path``, where there is one, adds to the address what a job's adapters need to be let in. ``environment``
    is for every adapter and ``environment_of`` for that of one benchmark; what a tracker wants goes before both.
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
            oci_connection=oci.k8s.connection if oci and oci.k8s else "",
        )

"""Resources of jobs with benchmarks that are encoded once."""

from __future__ import annotations

from typing import cast

import msgspec
from msgspec import Raw, Struct

from evalhub_server.domain.job_changes import replaced_indices
from evalhub_server.domain.job_view import benchmark_view, job_resource, job_with_benchmarks
from evalhub_server.domain.record import BenchmarkRecord, JobDefinition, JobRecord
from evalhub_server.engine.size_cache import SizeCache
from evalhub_server.models.job import BenchmarkResult, BenchmarkStatus, JobResource

LIMIT_BYTES = 8 * 2**20
MANY_BENCHMARKS = 16
"""With fewer of them, a job is encoded sooner than compared."""

_encoder = msgspec.json.Encoder()


class _Encoded(Struct):
    """The benchmarks of a job with their JSON; that of a result is empty while there is none."""

    definition: JobDefinition
    benchmarks: tuple[BenchmarkRecord, ...]
    statuses: list[bytes]
    results: list[bytes]


class EncodedJobs:
    """Converts jobs like :func:`~evalhub_server.domain.job_view.job_resource`, for nothing but encoding.

    Clients read a job repeatedly while it runs, and a change is one of few benchmarks. So the JSON of the benchmarks of
    unfinished jobs is kept, up to about ``limit_bytes``.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._known: SizeCache[str, _Encoded] = SizeCache(limit_bytes)

    def __call__(self, job: JobRecord) -> JobResource:
        count = len(job.benchmarks)
        if count < MANY_BENCHMARKS:
            return job_resource(job)
        encoded = self._known.get(job.id)
        if encoded is None or encoded.definition is not job.definition:
            encoded = _Encoded(job.definition, (), [b""] * count, [b""] * count)
        _encode_changes(encoded, job)
        statuses, results = _array(encoded.statuses), _array(list(filter(None, encoded.results)))
        if job.unfinished:
            self._known.put(job.id, encoded, len(statuses) + len(results))
        else:
            self._known.forget([job.id])
        return job_with_benchmarks(
            job,
            # msgspec encodes Raw in place of the models.
            cast("tuple[BenchmarkStatus, ...]", Raw(statuses)),
            cast("tuple[BenchmarkResult, ...]", Raw(results) if results else ()),
        )


def _encode_changes(encoded: _Encoded, job: JobRecord) -> None:
    new, planned = job.benchmarks, job.plan.benchmarks
    for position in replaced_indices(encoded.benchmarks, new):
        status, result = benchmark_view(planned[new[position].index], new[position])
        encoded.statuses[position] = _encoder.encode(status)
        encoded.results[position] = b"" if result is None else _encoder.encode(result)
    encoded.benchmarks = new


def _array(items: list[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]" if items else b""

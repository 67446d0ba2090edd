"""Store of sample files and artifacts: a backend, and the threads that work in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

from evalhub_server.domain import problems
from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.domain.sample_transitions import reason_for_none
from evalhub_server.domain.samples import current_set
from evalhub_server.engine.artifact_files import ArtifactLimits, store_artifact
from evalhub_server.engine.sample_backend import BenchmarkFiles, SampleBackend, Stop, StoredFile
from evalhub_server.engine.sample_ingestion import IngestionLimits, ingest
from evalhub_server.engine.sample_reader import SampleFile
from evalhub_server.models.common import PrimaryScore
from evalhub_server.models.sample import Artifact, SampleSet
from evalhub_server.settings import SampleSettings

T = TypeVar("T")

MAX_PARALLEL = 2
"""Files that are read at the same time; each occupies a thread."""


class SampleStore:
    """Files of samples and artifacts in ``backend``; None if none are kept, for the reason ``not_kept``."""

    def __init__(self, backend: SampleBackend | None, settings: SampleSettings, not_kept: str = "") -> None:
        self._backend = backend
        self.settings = settings
        self.not_kept = not_kept
        self._work: dict[str, set[asyncio.Future[Any]]] = {}
        self._removed: set[str] = set()
        self._closing = False
        self._slots = asyncio.Semaphore(MAX_PARALLEL)

    async def open(self, min_age_s: float = 0) -> int:
        """Remove incomplete files that an earlier server left, of at least that age; returns their number."""
        return 0 if self._backend is None else await asyncio.to_thread(self._backend.open, min_age_s)

    async def close(self) -> None:
        """Stop what is being written."""
        self._closing = True
        work = [each for by_job in self._work.values() for each in by_job]
        await asyncio.gather(*work, return_exceptions=True)

    async def remove(self, job_id: str) -> None:
        """Remove all files of a job, and stop what is being written for it. Raises :class:`OSError`."""
        self._removed.add(job_id)
        try:
            await asyncio.gather(*self._work.get(job_id, ()), return_exceptions=True)
            if self._backend is not None:
                await asyncio.to_thread(self._backend.remove, job_id)
        finally:
            self._removed.discard(job_id)

    @property
    def keeps(self) -> bool:
        """Whether samples are kept."""
        return self._backend is not None

    @property
    def backend(self) -> SampleBackend:
        """Where they are kept. Check :attr:`keeps` first."""
        assert self._backend is not None  # noqa: S101  callers have checked
        return self._backend

    async def open_samples(self, job: JobRecord, index: int) -> SampleFile:
        """The stored samples of a benchmark.

        Raises:
            ApiError: 404 ``samples_not_available`` if there are none (yet).
        """
        benchmark = benchmark_at(job, index)
        samples = current_set(benchmark)
        if samples is None:
            raise problems.samples_not_available(job.id, index, "none", reason_for_none(benchmark))
        if not samples.readable or not self.keeps:
            state, message = ("none", self.not_kept) if samples.readable else (samples.state, samples.message)
            raise problems.samples_not_available(job.id, index, state, message)
        files, primary = BenchmarkFiles(job.id, index), primary_score(job, index)
        try:
            return await asyncio.to_thread(self.backend.open_samples, files, samples, primary)
        except OSError as error:
            text = f"the samples of benchmark {index} of job {job.id} cannot be read: {error}"
            raise problems.internal_error(text) from error

    async def open_artifact(self, job: JobRecord, index: int, name: str) -> StoredFile:
        """An artifact. Raises :class:`ApiError` (404) if there is none with that name."""
        samples = current_set(benchmark_at(job, index))
        found = next((each for each in samples.artifacts if each.name == name), None) if samples else None
        if samples is None or found is None or not self.keeps:
            raise problems.not_found("artifact", name)
        files = BenchmarkFiles(job.id, index)
        try:
            return await asyncio.to_thread(self.backend.open_artifact, files, samples.attempt, name)
        except OSError as error:
            text = f"the artifact {name!r} of benchmark {index} of job {job.id} cannot be read: {error}"
            raise problems.internal_error(text) from error

    def store_samples(self, job: JobRecord, index: int, attempt: int, source: BinaryIO) -> SampleSet:
        """Store a sample file; see :func:`ingest`. Blocks."""
        limits = IngestionLimits(
            file_bytes=self.settings.max_bytes,
            line_bytes=self.settings.max_sample_bytes,
            samples=self.settings.max_count,
        )
        writing = self.backend.sample_writer(BenchmarkFiles(job.id, index))
        return ingest(source, writing, attempt, primary_score(job, index), limits, self._stop_of(job.id))

    def store_artifact(
        self, job: JobRecord, index: int, attempt: int, name: str, source: BinaryIO, limit_bytes: int
    ) -> Artifact | None:
        """Store an artifact; see :func:`.artifact_files.store_artifact`. Blocks."""
        writing = self.backend.artifact_file(BenchmarkFiles(job.id, index), attempt, name)
        return store_artifact(source, writing, name, limit_bytes, self._stop_of(job.id))

    @property
    def artifact_limits(self) -> ArtifactLimits:
        return ArtifactLimits(total_bytes=self.settings.max_artifact_bytes, count=self.settings.max_artifacts)

    def _stop_of(self, job_id: str) -> Stop:
        """Whether what is being written for a job is no longer needed."""
        return lambda: self._closing or job_id in self._removed

    async def in_thread(self, job_id: str, function: Callable[[], T]) -> T:
        """Run a function in one of a few threads. If this call is cancelled, :meth:`remove` and :meth:`close` wait for the thread."""
        async with self._slots:
            return await self._work_in_thread(job_id, function)

    async def _work_in_thread(self, job_id: str, function: Callable[[], T]) -> T:
        work = asyncio.ensure_future(asyncio.to_thread(function))
        running = self._work.setdefault(job_id, set())
        running.add(work)

        def done(work: asyncio.Future[T]) -> None:
            running.discard(work)
            if not running and self._work.get(job_id) is running:
                del self._work[job_id]
            if not work.cancelled():
                work.exception()  # retrieved, even if the caller was cancelled

        work.add_done_callback(done)
        return await asyncio.shield(work)


def primary_score(job: JobRecord, index: int) -> PrimaryScore | None:
    """The metric that decides the outcome of a benchmark's samples."""
    return job.plan.benchmarks[index].primary_score


def benchmark_at(job: JobRecord, index: int) -> BenchmarkRecord:
    """Raises :class:`ApiError` (404) if the job has no such benchmark."""
    if index >= len(job.benchmarks):
        raise problems.not_found("benchmark", str(index))
    return job.benchmarks[index]

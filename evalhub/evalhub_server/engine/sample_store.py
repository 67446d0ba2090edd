"""Store of sample files and artifacts: a folder, the threads that work in it, and the cache of indexes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from evalhub_server.domain import problems
from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.domain.samples import current_set
from evalhub_server.engine.artifact_files import ArtifactLimits, artifact_path
from evalhub_server.engine.sample_files import (
    IngestionLimits,
    Stop,
    data_name,
    ingest,
    job_part,
    load_index,
    remove_parts,
    remove_tree,
)
from evalhub_server.engine.sample_reader import IndexCache, SampleFile
from evalhub_server.models.common import PrimaryScore
from evalhub_server.models.sample import SampleSet
from evalhub_server.settings import SampleSettings

T = TypeVar("T")

MAX_PARALLEL = 2
"""Files that are read at the same time; each occupies a thread."""


class SampleStore:
    """Files of samples and artifacts below ``root``; None if none are kept, for the reason ``not_kept``."""

    def __init__(self, root: Path | None, settings: SampleSettings, not_kept: str = "") -> None:
        self.root = root
        self.settings = settings
        self.not_kept = not_kept
        self._indexes = IndexCache()
        self._work: dict[str, set[asyncio.Future[Any]]] = {}
        self._removed: set[str] = set()
        self._closing = False
        self._slots = asyncio.Semaphore(MAX_PARALLEL)

    async def open(self) -> int:
        """Remove incomplete files that an earlier server left; returns their number."""
        return 0 if self.root is None else await asyncio.to_thread(remove_parts, self.root)

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
            if self.root is not None:
                await asyncio.to_thread(remove_tree, self.root / job_part(job_id))
        finally:
            self._removed.discard(job_id)

    def directory(self, job_id: str, index: int) -> Path:
        """The directory of a benchmark."""
        assert self.root is not None  # noqa: S101  callers have checked
        return self.root / job_part(job_id) / str(index)

    async def open_samples(self, job: JobRecord, index: int) -> SampleFile:
        """The stored samples of a benchmark.

        Raises:
            ApiError: 404 ``samples_not_available`` if there are none (yet).
        """
        samples = current_set(benchmark_at(job, index))
        if samples is None or not samples.readable or self.root is None:
            state, message = (samples.state, samples.message) if samples else ("", "")
            if samples is not None and samples.readable:
                state, message = "none", self.not_kept
            raise problems.samples_not_available(job.id, index, state, message)
        path = self.directory(job.id, index) / data_name(samples)
        found = self._indexes.get(path)
        try:
            if found is None:
                found = await asyncio.to_thread(load_index, path, primary_score(job, index))
                self._indexes.put(path, found)
            elif not await asyncio.to_thread(path.exists):
                raise FileNotFoundError(2, "No such file", str(path))
        except OSError as error:
            text = f"the samples of benchmark {index} of job {job.id} cannot be read: {error}"
            raise problems.internal_error(text) from error
        return SampleFile(path, found)

    async def open_artifact(self, job: JobRecord, index: int, name: str) -> BinaryIO:
        """An artifact, as an open file. Raises :class:`ApiError` (404) if there is none with that name."""
        samples = current_set(benchmark_at(job, index))
        found = next((each for each in samples.artifacts if each.name == name), None) if samples else None
        if samples is None or found is None or self.root is None:
            raise problems.not_found("artifact", name)
        path = artifact_path(self.directory(job.id, index), samples.attempt, name)
        try:
            return await asyncio.to_thread(path.open, "rb")
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
        primary = primary_score(job, index)
        return ingest(source, self.directory(job.id, index), attempt, primary, limits, self.stop_of(job.id))

    @property
    def artifact_limits(self) -> ArtifactLimits:
        return ArtifactLimits(total_bytes=self.settings.max_artifact_bytes, count=self.settings.max_artifacts)

    def stop_of(self, job_id: str) -> Stop:
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

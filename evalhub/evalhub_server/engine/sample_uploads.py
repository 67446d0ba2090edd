"""Uploads of samples and artifacts, by adapters and sidecars."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO, TypeVar

from evalhub_server.domain import problems
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.sample_transitions import (
    artifact_stored,
    check_attempt,
    samples_collected,
)
from evalhub_server.domain.samples import current_set
from evalhub_server.engine.artifact_files import name_problem
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.sample_backend import CHUNK_BYTES, BenchmarkFiles, IngestionStopped
from evalhub_server.engine.sample_store import SampleStore, benchmark_at
from evalhub_server.engine.samples import log_set
from evalhub_server.errors import ApiError, NotFound, StorageError
from evalhub_server.models.sample import Artifact, SampleSet
from evalhub_server.plugins.storage import JobChange

T = TypeVar("T")


class SampleUploads:
    """Receives files for the benchmarks of jobs; raises :class:`ApiError`."""

    def __init__(self, store: JobStore, files: SampleStore) -> None:
        self._store = store
        self._files = files

    async def upload(
        self, job: JobRecord, index: int, attempt: int | None, body: AsyncIterator[bytes]
    ) -> SampleSet:
        """Store the samples that an adapter or a sidecar sends; a repeated upload changes nothing.

        Raises:
            ApiError: 409 for an earlier attempt or if samples are not kept, 413 above the limit of size.
        """
        attempt = self._upload_target(job, index, attempt)
        limit = self._files.settings.max_bytes

        def store(file: BinaryIO) -> SampleSet:
            return self._files.store_samples(job, index, attempt, file)

        try:
            samples = await self._spooled(job, index, body, limit, "sample file", store)
        except ApiError as error:
            if error.status == 413:
                failed = SampleSet(state="failed", attempt=attempt, message=error.message)
                await self._update(job, lambda job: samples_collected(job, index, failed))
            raise
        stored = await self._update(job, lambda job: samples_collected(job, index, samples))
        log_set(job, index, "Samples uploaded", samples)
        return stored.benchmarks[index].samples or samples

    async def upload_artifact(
        self, job: JobRecord, index: int, attempt: int | None, name: str, body: AsyncIterator[bytes]
    ) -> Artifact:
        """Store one artifact; one with the same name is replaced. Raises :class:`ApiError` as :meth:`upload` does."""
        attempt = self._upload_target(job, index, attempt)
        if problem := name_problem(name):
            raise problems.validation_failed(f"the name of an artifact {problem}")
        current = current_set(job.benchmarks[index])
        others = [each for each in current.artifacts if each.name != name] if current else []
        if len(others) >= self._files.settings.max_artifacts:
            raise problems.too_many_artifacts(self._files.settings.max_artifacts)
        limit = max(self._files.settings.max_artifact_bytes - sum(each.bytes for each in others), 0)

        def store(file: BinaryIO) -> Artifact | None:
            return self._files.store_artifact(job, index, attempt, name, file, limit)

        artifact = await self._spooled(job, index, body, limit, "artifact", store)
        assert artifact is not None  # noqa: S101  the upload is within the limit
        await self._update(job, lambda job: artifact_stored(job, index, attempt, artifact))
        return artifact

    def _upload_target(self, job: JobRecord, index: int, attempt: int | None) -> int:
        benchmark = benchmark_at(job, index)
        if not self._files.keeps:
            raise problems.samples_not_kept(self._files.not_kept)
        attempt = benchmark.attempt if attempt is None else attempt
        check_attempt(job, index, attempt)
        return attempt

    async def _spooled(
        self,
        job: JobRecord,
        index: int,
        body: AsyncIterator[bytes],
        limit_bytes: int,
        what: str,
        store: Callable[[BinaryIO], T],
    ) -> T:
        """Write a request body to a temporary file, then pass the file to ``store``, in a thread."""
        try:
            with self._files.backend.part_file(BenchmarkFiles(job.id, index)) as (file, _):
                size, pending = 0, bytearray()
                async for chunk in body:
                    size += len(chunk)
                    if size > limit_bytes:
                        setting = (
                            "samples.max_bytes" if what == "sample file" else "samples.max_artifact_bytes"
                        )
                        raise problems.upload_too_large(what, limit_bytes, setting)
                    pending += chunk
                    if len(pending) >= CHUNK_BYTES:
                        await asyncio.to_thread(file.write, bytes(pending))
                        pending.clear()
                file.write(bytes(pending))
                file.seek(0)
                return await self._files.in_thread(job.id, lambda: store(file))
        except IngestionStopped:
            raise problems.internal_error("the server is closing, or the job is being deleted") from None
        except OSError as error:
            text = f"the {what} of job {job.id} cannot be stored: {error}. Free space and repeat the upload"
            raise problems.internal_error(text) from error

    async def _update(self, job: JobRecord, change: JobChange) -> JobRecord:
        try:
            return await self._store.update(job.id, None, change)
        except NotFound:
            await self._files.remove(job.id)  # deleted meanwhile
            raise problems.not_found("evaluation job", job.id) from None
        except StorageError as error:
            raise problems.from_storage("evaluation job", job.id, error) from error

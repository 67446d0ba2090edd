"""Uploads of samples and artifacts, by adapters and sidecars."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import BinaryIO, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

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
from evalhub_server.engine.sample_ingestion import drop_unfinished_line
from evalhub_server.engine.sample_store import SampleStore, benchmark_at
from evalhub_server.engine.samples import log_set
from evalhub_server.errors import ApiError, NotFound, StorageError
from evalhub_server.models.sample import Artifact, SampleSet
from evalhub_server.plugins.storage import JobChange

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

RECEIVED_FACTOR = 8
"""So many times the limit of a sample file is received; what is above the limit is dropped."""


class _Limit(Struct, frozen=True):
    """How much of an upload is kept and received, by the setting of that name."""

    what: str
    setting: str
    kept_bytes: int
    received_bytes: int


class _StoreFile(Protocol[T_co]):
    """Stores a temporary file, from which the end of the upload is missing if it ``is_cut``. Runs in a thread."""

    def __call__(self, file: BinaryIO, /, *, is_cut: bool) -> T_co: ...


class SampleUploads:
    """Receives files for the benchmarks of jobs; raises :class:`ApiError`."""

    def __init__(self, store: JobStore, files: SampleStore) -> None:
        self._store = store
        self._files = files

    async def upload(
        self, job: JobRecord, index: int, attempt: int | None, body: AsyncIterator[bytes]
    ) -> SampleSet:
        """Store the samples that an adapter or a sidecar sends; a repeated upload changes nothing.

        Samples above the limit of size are received and dropped, and the state is ``cut``.

        Raises:
            ApiError: 409 for an earlier attempt or if samples are not kept, 413 for a body far above the limit of size.
        """
        attempt = self._upload_target(job, index, attempt)
        settings = self._files.settings
        # With one line more than is stored, the limit shows as it does in a file of this host.
        limit = _Limit(
            "sample file",
            "samples.max_bytes",
            kept_bytes=settings.max_bytes + settings.max_sample_bytes,
            received_bytes=settings.max_bytes * RECEIVED_FACTOR + settings.max_sample_bytes,
        )

        def store(file: BinaryIO, *, is_cut: bool) -> SampleSet:
            if is_cut:
                drop_unfinished_line(file, settings.max_sample_bytes)
            samples = self._files.store_samples(job, index, attempt, file)
            if not is_cut or samples.state != "stored":
                return samples
            text = f"samples are missing: the file has more than {limit.kept_bytes} bytes ({limit.setting})"
            return replace(samples, state="cut", message=text)

        try:
            samples = await self._spooled(job, index, body, limit, store)
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

        def store(file: BinaryIO, *, is_cut: bool) -> Artifact | None:
            assert not is_cut  # noqa: S101  nothing is received that is not kept
            return self._files.store_artifact(job, index, attempt, name, file, limit)

        limits = _Limit("artifact", "samples.max_artifact_bytes", kept_bytes=limit, received_bytes=limit)
        artifact = await self._spooled(job, index, body, limits, store)
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
        limit: _Limit,
        store: _StoreFile[T],
    ) -> T:
        """Write a request body to a temporary file, then pass the file to ``store``, in a thread."""
        try:
            with self._files.backend.part_file(BenchmarkFiles(job.id, index)) as (file, _):
                size, pending = 0, bytearray()
                async for chunk in body:
                    pending += chunk[: max(limit.kept_bytes - size, 0)]
                    size += len(chunk)
                    if size > limit.received_bytes:
                        raise problems.upload_too_large(limit.what, limit.received_bytes, limit.setting)
                    if len(pending) >= CHUNK_BYTES:
                        await asyncio.to_thread(file.write, bytes(pending))
                        pending.clear()
                file.write(bytes(pending))
                file.seek(0)
                is_cut = size > limit.kept_bytes
                return await self._files.in_thread(job.id, lambda: store(file, is_cut=is_cut))
        except IngestionStopped:
            raise problems.internal_error("the server is closing, or the job is being deleted") from None
        except OSError as error:
            text = f"the {limit.what} of job {job.id} cannot be stored: {error}. Free space and repeat the upload"
            raise problems.internal_error(text) from error

    async def _update(self, job: JobRecord, change: JobChange) -> JobRecord:
        try:
            return await self._store.update(job.id, None, change)
        except NotFound:
            await self._files.remove(job.id)  # deleted meanwhile
            raise problems.not_found("evaluation job", job.id) from None
        except StorageError as error:
            raise problems.from_storage("evaluation job", job.id, error) from error

"""Collector of samples: reads what adapters on this host left, after they have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import BinaryIO

import structlog
from msgspec.structs import replace

from evalhub_common.adapter_files import NotAFile, open_regular
from evalhub_common.backoff import Backoff
from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.domain.sample_transitions import is_collectable, nothing_left, samples_collected
from evalhub_server.engine.artifact_files import collect_artifacts
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.sample_backend import IngestionStopped
from evalhub_server.engine.sample_store import SampleStore
from evalhub_server.errors import (
    ApiError,
    LeadershipLost,
    NotFound,
    RuntimeUnavailable,
    SampleStoreUnavailable,
    StorageError,
)
from evalhub_server.models.sample import Artifact, SampleSet
from evalhub_server.plugins.runtime import Runtime, SampleFiles

log = structlog.get_logger()

RETRY = Backoff(first_s=0.2, max_s=30.0)


class SampleCollector:
    """Collects the samples of ended workloads from :meth:`start` to :meth:`stop`; it can be started again.

    Call :meth:`close` last.
    """

    def __init__(self, store: JobStore, runtime: Runtime, files: SampleStore) -> None:
        self._store = store
        self._runtime = runtime
        self._files = files
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._uploads: dict[tuple[str, int], asyncio.Event] = {}
        """Set when the samples that a task waits for were uploaded."""
        self._active = False
        store.listen(self._on_change)

    async def start(self) -> None:
        """Collect the samples that an earlier server left pending."""
        self._active = True
        for job in await self._store.open():
            self._collect_pending(job, job.benchmarks)

    async def stop(self) -> None:
        """Stop to collect; what is pending is collected by the next server, or after the next start."""
        self._active = False
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def close(self) -> None:
        """Stop to collect, and stop what is being written."""
        await self.stop()
        await self._files.close()

    async def settled(self, job_id: str, timeout_s: float) -> None:
        """Wait until no samples of the job are being collected, at most for the timeout."""
        tasks = [task for (each, _), task in self._tasks.items() if each == job_id]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    async def remove(self, job_id: str) -> None:
        """Remove all files of a job and stop what is being written for it. Raises :class:`OSError`."""
        await asyncio.gather(*self._cancelled(job_id), return_exceptions=True)
        await self._files.remove(job_id)

    def _cancelled(self, job_id: str) -> list[asyncio.Task[None]]:
        tasks = [task for (each, _), task in self._tasks.items() if each == job_id]
        for task in tasks:
            task.cancel()
        return tasks

    def _on_change(self, change: JobChanged) -> None:
        before, after = change.before, change.after
        if not self._active:
            return
        if after is None:
            if before is not None:
                self._cancelled(before.id)  # another server may have deleted it
            return
        changed = after.benchmarks if before is None else [new for _, new in change.benchmarks]
        self._collect_pending(after, changed)
        for benchmark in changed if self._uploads else ():
            upload = self._uploads.get((after.id, benchmark.index))
            if upload is not None and not is_collectable(benchmark):
                upload.set()

    def _collect_pending(self, job: JobRecord, benchmarks: Iterable[BenchmarkRecord]) -> None:
        for benchmark in benchmarks:
            if not is_collectable(benchmark) or (key := (job.id, benchmark.index)) in self._tasks:
                continue
            task = asyncio.create_task(
                self._collect(job, benchmark), name=f"samples-{job.id}-{benchmark.index}", context=Context()
            )
            self._tasks[key] = task
            task.add_done_callback(lambda _, key=key: self._tasks.pop(key, None))

    async def _collect(self, job: JobRecord, benchmark: BenchmarkRecord) -> None:
        """Read what the adapter left and record the result, with retries while storage or runtime are unavailable."""
        index, delays = benchmark.index, RETRY.delays()
        samples: SampleSet | None = None
        while True:
            try:
                if samples is None:
                    samples = await self._collected(job, benchmark)
                await self._store.update(job.id, None, partial(_with_samples, index, samples))
                log_set(job, index, "Samples collected", samples)
                return
            except (NotFound, IngestionStopped, LeadershipLost):
                return  # deleted, or the server closes, or another one collects
            except ApiError as error:
                log.info(
                    "Samples of an earlier attempt dropped",
                    job_id=job.id,
                    benchmark_index=index,
                    error=error.message,
                )
                return
            except (StorageError, RuntimeUnavailable, SampleStoreUnavailable) as error:
                log.warning(
                    "Samples not recorded yet; retrying",
                    job_id=job.id,
                    benchmark_index=index,
                    error=str(error),
                )
            except Exception as error:
                log.error("Samples not collected", job_id=job.id, benchmark_index=index, exc_info=error)
                samples = SampleSet(
                    state="failed", attempt=benchmark.attempt, message=f"{type(error).__name__}: {error}"
                )
            await asyncio.sleep(next(delays))

    async def _collected(self, job: JobRecord, benchmark: BenchmarkRecord) -> SampleSet:
        attempt = benchmark.attempt
        nothing = SampleSet(state="none", attempt=attempt)
        if not self._files.keeps:
            return replace(nothing, message=self._files.not_kept)
        if benchmark.handle is None:
            return replace(nothing, message="its workload was lost when the server stopped")
        if benchmark.is_foreign(self._runtime.name):
            return nothing
        files = await self._runtime.sample_files(benchmark.handle)
        if files is None:
            return await self._uploaded(job.id, benchmark.index) or replace(
                nothing, message=f"none were uploaded within {self._runtime.upload_grace_s:g} s after its end"
            )
        try:
            return await self._files.in_thread(
                job.id, lambda: self._read(job, benchmark.index, attempt, files)
            )
        except OSError as error:
            text = f"the samples cannot be stored: {error}"
            log.error("Samples not stored", job_id=job.id, benchmark_index=benchmark.index, error=str(error))
            return SampleSet(state="failed", attempt=attempt, message=text)

    async def _uploaded(self, job_id: str, index: int) -> SampleSet | None:
        """The samples that are uploaded in the time that the runtime allows; None if they are still pending then."""
        uploaded = self._uploads[job_id, index] = asyncio.Event()
        try:
            if is_collectable((await self._store.get(job_id, None)).benchmarks[index]):
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._runtime.upload_grace_s):
                        await uploaded.wait()
        finally:
            del self._uploads[job_id, index]
        benchmark = (await self._store.get(job_id, None)).benchmarks[index]
        return None if is_collectable(benchmark) else benchmark.samples

    def _read(self, job: JobRecord, index: int, attempt: int, files: SampleFiles) -> SampleSet:
        samples = nothing_left(attempt)
        if not files.samples.parent.is_dir():
            samples = replace(samples, message="its job directory does not exist any more")
        try:
            file = open_regular(files.samples.parent, files.samples.name)
            if file is not None:
                with file:
                    samples = self._files.store_samples(job, index, attempt, file)
        except NotAFile as error:
            samples = SampleSet(state="failed", attempt=attempt, message=str(error))

        def store(file: BinaryIO, name: str, limit_bytes: int) -> Artifact | None:
            return self._files.store_artifact(job, index, attempt, name, file, limit_bytes)

        artifacts, left_out = collect_artifacts(files.artifacts, store, self._files.artifact_limits)
        message = "; ".join(each for each in (samples.message, *left_out[:5]) if each)
        return replace(samples, artifacts=tuple(artifacts), message=message)


def _with_samples(index: int, samples: SampleSet, job: JobRecord) -> JobRecord:
    return samples_collected(job, index, samples)


def log_set(job: JobRecord, index: int, event: str, samples: SampleSet) -> None:
    """Log what was stored of a benchmark's samples."""
    log.info(
        event,
        job_id=job.id,
        benchmark_index=index,
        attempt=samples.attempt,
        state=samples.state,
        samples=samples.count,
        bad_lines=samples.bad_lines,
        artifacts=len(samples.artifacts),
    )

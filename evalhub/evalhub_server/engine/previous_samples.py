"""Samples of an earlier job that a rerun gets, so that an adapter need not repeat what is finished."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from evalhub_common.backoff import Backoff
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.samples import current_set
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.sample_backend import BenchmarkFiles
from evalhub_server.engine.sample_store import SampleStore
from evalhub_server.errors import NotFound, SampleStoreUnavailable, StorageError
from evalhub_server.models.sample import SampleSet

log = structlog.get_logger()

TIMEOUT_S = 10.0
POLL = Backoff(first_s=0.05, max_s=0.5)


class PreviousSamples:
    """Finds the stored samples of the benchmark that a benchmark of a rerun repeats."""

    def __init__(self, store: JobStore, files: SampleStore) -> None:
        self._store = store
        self._files = files

    async def __call__(self, job: JobRecord, index: int) -> Path | None:
        """The file; None without any. Waits shortly for a workload that is ending and for samples that are being collected."""
        definition = job.definition
        if not definition.reuses_samples or not self._files.keeps or index >= len(definition.repeats):
            return None
        original_id, repeated = definition.derived_from, definition.repeats[index]
        try:
            samples = await self._collected(original_id, repeated, job.tenant or None)
        except NotFound:
            return None
        except StorageError as error:
            log.warning("Samples of the repeated job not found", job_id=job.id, error=str(error))
            return None
        if samples is None or not samples.readable:
            return None
        files = BenchmarkFiles(original_id, repeated)
        try:
            return await asyncio.to_thread(self._files.backend.local_copy, files, samples)
        except (SampleStoreUnavailable, OSError) as error:
            log.warning("Samples of the repeated job not read", job_id=job.id, error=str(error))
            return None

    async def _collected(self, job_id: str, index: int, tenant: str | None) -> SampleSet | None:
        loop = asyncio.get_running_loop()
        deadline, delays = loop.time() + TIMEOUT_S, POLL.delays()
        while True:
            benchmark = (await self._store.get(job_id, tenant)).benchmarks[index]
            samples = current_set(benchmark)
            settled = not benchmark.has_workload and (samples is None or samples.state != "pending")
            if settled or loop.time() >= deadline or self._store.feed.closed:
                return samples
            await asyncio.sleep(next(delays))

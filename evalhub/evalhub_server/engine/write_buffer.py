"""Write buffer for job changes while the storage is unavailable: kept in memory, stored once it is available again.

Adapters report each event once, so an event that is refused for good loses a result of hours; and the exit of a
process cannot be undone. No response claims that a buffered change is stored: a restart loses the buffer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context

import structlog
from msgspec import Struct

from evalhub_common.backoff import Backoff
from evalhub_server.errors import EvalHubError, StorageUnavailable
from evalhub_server.plugins.storage import JobChange

RETRY = Backoff(first_s=0.2, max_s=5.0)
LAST_TRY_S = 1.0
MAX_BYTES = 32 << 20
OVERHEAD_BYTES = 1024
"""Estimated memory of a buffered change in addition to its key."""

log = structlog.get_logger()


class BufferedChange(Struct, frozen=True):
    """A change of a job, with the arguments of :meth:`JobStore.update`."""

    job_id: str
    tenant: str | None
    change: JobChange
    with_exports: bool = True


class _JobBuffer:
    """The buffered changes of one job by key, oldest first; the lock keeps two tasks from storing the same change."""

    def __init__(self) -> None:
        self.changes: dict[bytes, BufferedChange] = {}
        self.lock = asyncio.Lock()


class WriteBuffer:
    """``store`` writes one change to the storage; it raises :class:`StorageUnavailable` if that must be retried."""

    def __init__(self, store: Callable[[BufferedChange], Awaitable[object]]) -> None:
        self._store = store
        self._jobs: dict[str, _JobBuffer] = {}
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None

    def __bool__(self) -> bool:
        """Whether any change is buffered."""
        return bool(self._jobs)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def add(self, key: bytes, buffered: BufferedChange) -> bool:
        """Buffer a change, replacing one of the same job with the same key; False if the buffer is full."""
        job = self._jobs.get(buffered.job_id) or _JobBuffer()
        if key not in job.changes:
            size_bytes = len(key) + OVERHEAD_BYTES
            if self._bytes + size_bytes > MAX_BYTES:
                log.error("Storage unavailable and write buffer full", job_id=buffered.job_id)
                return False
            self._bytes += size_bytes
        job.changes[key] = buffered
        self._jobs[buffered.job_id] = job
        if self._task is None or self._task.done():
            # An empty context: what the task logs belongs to no request.
            self._task = asyncio.create_task(self._retry(), name="write-buffer", context=Context())
        return True

    async def flush(self, job_id: str) -> None:
        """Store the buffered changes of a job. Raises :class:`StorageUnavailable`; the rest then stays buffered."""
        job = self._jobs.get(job_id)
        if job is None:
            return
        async with job.lock:
            while job.changes:
                key, buffered = next(iter(job.changes.items()))
                try:
                    await self._store(buffered)
                except StorageUnavailable:
                    raise
                except EvalHubError as error:
                    log.warning("Buffered change refused", job_id=job_id, error=str(error))
                except Exception as error:
                    log.error("Buffered change not stored", job_id=job_id, exc_info=error)
                if job.changes.get(key) is buffered:
                    del job.changes[key]
                    self._bytes -= len(key) + OVERHEAD_BYTES
        if self._jobs.get(job_id) is job and not job.changes:
            del self._jobs[job_id]

    async def close(self) -> None:
        """Try once more to store everything, then log what is lost."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_TRY_S):
                await self._flushed()
        for job_id, job in self._jobs.items():
            log.error("Buffered changes lost", job_id=job_id, changes=len(job.changes))

    async def flush_all(self) -> None:
        """Store everything. Raises :class:`StorageUnavailable`; the rest then stays buffered."""
        for job_id in list(self._jobs):
            await self.flush(job_id)

    def discard(self) -> None:
        """Forget what is buffered: another server supervises the jobs, and finds out by itself."""
        if self._task is not None:
            self._task.cancel()
        self._jobs.clear()
        self._bytes = 0

    async def _retry(self) -> None:
        failures = 1
        while self._jobs:
            await asyncio.sleep(RETRY.delay_s(failures))
            failures = 1 if await self._flushed() else failures + 1

    async def _flushed(self) -> bool:
        """Store all buffered changes; False if the storage is still unavailable."""
        try:
            await self.flush_all()
        except StorageUnavailable as error:
            log.warning("Storage unavailable; changes stay buffered", jobs=len(self._jobs), error=str(error))
            return False
        return True

"""Changes that came while the storage was away: kept in memory, and stored when it is back.

Adapters report each event once, so one that is refused for good is the result of hours; and what has happened to a
process cannot be taken back. Nobody is told that such a change is stored before it is: a restart forgets it.
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
LARGEST_BYTES = 32 << 20
OVERHEAD_BYTES = 1024
"""About what a change takes beside what it says."""

log = structlog.get_logger()


class Deferred(Struct, frozen=True):
    """A change of a job, as :meth:`JobStore.update` takes it."""

    job_id: str
    tenant: str | None
    change: JobChange
    with_exports: bool = True


class _Line:
    """What one job waits for, in order, by key; the lock keeps two from storing the same."""

    def __init__(self) -> None:
        self.changes: dict[bytes, Deferred] = {}
        self.lock = asyncio.Lock()


class DeferredChanges:
    """``store`` stores one; it raises :class:`StorageUnavailable` while that must wait."""

    def __init__(self, store: Callable[[Deferred], Awaitable[object]]) -> None:
        self._store = store
        self._lines: dict[str, _Line] = {}
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._lines

    def keep(self, key: bytes, deferred: Deferred) -> bool:
        """Keep a change, in the place of one with the same key if there is any; False if too much is kept already."""
        line = self._lines.get(deferred.job_id) or _Line()
        if key not in line.changes:
            size_bytes = len(key) + OVERHEAD_BYTES
            if self._bytes + size_bytes > LARGEST_BYTES:
                log.error("the storage is away, and no more can be kept for it", job_id=deferred.job_id)
                return False
            self._bytes += size_bytes
        line.changes[key] = deferred
        self._lines[deferred.job_id] = line
        if self._task is None or self._task.done():
            # A context of its own: what is logged later belongs to no request.
            self._task = asyncio.create_task(self._retry(), name="deferred-changes", context=Context())
        return True

    async def settle(self, job_id: str) -> None:
        """Store what is kept for a job. Raises :class:`StorageUnavailable`; what is left is then kept on."""
        line = self._lines.get(job_id)
        if line is None:
            return
        async with line.lock:
            while line.changes:
                key, deferred = next(iter(line.changes.items()))
                try:
                    await self._store(deferred)
                except StorageUnavailable:
                    raise
                except EvalHubError as error:
                    log.warning("a change that was kept is refused", job_id=job_id, error=str(error))
                except Exception as error:
                    log.error("a change that was kept cannot be stored", job_id=job_id, exc_info=error)
                if line.changes.get(key) is deferred:
                    del line.changes[key]
                    self._bytes -= len(key) + OVERHEAD_BYTES
        if self._lines.get(job_id) is line and not line.changes:
            del self._lines[job_id]

    async def close(self) -> None:
        """Try once more, then say what is lost."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_TRY_S):
                await self._settle_all()
        for job_id, line in self._lines.items():
            log.error("the storage stayed away: changes are lost", job_id=job_id, changes=len(line.changes))

    async def _retry(self) -> None:
        failures = 1
        while self._lines:
            await asyncio.sleep(RETRY.delay_s(failures))
            failures = 1 if await self._settle_all() else failures + 1

    async def _settle_all(self) -> bool:
        """False if the storage is still away."""
        for job_id in list(self._lines):
            try:
                await self.settle(job_id)
            except StorageUnavailable as error:
                log.warning("changes wait for the storage", jobs=len(self._lines), error=str(error))
                return False
        return True

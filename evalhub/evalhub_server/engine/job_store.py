"""Storage access for jobs, with the outbox, a write buffer, and announcement of what is committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from evalhub_server.domain.outbox import PendingExport, with_pending_exports
from evalhub_server.domain.record import JobRecord
from evalhub_server.engine.change_feed import ChangeFeed
from evalhub_server.engine.committed_changes import CommittedChanges, Listener
from evalhub_server.engine.postponed_changes import POSTPONED_S, PostponedChanges
from evalhub_server.engine.progress_rates import ProgressRates
from evalhub_server.engine.write_buffer import BufferedChange, WriteBuffer
from evalhub_server.errors import NotFound, StorageError, StorageUnavailable
from evalhub_server.plugins.storage import JobChange, JobCounts, JobFacetName, JobPage, JobQuery, Storage

PendingExports = Callable[[JobRecord | None, JobRecord], Sequence[PendingExport]]
"""(before, after) → the exports that the change requires. Pure; must not raise."""

log = structlog.get_logger()


class JobStore:
    """Reads and writes jobs; announces every change after its commit, see :class:`CommittedChanges`.

    The exports that a change requires are written to the outbox with the change, so that none is lost when the server dies.
    """

    def __init__(
        self,
        storage: Storage,
        pending_exports: PendingExports | None = None,
        changes: CommittedChanges | None = None,
        buffers: list[WriteBuffer] | None = None,
        *,
        postponed_s: float = POSTPONED_S,
    ) -> None:
        """``changes`` and ``buffers`` are those of another store of the same jobs: changes that both buffer are one sequence.

        ``postponed_s`` limits how long a change waits after :meth:`postpone`.
        """
        self._storage = storage
        self._pending_exports = pending_exports
        self.changes = changes or CommittedChanges()
        self._buffer = WriteBuffer(
            lambda each: self._update(each.job_id, each.tenant, each.change, with_exports=each.with_exports)
        )
        self.buffers = [] if buffers is None else buffers
        self.buffers.append(self._buffer)
        self._postponed = PostponedChanges(self._store_postponed, postponed_s)
        self._writing = asyncio.Event()
        self._waking: asyncio.TimerHandle | None = None

    @property
    def feed(self) -> ChangeFeed:
        return self.changes.feed

    @property
    def rates(self) -> ProgressRates:
        return self.changes.rates

    @property
    def durable(self) -> bool:
        return self._storage.durable

    @property
    def has_buffered_changes(self) -> bool:
        """Whether changes wait in memory because the storage cannot be written."""
        return any(self.buffers)

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` for every committed change from now on."""
        self.changes.listen(listener)

    def check_leading(self) -> None:
        """Raise :class:`LeadershipLost` if another server may supervise the jobs. Called before effects outside of the storage."""
        return

    async def add(self, job: JobRecord) -> JobRecord:
        """Store a new job; returns it with its outbox."""
        job = self._with_outbox(None, job)
        self._wake_waiting()
        try:
            await self.writable().add_job(job)
        except StorageError as error:
            self._write_failed(error)
            raise
        self.changes.announce(None, job)
        return job

    async def get(self, job_id: str, tenant: str | None) -> JobRecord:
        return await self._storage.get_job(job_id, tenant)

    async def list(self, query: JobQuery) -> JobPage:
        return await self._storage.list_jobs(query)

    async def count(self, query: JobQuery, facets: Sequence[JobFacetName], max_jobs: int) -> JobCounts:
        return await self._storage.count_jobs(query, facets, max_jobs)

    async def open(self) -> list[JobRecord]:
        return await self._storage.open_jobs()

    async def update(
        self, job_id: str, tenant: str | None, change: JobChange, *, with_exports: bool = True
    ) -> JobRecord:
        """Like :meth:`Storage.update_job`, with notification. Changes that are buffered for the job are stored first.

        Unless ``with_exports``, the change adds nothing to the outbox.
        """
        for buffer in self.buffers:
            if job_id in buffer:
                await buffer.flush(job_id)
        return await self._update(job_id, tenant, change, with_exports=with_exports)

    def defer(
        self, key: bytes, job_id: str, tenant: str | None, change: JobChange, *, with_exports: bool = True
    ) -> bool:
        """Buffer a change that failed with :class:`StorageUnavailable`, in memory, until the storage is available.

        It replaces a buffered change of the job with the same ``key``. False if the buffer is full.
        """
        return self._buffer.add(key, BufferedChange(job_id, tenant, change, with_exports))

    def postpone(self, job_id: str, change: JobChange) -> None:
        """Store a change in the transaction of the job's next one, or after a short time; it is not announced before.

        Until then it is in memory, so a crash loses it. It may be applied repeatedly.
        """
        self._postponed.add(job_id, change)

    async def next_write(self, timeout_s: float) -> None:
        """Wait until a job is added or updated, or until the first caller that waits has done so for its timeout.

        A storage that collects writes commits what is written then in the same transaction.
        """
        if self._waking is None:
            self._waking = asyncio.get_running_loop().call_later(timeout_s, self._wake_waiting)
        await self._writing.wait()

    def _wake_waiting(self) -> None:
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
            self._writing.set()
            self._writing.clear()

    async def flush(self) -> None:
        """Store the buffered changes of all jobs. Raises :class:`StorageUnavailable`."""
        for buffer in self.buffers:
            await buffer.flush_all()

    async def close(self) -> None:
        """Store postponed changes, and try once more to store buffered ones."""
        await self._postponed.flush()
        await self._buffer.close()

    async def _store_postponed(self, job_id: str) -> None:
        def unchanged(job: JobRecord) -> JobRecord:
            return job

        try:
            await self.update(job_id, None, unchanged)
        except NotFound:
            self._postponed.forget(job_id)
        except StorageUnavailable as error:
            log.error("failed to update benchmark status", job_id=job_id, error=str(error))
            self.defer(b"postponed", job_id, None, unchanged)
        except StorageError as error:  # the next change of the job tries again
            log.error("failed to update benchmark status", job_id=job_id, error=str(error))

    async def _update(
        self, job_id: str, tenant: str | None, change: JobChange, *, with_exports: bool
    ) -> JobRecord:
        seen: list[JobRecord] = []
        postponed: Sequence[JobChange] = ()

        def noted(job: JobRecord) -> JobRecord:
            nonlocal postponed
            seen.append(job)
            after, postponed = job, self._postponed.of(job_id)
            for each in (*postponed, change):
                after = each(after) or after
            return after if after is job or not with_exports else self._with_outbox(job, after)

        self._wake_waiting()
        try:
            after = await self.writable().update_job(job_id, tenant, noted)
        except StorageError as error:
            self._write_failed(error)
            raise
        if postponed:
            self._postponed.stored(job_id, postponed)
        if after is not seen[-1]:
            self.changes.announce(seen[-1], after)
        return after

    async def delete(self, job: JobRecord, tenant: str | None) -> None:
        try:
            await self.writable().delete_job(job.id, tenant)
        except StorageError as error:
            self._write_failed(error)
            raise
        self._postponed.forget(job.id)
        self.changes.announce(job, None)

    def writable(self) -> Storage:
        """Where changes are written."""
        return self._storage

    def _write_failed(self, error: StorageError) -> None:
        self.feed.outcome_unknown()

    def _with_outbox(self, before: JobRecord | None, after: JobRecord) -> JobRecord:
        if self._pending_exports is None:
            return after
        return with_pending_exports(after, self._pending_exports(before, after))

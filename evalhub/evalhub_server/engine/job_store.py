"""Storage access for jobs, with notification of listeners, the outbox and a write buffer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evalhub_server.domain.outbox import PendingExport, with_pending_exports
from evalhub_server.domain.record import JobRecord
from evalhub_server.engine.change_feed import ChangeFeed
from evalhub_server.engine.progress_rates import ProgressRates
from evalhub_server.engine.write_buffer import BufferedChange, WriteBuffer
from evalhub_server.errors import StorageError
from evalhub_server.plugins.hookspecs import JobChanged
from evalhub_server.plugins.storage import JobChange, JobCounts, JobFacetName, JobPage, JobQuery, Storage

Listener = Callable[[JobChanged], None]
PendingExports = Callable[[JobRecord | None, JobRecord], Sequence[PendingExport]]
"""(before, after) → the exports that the change requires. Pure; must not raise."""


class JobStore:
    """Reads and writes jobs; calls its listeners after every committed change, synchronously and in commit order.

    The exports that a change requires are written to the outbox with the change, so that none is lost when the server dies.
    ``feed`` and ``rates`` get every change before the listeners.
    """

    def __init__(self, storage: Storage, pending_exports: PendingExports | None = None) -> None:
        self._storage = storage
        self._pending_exports = pending_exports
        self._listeners: list[Listener] = []
        self.feed = ChangeFeed()
        self.rates = ProgressRates()
        self._buffer = WriteBuffer(
            lambda each: self._update(each.job_id, each.tenant, each.change, with_exports=each.with_exports)
        )

    @property
    def durable(self) -> bool:
        return self._storage.durable

    @property
    def has_buffered_changes(self) -> bool:
        """Whether changes wait in memory because the storage cannot be written."""
        return bool(self._buffer)

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def add(self, job: JobRecord) -> JobRecord:
        """Store a new job; returns it with its outbox."""
        job = self._with_outbox(None, job)
        try:
            await self._storage.add_job(job)
        except StorageError:
            self.feed.outcome_unknown()
            raise
        self._announce(None, job)
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
        if job_id in self._buffer:
            await self._buffer.flush(job_id)
        return await self._update(job_id, tenant, change, with_exports=with_exports)

    def defer(
        self, key: bytes, job_id: str, tenant: str | None, change: JobChange, *, with_exports: bool = True
    ) -> bool:
        """Buffer a change that failed with :class:`StorageUnavailable`, in memory, until the storage is available.

        It replaces a buffered change of the job with the same ``key``. False if the buffer is full.
        """
        return self._buffer.add(key, BufferedChange(job_id, tenant, change, with_exports))

    async def close(self) -> None:
        """Try once more to store buffered changes."""
        await self._buffer.close()

    async def _update(
        self, job_id: str, tenant: str | None, change: JobChange, *, with_exports: bool
    ) -> JobRecord:
        seen: list[JobRecord] = []

        def noted(job: JobRecord) -> JobRecord | None:
            seen.append(job)
            after = change(job)
            return (
                after if after is None or after is job or not with_exports else self._with_outbox(job, after)
            )

        try:
            after = await self._storage.update_job(job_id, tenant, noted)
        except StorageError:
            self.feed.outcome_unknown()
            raise
        if after is not seen[-1]:
            self._announce(seen[-1], after)
        return after

    async def delete(self, job: JobRecord, tenant: str | None) -> None:
        try:
            await self._storage.delete_job(job.id, tenant)
        except StorageError:
            self.feed.outcome_unknown()
            raise
        self._announce(job, None)

    def _with_outbox(self, before: JobRecord | None, after: JobRecord) -> JobRecord:
        if self._pending_exports is None:
            return after
        return with_pending_exports(after, self._pending_exports(before, after))

    def _announce(self, before: JobRecord | None, after: JobRecord | None) -> None:
        change = JobChanged(before=before, after=after)
        self.feed.publish(change)
        self.rates.changed(change)
        for listener in self._listeners:
            listener(change)

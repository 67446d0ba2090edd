"""The storage as the engine uses it: every committed change is announced to whoever must know."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from evalhub_server.domain.outbox import Debt, with_debts
from evalhub_server.domain.record import JobRecord
from evalhub_server.engine.write_buffer import Deferred, DeferredChanges
from evalhub_server.plugins.hookspecs import JobChanged
from evalhub_server.plugins.storage import JobChange, JobPage, JobQuery, Storage

Listener = Callable[[JobChanged], None]
Debts = Callable[[JobRecord | None, JobRecord], Sequence[Debt]]
"""(before, after) → what the change owes to trackers and exporters. Pure, and it does not raise."""


class JobStore:
    """Reads and writes jobs; tells its listeners, synchronously and in the order of the commits, what changed.

    What a change owes is written with the change, so that nothing is forgotten whenever the server dies.
    """

    def __init__(self, storage: Storage, debts: Debts | None = None) -> None:
        self._storage = storage
        self._debts = debts
        self._listeners: list[Listener] = []
        self._deferred = DeferredChanges(
            lambda each: self._update(each.job_id, each.tenant, each.change, owing=each.owing)
        )

    @property
    def durable(self) -> bool:
        return self._storage.durable

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def add(self, job: JobRecord) -> JobRecord:
        """Store a new job; returns it with what it owes."""
        job = self._indebted(None, job)
        await self._storage.add_job(job)
        self._announce(None, job)
        return job

    async def get(self, job_id: str, tenant: str | None) -> JobRecord:
        return await self._storage.get_job(job_id, tenant)

    async def list(self, query: JobQuery) -> JobPage:
        return await self._storage.list_jobs(query)

    async def open(self) -> list[JobRecord]:
        return await self._storage.open_jobs()

    async def update(
        self, job_id: str, tenant: str | None, change: JobChange, *, owing: bool = True
    ) -> JobRecord:
        """Like :meth:`Storage.update_job`, and announces the change if there was one.

        Unless ``owing``, the change owes nothing to anybody. What :meth:`defer` keeps for the job is stored before.
        """
        if job_id in self._deferred:
            await self._deferred.settle(job_id)
        return await self._update(job_id, tenant, change, owing=owing)

    def defer(
        self, key: bytes, job_id: str, tenant: str | None, change: JobChange, *, owing: bool = True
    ) -> bool:
        """Keep, in memory, a change that :class:`StorageUnavailable` has refused, to be stored when that is over.

        It takes the place of what is kept by the same ``key`` for the job. False if too much is kept already.
        """
        return self._deferred.keep(key, Deferred(job_id, tenant, change, owing))

    async def close(self) -> None:
        """Try to store what is kept, once more."""
        await self._deferred.close()

    async def _update(self, job_id: str, tenant: str | None, change: JobChange, *, owing: bool) -> JobRecord:
        seen: list[JobRecord] = []

        def noted(job: JobRecord) -> JobRecord | None:
            seen.append(job)
            after = change(job)
            return after if after is None or after is job or not owing else self._indebted(job, after)

        after = await self._storage.update_job(job_id, tenant, noted)
        if after is not seen[-1]:
            self._announce(seen[-1], after)
        return after

    async def delete(self, job: JobRecord, tenant: str | None) -> None:
        await self._storage.delete_job(job.id, tenant)
        self._announce(job, None)

    def _indebted(self, before: JobRecord | None, after: JobRecord) -> JobRecord:
        return after if self._debts is None else with_debts(after, self._debts(before, after))

    def _announce(self, before: JobRecord | None, after: JobRecord | None) -> None:
        change = JobChanged(before=before, after=after)
        for listener in self._listeners:
            listener(change)

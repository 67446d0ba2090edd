"""The storage as the engine uses it: every committed change is announced to whoever must know."""

from __future__ import annotations

from collections.abc import Callable

from evalhub_server.domain.record import JobRecord
from evalhub_server.plugins.hookspecs import JobChanged
from evalhub_server.plugins.storage import JobChange, JobPage, JobQuery, Storage

Listener = Callable[[JobChanged], None]


class JobStore:
    """Reads and writes jobs; tells its listeners, synchronously and in the order of the commits, what changed."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._listeners: list[Listener] = []

    @property
    def durable(self) -> bool:
        return self._storage.durable

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def add(self, job: JobRecord) -> None:
        await self._storage.add_job(job)
        self._announce(None, job)

    async def get(self, job_id: str, tenant: str | None) -> JobRecord:
        return await self._storage.get_job(job_id, tenant)

    async def list(self, query: JobQuery) -> JobPage:
        return await self._storage.list_jobs(query)

    async def open(self) -> list[JobRecord]:
        return await self._storage.open_jobs()

    async def update(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        """Like :meth:`Storage.update_job`, and announces the change if there was one."""
        seen: list[JobRecord] = []

        def noted(job: JobRecord) -> JobRecord | None:
            seen.append(job)
            return change(job)

        after = await self._storage.update_job(job_id, tenant, noted)
        if after is not seen[-1]:
            self._announce(seen[-1], after)
        return after

    async def delete(self, job: JobRecord, tenant: str | None) -> None:
        await self._storage.delete_job(job.id, tenant)
        self._announce(job, None)

    def _announce(self, before: JobRecord | None, after: JobRecord | None) -> None:
        change = JobChanged(before=before, after=after)
        for listener in self._listeners:
            listener(change)

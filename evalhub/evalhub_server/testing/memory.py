"""A storage that is nothing but a dict: the contract in its shortest form, and a quick one for tests."""

from __future__ import annotations

from collections.abc import Iterable

from evalhub_server.domain.record import JobRecord
from evalhub_server.errors import AlreadyExists, NotFound
from evalhub_server.plugins.storage import JobChange, JobPage, JobQuery, Storage, Terms


class MemoryStorage(Storage):
    """Keeps jobs until the process ends.

    No method waits for anything, so each is one step of the event loop: nothing can come between or cancel it half-way.
    """

    durable = False
    description = "in memory of the process; lost when it ends"

    def __init__(self) -> None:
        self._jobs: dict[str, JobRecord] = {}

    async def open(self) -> None:
        """Do nothing; there is nothing to connect to."""

    async def close(self) -> None:
        """Do nothing; the jobs stay as long as the object."""

    async def add_job(self, record: JobRecord) -> None:
        if record.id in self._jobs:
            raise AlreadyExists(f"A job {record.id} is stored already; give the new one another id.")
        self._jobs[record.id] = record

    async def get_job(self, job_id: str, tenant: str | None) -> JobRecord:
        record = self._jobs.get(job_id)
        if record is None or tenant not in (None, record.tenant):
            raise NotFound(f"There is no job {job_id}.")
        return record

    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        before = await self.get_job(job_id, tenant)
        after = change(before)
        if after is None:
            return before
        self._jobs[job_id] = after
        return after

    async def list_jobs(self, query: JobQuery) -> JobPage:
        found = [record for record in self._jobs.values() if matches(record, query)]
        found.sort(key=lambda record: (record.created_at, record.id), reverse=True)
        return JobPage(items=found[query.offset : query.offset + query.limit], total_count=len(found))

    async def open_jobs(self) -> list[JobRecord]:
        found = [record for record in self._jobs.values() if record.open]
        return sorted(found, key=lambda record: (record.created_at, record.id))

    async def delete_job(self, job_id: str, tenant: str | None) -> None:
        await self.get_job(job_id, tenant)
        del self._jobs[job_id]


def matches(record: JobRecord, query: JobQuery) -> bool:
    """Say whether a list with this query contains the job."""
    return (
        query.tenant in (None, record.tenant)
        and _allows(query.status, [record.state])
        and _allows(query.name, [record.request.name])
        and _allows(query.tags, record.request.tags)
        and _allows(query.owner, [record.owner])
        and _allows(query.experiment_id, [record.experiment.id if record.experiment else ""])
    )


def _allows(terms: Terms | None, has: Iterable[str]) -> bool:
    if terms is None:
        return True
    hits = [value in set(has) for value in terms.values]
    if terms.negated:
        return not any(hits)
    return all(hits) if terms.every else any(hits)

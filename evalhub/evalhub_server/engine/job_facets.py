"""Facets of lists of jobs: how many jobs have each value of a property."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from evalhub_server.domain import problems
from evalhub_server.domain.facets import facet_values
from evalhub_server.engine.job_creation import KIND
from evalhub_server.engine.job_store import JobStore
from evalhub_server.errors import StorageError
from evalhub_server.models.job_page import JobFacet
from evalhub_server.plugins.storage import JobCounts, JobFacetName, JobQuery

MAX_JOBS = 5_000
"""How many jobs are counted: the newest ones, so that the time does not grow with the number of all jobs."""


class JobFacets:
    """Counts jobs for clients."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def count(
        self, query: JobQuery, names: Sequence[JobFacetName], max_jobs: int = MAX_JOBS
    ) -> tuple[JobFacet, ...]:
        """The facets, each over the newest jobs that all filters except its own select. Raises :class:`ApiError`."""
        others: list[JobFacetName] = [name for name in names if _without_filter(query, name) == query]
        found: dict[JobFacetName, JobCounts] = {}
        try:
            if others:
                counts = await self._store.count(query, others, max_jobs)
                found = dict.fromkeys(others, counts)
            for name in names:
                if name not in found:
                    found[name] = await self._store.count(_without_filter(query, name), [name], max_jobs)
        except StorageError as error:
            raise problems.query_failed(f"{KIND}s", error) from error
        return tuple(_facet(name, found[name]) for name in names)


def _facet(name: JobFacetName, counts: JobCounts) -> JobFacet:
    counted = counts.values[name]
    return JobFacet(name=name, jobs=counts.jobs, distinct=len(counted), values=facet_values(counted))


def _without_filter(query: JobQuery, name: JobFacetName) -> JobQuery:
    if name in ("status", "owner", "tags"):
        return replace(query, **{name: None})
    return replace(query, labels={label: terms for label, terms in query.labels.items() if label != name})

"""The contract of a storage: documents and queries. The rules stay in the domain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import AnyResource, Kind
from evalhub_server.errors import StorageError

JobChange = Callable[[JobRecord], JobRecord | None]
"""A pure function that returns the changed record; the same object or None leaves it unchanged."""

ResourceChange = Callable[[AnyResource], AnyResource | None]
"""Like :data:`JobChange`, for a provider or collection."""


OnRecord = Callable[[JobRecord | AnyResource], object]
"""What :meth:`Storage.examine` calls with each record."""

Sort = Literal["created_at", "updated_at", "name", "curation_order", "catalog"]
"""Sort keys of :class:`ResourceQuery`."""


class Terms(Struct, kw_only=True, frozen=True):
    """One filter. A record matches if its field has any of ``values``; ``every``: all of them; ``negated``: none.

    ``every`` with several values matches nothing on a field that has one value.
    """

    values: tuple[str, ...]
    every: bool = False
    negated: bool = False

    def allows(self, values: Collection[str]) -> bool:
        """Whether a record matches whose field has ``values``."""
        found = [value in values for value in self.values]
        if self.negated:
            return not any(found)
        return all(found) if self.every else any(found)


JobSort = Literal["created_at", "name", "duration", "score"]
"""Sort keys of :class:`JobQuery`."""


class JobQuery(Struct, kw_only=True, frozen=True):
    """A page of a list of jobs, by default the newest first.

    ``tenant`` None selects all tenants. ``limit`` and ``offset`` are not negative. A job must match all filters.
    ``labels`` has filters by the keys of :attr:`JobRecord.labels`; a job has no values for other keys. ``name_prefix`` is at
    most 100 characters long. ``created_after`` includes that moment, ``created_before`` does not.

    Ties of ``sort`` are sorted by ``created_at`` and then by id, all in the direction of ``descending``. Names are compared by
    code point. Jobs without a duration or score come last in either direction.
    """

    tenant: str | None = None
    limit: int = 50
    offset: int = 0
    status: Terms | None = None
    name: Terms | None = None
    tags: Terms | None = None
    owner: Terms | None = None
    experiment_id: Terms | None = None
    labels: dict[str, Terms] = {}
    name_prefix: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None
    pinned: bool | None = None
    sort: JobSort = "created_at"
    descending: bool = True


class JobPage(Struct, kw_only=True, frozen=True):
    """``items`` of the page, and ``total_count`` of all records that match the query."""

    items: list[JobRecord]
    total_count: int


JobFacetName = Literal[
    "status",
    "owner",
    "tags",
    "model_name",
    "model_url",
    "provider_id",
    "benchmark_id",
    "collection_id",
    "experiment_name",
]
"""Properties of jobs that :meth:`Storage.count_jobs` counts by; each has the name of its filter."""


class JobCounts(Struct, kw_only=True, frozen=True):
    """How many jobs were counted, and for each facet how many of them have each value, without empty values."""

    jobs: int
    values: dict[str, dict[str, int]]


class ResourceQuery(Struct, kw_only=True, frozen=True):
    """A page of a list of providers or collections. A resource must match all filters.

    ``tenant`` None selects all resources; otherwise that tenant's and the system's. ``system`` True selects only the
    system's, False all others. ``category`` of a provider is empty. ``labels`` has filters by the keys of
    :func:`resource_labels`; a resource has no values for other keys.

    ``sort`` compares names by code point. ``curation_order`` sorts by that and then by ``pinned_order``, both in the
    direction of ``descending``; zero means unranked and comes last in either direction (providers are unranked). ``catalog`` sorts
    the system's resources before all others, and then by ``curation_order`` ascending, in either direction. Ties are
    sorted by ``created_at`` descending, then id ascending, in either direction. ``limit`` and ``offset`` are not negative.
    """

    kind: Kind
    tenant: str | None = None
    limit: int = 50
    offset: int = 0
    system: bool | None = None
    name: Terms | None = None
    owner: Terms | None = None
    category: Terms | None = None
    labels: dict[str, Terms] = {}
    sort: Sort = "created_at"
    descending: bool = True


class ResourcePage(Struct, kw_only=True, frozen=True):
    """``items`` of the page, and ``total_count`` of all records that match the query."""

    items: list[AnyResource]
    total_count: int


_COUNTED_PAGE = 500


class Storage(ABC):
    """A database of jobs, providers and collections.

    Methods are called from one event loop, concurrently. A cancelled call never leaves a transaction open and never
    undoes another caller's write: a write happens either completely or not at all. ``tenant`` None is any tenant;
    otherwise a record of another tenant is treated as absent.

    Failures raise :class:`StorageError`; :class:`StorageUnavailable` if the same request may succeed later (a full
    disk, a lock, a database server that is down); :class:`StorageLost` if no write can succeed before the server was
    started again, because the database was removed, replaced or damaged.
    """

    durable: bool
    """Whether records survive the end of the process."""

    description: str
    """The location of the database, for the start-up log, without secrets."""

    @abstractmethod
    async def open(self) -> None:
        """Connect and migrate the schema. Called once, before all other methods.

        Raises:
            StartupError: that is not possible; the text names the remedy.
        """

    async def verify(self) -> None:
        """Check that the database is still the one that was opened. Called every few seconds; must be cheap.

        A storage that can lose its database without noticing, such as a file that is removed while it is open, checks the
        same before it returns from a write. The default is for storages whose every write finds out, such as those of
        database servers.

        Raises:
            StorageLost: it is not. The server then logs the text and exits with an error.
        """
        return

    @abstractmethod
    async def close(self) -> None:
        """Finish pending writes and disconnect. Idempotent."""

    local_file: Path | None = None
    """The database, if it is a file on this host."""

    async def size_bytes(self) -> int | None:
        """The space that the open database occupies; None if that is unknown. Raises :class:`StorageError`."""
        return None

    async def backup(self, target: Path) -> None:
        """Write all records, as of one moment, to the new file ``target``. Not called on an open storage.

        A server may be using the database meanwhile and must not have to wait for it. The file is a complete copy with its own
        format, and private to the user.

        Raises:
            StorageError: that is not possible; by default, because the storage has no backups of its own.
        """
        raise StorageError(
            f"This storage has no backups of its own ({self.description}). Use the database's tools."
        )

    async def restore(self, source: Path) -> None:
        """Fill an empty or missing database with the records of a file of :meth:`backup`. Not called on an open storage.

        Either all records are restored or none.

        Raises:
            StorageError, StartupError: the database is not empty, or the file cannot be restored.
        """
        raise StorageError(
            f"This storage has no backups of its own ({self.description}). Use the database's tools."
        )

    async def examine(self, source: Path | None, on_record: OnRecord) -> list[str]:
        """Check the database, or the file ``source`` of :meth:`backup`; returns what is wrong, one text for each fault.

        Calls ``on_record`` with every record that can be decoded, perhaps in another thread. Not called on an open storage; a
        server may be using the database meanwhile.

        Raises:
            StorageError: nothing can be read.
        """
        raise StorageError(f"This storage cannot be examined ({self.description}). Use the database's tools.")

    @abstractmethod
    async def add_job(self, record: JobRecord) -> None:
        """Store a new job. Returns when it is as durable as this storage makes it.

        Raises:
            AlreadyExists: a job with that id is stored.
        """

    @abstractmethod
    async def get_job(self, job_id: str, tenant: str | None) -> JobRecord:
        """Return the job; the object of an earlier write may be returned again.

        Raises:
            NotFound: no such job of that tenant is stored.
        """

    @abstractmethod
    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        """Read, change and write a job atomically, and return the new record.

        ``change`` is called once with the current record, on the event loop. If it raises, nothing is written and the
        exception propagates. It must keep ``id``, ``tenant``, ``owner`` and ``created_at``.

        Raises:
            NotFound: no such job of that tenant is stored.
            StorageError: the changed record cannot be stored.
        """

    @abstractmethod
    async def list_jobs(self, query: JobQuery) -> JobPage:
        """Return one page of jobs."""

    async def count_jobs(self, query: JobQuery, facets: Sequence[JobFacetName], max_jobs: int) -> JobCounts:
        """Count the newest ``max_jobs`` jobs that match, by their values of each facet.

        The page and the order of ``query`` do not matter. A job with several values counts for each of them. The default reads
        the jobs; a storage that has the values in an index should use it.
        """
        counted: dict[str, Counter[str]] = {facet: Counter() for facet in facets}
        newest = replace(query, sort="created_at", descending=True)
        jobs = 0
        while jobs < max_jobs:
            limit = min(_COUNTED_PAGE, max_jobs - jobs)
            page = await self.list_jobs(replace(newest, limit=limit, offset=jobs))
            for job in page.items:
                values = {
                    "status": (job.state.value,),
                    "owner": (job.owner,),
                    "tags": job.request.tags,
                    **job.labels,
                }
                for facet, counts in counted.items():
                    counts.update(filter(None, dict.fromkeys(values.get(facet, ()))))
            jobs += len(page.items)
            if len(page.items) < limit:
                break
        return JobCounts(jobs=jobs, values={facet: dict(counts) for facet, counts in counted.items()})

    @abstractmethod
    async def open_jobs(self) -> list[JobRecord]:
        """Return all jobs with ``record.open``, of all tenants, oldest first. Called once, at start-up."""

    @abstractmethod
    async def delete_job(self, job_id: str, tenant: str | None) -> None:
        """Delete the job.

        Raises:
            NotFound: no such job of that tenant is stored.
        """

    @abstractmethod
    async def add_resource(self, record: AnyResource) -> None:
        """Store a new provider or collection.

        Raises:
            AlreadyExists: a resource of that kind and id is stored.
        """

    @abstractmethod
    async def get_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> AnyResource:
        """Return a provider or collection of the tenant or the system.

        Raises:
            NotFound: there is none.
        """

    @abstractmethod
    async def update_resource(
        self, kind: Kind, resource_id: str, tenant: str | None, change: ResourceChange
    ) -> AnyResource:
        """Change a resource like :meth:`update_job`. A ``change`` that is not allowed for the system's raises.

        A change that keeps ``config`` and the sort keys, such as of ``run_count``, is cheap.
        """

    @abstractmethod
    async def list_resources(self, query: ResourceQuery) -> ResourcePage:
        """Return one page of providers or collections, from one consistent state: before or after :meth:`replace_system`."""

    @abstractmethod
    async def delete_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> None:
        """Delete a resource of a tenant. Jobs that ran with it are kept.

        Raises:
            NotFound: there is none, or it is the system's: only :meth:`replace_system` deletes those.
        """

    @abstractmethod
    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        """Replace all resources of the system, of both kinds, by ``records``, atomically.

        A stored resource is replaced as :func:`merge_system_resource` defines it: it keeps its ``created_at`` and
        ``run_count``, and its ``updated_at`` if its ``config`` is the same. The last of several records with one kind and
        id counts. If a tenant's resource has the id of a record, the tenant's is kept and the record is skipped; the caller
        finds skipped records with :meth:`get_resource`.
        """

"""The contract of a storage: documents and queries. The rules stay in the domain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import AnyResource, Kind

JobChange = Callable[[JobRecord], JobRecord | None]
"""A pure function of the domain. Returning the same object, or None, means: nothing to write."""

ResourceChange = Callable[[AnyResource], AnyResource | None]
"""The same for a provider or collection."""


Sort = Literal["created_at", "updated_at", "name", "curation_order"]


class Terms(Struct, kw_only=True, frozen=True):
    """One filter: the values that match. ``every``: all of them must (tags); otherwise any. ``negated``: none may.

    ``every`` with several values on a field that has one value matches nothing.
    """

    values: tuple[str, ...]
    every: bool = False
    negated: bool = False


class JobQuery(Struct, kw_only=True, frozen=True):
    """Which jobs, newest first (``created_at`` descending, then id descending). ``tenant`` None sees all tenants.

    ``limit`` and ``offset`` are not negative.
    """

    tenant: str | None = None
    limit: int = 50
    offset: int = 0
    status: Terms | None = None
    name: Terms | None = None
    tags: Terms | None = None
    owner: Terms | None = None
    experiment_id: Terms | None = None


class JobPage(Struct, kw_only=True, frozen=True):
    """``items`` of the page and ``total_count`` of all that match the query."""

    items: list[JobRecord]
    total_count: int


class ResourceQuery(Struct, kw_only=True, frozen=True):
    """Which providers or collections. ``tenant`` None sees all; otherwise that tenant's and the system's.

    ``system`` True or False: only, or none, of the system's. ``category``: a provider's is empty. ``labels``: terms by
    the names of :func:`evalhub_server.domain.resource.labels`; a resource has none by any other name.

    ``sort``: names by code point. ``curation_order`` is that and then ``pinned_order``, both in the direction of
    ``descending``; zero is no place, so it comes last in either direction (a provider has none). Ties by
    ``created_at`` descending, then id ascending, whatever the direction. ``limit`` and ``offset`` are not negative.
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
    """``items`` of the page and ``total_count`` of all that match the query."""

    items: list[AnyResource]
    total_count: int


class Storage(ABC):
    """Keeps jobs, providers and collections.

    Methods are called from one event loop, concurrently. A caller that is cancelled never leaves a transaction
    open and never undoes another caller's write: a write either happens whole or not at all. ``tenant`` None means
    "whoever's"; otherwise a record of another tenant is as good as absent. Faults raise :class:`StorageError`:
    :class:`StorageUnavailable` if nothing is wrong with what was asked, so that it is worth being asked again (a full
    disk, a lock, a database server that is away).
    """

    durable: bool
    """Does what is stored outlive the process?"""

    description: str
    """Where it is, for the start-up log, without secrets."""

    @abstractmethod
    async def open(self) -> None:
        """Connect and bring the schema up to date. Raise :class:`StartupError` with a hint if that cannot be."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what is being written, then disconnect. Idempotent."""

    @abstractmethod
    async def add_job(self, record: JobRecord) -> None:
        """Store a new job; returns when it is as safe as this storage makes it. Raises :class:`AlreadyExists`."""

    @abstractmethod
    async def get_job(self, job_id: str, tenant: str | None) -> JobRecord:
        """Return the job. Raises :class:`NotFound`. May return the very object that a write left."""

    @abstractmethod
    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        """Read, change, write, as one step that no other update of this job can come between.

        ``change`` is called once with the current record, on the event loop; what it raises is raised here and
        nothing is written. It must keep ``id``, ``tenant``, ``owner`` and ``created_at``. Returns the record as it
        is now. Raises :class:`NotFound`, and :class:`StorageError` for a record that cannot be stored.
        """

    @abstractmethod
    async def list_jobs(self, query: JobQuery) -> JobPage:
        """Return one page of jobs."""

    @abstractmethod
    async def open_jobs(self) -> list[JobRecord]:
        """Return every job whose ``record.open`` is true, of all tenants, oldest first."""

    @abstractmethod
    async def delete_job(self, job_id: str, tenant: str | None) -> None:
        """Forget the job. Raises :class:`NotFound`."""

    @abstractmethod
    async def add_resource(self, record: AnyResource) -> None:
        """Store a new provider or collection. Raises :class:`AlreadyExists` if its kind has one of that id."""

    @abstractmethod
    async def get_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> AnyResource:
        """Return it if it is the tenant's or the system's. Raises :class:`NotFound`."""

    @abstractmethod
    async def update_resource(
        self, kind: Kind, resource_id: str, tenant: str | None, change: ResourceChange
    ) -> AnyResource:
        """Like :meth:`update_job`. The system's are visible to every tenant; whether they may change, ``change`` says.

        A change that keeps ``config`` and what lists sort by, such as one more run, is cheap.
        """

    @abstractmethod
    async def list_resources(self, query: ResourceQuery) -> ResourcePage:
        """Return one page of providers or collections, all of one state: of a :meth:`replace_system`, all or nothing."""

    @abstractmethod
    async def delete_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> None:
        """Forget it. Raises :class:`NotFound`, for the system's too: they go with :meth:`replace_system` only.

        Jobs that ran with it are not touched.
        """

    @abstractmethod
    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        """Make ``records``, of both kinds, all that the system has, in one step that no read sees half done.

        What is stored already becomes what :func:`evalhub_server.domain.resource.merge_system_resource` says: it keeps its
        ``created_at`` and its ``run_count``, and its ``updated_at`` if its ``config`` is the same. Of several records
        of one kind and id the last counts. An id that a tenant's resource has already stays the tenant's; the system's
        record is then left out and returned nowhere: the caller logs what :meth:`get_resource` does not find.
        """

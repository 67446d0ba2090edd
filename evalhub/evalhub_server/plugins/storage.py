"""The contract of a storage: documents and queries. The rules stay in the domain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from msgspec import Struct

from evalhub_server.domain.record import JobRecord

JobChange = Callable[[JobRecord], JobRecord | None]
"""A pure function of the domain. Returning the same object, or None, means: nothing to write."""


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


class Storage(ABC):
    """Keeps jobs.

    Methods are called from one event loop, concurrently. A caller that is cancelled never leaves a transaction
    open and never undoes another caller's write: a write either happens whole or not at all. ``tenant`` None means
    "whoever's"; otherwise a record of another tenant is as good as absent. Faults raise :class:`StorageError`.
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

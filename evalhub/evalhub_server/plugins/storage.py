"""The contract of a storage: documents and queries. The rules stay in the domain."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from evalhub_server.domain.record import JobRecord
from evalhub_server.errors import StorageError
from evalhub_server.plugins.storage_resources import ResourceStorage
from evalhub_server.plugins.storage_types import (
    JobChange,
    JobCounts,
    JobFacetName,
    JobPage,
    JobQuery,
    JobSort,
    OnRecord,
    ResourceChange,
    ResourcePage,
    ResourceQuery,
    Sort,
    Terms,
)

__all__ = [
    "JobChange",
    "JobCounts",
    "JobFacetName",
    "JobPage",
    "JobQuery",
    "JobSort",
    "OnRecord",
    "ResourceChange",
    "ResourcePage",
    "ResourceQuery",
    "Sort",
    "Storage",
    "Terms",
]

_COUNTED_PAGE = 500


class Storage(ResourceStorage):
    """A database of jobs, providers, collections and baselines.

    Methods are called from one event loop, concurrently, and must not block it for more than 0.2 seconds. A cancelled call never
    leaves a transaction open and never undoes another caller's write: a write happens either completely or not at all. ``tenant``
    None is any tenant; otherwise a record of another tenant is treated as absent. Texts and numbers are kept exactly; ids, names
    and tenants are compared by code point. Ids are unique among all tenants. Lists belong to the caller, who may change them.

    Failures raise :class:`StorageError`; :class:`StorageUnavailable` if the same request may succeed later (a full
    disk, a lock, a database server that is down); :class:`StorageLost` if no write can succeed before the server was
    started again, because the database was removed, replaced or damaged. Clients get 503 for the last two, and 500 for others. Anything
    else that is raised is a fault of the storage: clients get 500, and a background task that meets it may stop until the server is
    started again. Events of adapters and the server's own changes of jobs are kept in memory after a
    :class:`StorageUnavailable`, and stored again after pauses of 0.2 to 5 seconds. Calls for a client are not cancelled when that
    disconnects, but 1 second after the server began to stop.
    """

    durable: bool
    """Whether records survive the end of the process."""

    description: str
    """The location of the database, for the start-up log, without secrets."""

    local_file: Path | None = None
    """The database, if it is a file on this host."""

    @abstractmethod
    async def open(self) -> None:
        """Connect and migrate the schema.

        Called: once at start, before all other methods; but see :meth:`backup`, :meth:`restore` and :meth:`examine`.
        Concurrency: nothing else of the storage runs. Another process may have the same database open: lock it, or be a
            :class:`SharedStorage`.
        Repeats: each start of a server, on what an earlier server has left, also in mid write.
        Cancellation: never.
        Failure: the server exits with status 1, after a StartupError with its text alone. :meth:`close` is not called.
        Time limit: none; all requests but those for health wait for it.

        Raises:
            StartupError: that is not possible; the text names the remedy.
        """

    async def verify(self) -> None:
        """Check that the database is still the one that was opened. Must be cheap.

        A storage that can lose its database without noticing, such as a file that is removed while it is open, checks the
        same before it returns from a write. The default is for storages whose every write finds out, such as those of
        database servers.

        Called: every 2 seconds, from the start to the end of the server.
        Concurrency: one call at a time, beside all other methods.
        Repeats: reads only.
        Cancellation: when the server stops.
        Failure: anything but a StorageLost is logged as a warning.
        Time limit: none.

        Raises:
            StorageLost: it is not. The server then logs the text, refuses requests and exits with an error.
        """
        return

    @abstractmethod
    async def close(self) -> None:
        """Finish pending writes and disconnect.

        Called: at the end of the server, as the last of its parts.
        Concurrency: nothing else of the storage runs.
        Repeats: idempotent, also before :meth:`open`.
        Cancellation: never.
        Failure: the server exits with status 1.
        Time limit: none; a service manager may kill the server.
        """

    async def size_bytes(self) -> int | None:
        """The space that the open database occupies; None if that is unknown. Raises :class:`StorageError`.

        Called: when metrics or the page about the server are read, at most every 300 seconds.
        Concurrency: one call at a time, beside all other methods.
        Repeats: reads only.
        Cancellation: when the server stops.
        Failure: after a StorageError the size is left out of the metrics.
        Time limit: none.
        """
        return None

    async def backup(self, target: Path) -> None:
        """Write all records, as of one moment, to the new file ``target``.

        The file is a complete copy with its own format, and private to the user.

        Called: by the command ``backup``, on a storage that is not open; again if files were deleted meanwhile (at most 5 times).
        Concurrency: a server may be using the database and must not have to wait for it.
        Repeats: each time with a new target.
        Cancellation: by a signal; the incomplete target is removed.
        Failure: the command fails with the text.
        Time limit: none.

        Raises:
            StorageError: that is not possible; by default, because the storage has no backups of its own.
        """
        raise StorageError(
            f"This storage has no backups of its own ({self.description}). Use the database's tools."
        )

    async def restore(self, source: Path) -> None:
        """Fill an empty or missing database with the records of a file of :meth:`backup`: either all of them or none.

        Called: once by the command ``restore``, on a storage that is not open.
        Concurrency: no server uses the database.
        Repeats: after a failure, with an empty database.
        Cancellation: by a signal; nothing is restored.
        Failure: the command fails with the text.
        Time limit: none.

        Raises:
            StorageError, StartupError: the database is not empty, or the file cannot be restored.
        """
        raise StorageError(
            f"This storage has no backups of its own ({self.description}). Use the database's tools."
        )

    async def examine(self, source: Path | None, on_record: OnRecord) -> list[str]:
        """Check the database, or the file ``source`` of :meth:`backup`; returns what is wrong, one text for each fault.

        Calls ``on_record`` with every record that can be decoded, perhaps in another thread.

        Called: by the commands ``backup``, ``restore`` and ``verify``, on a storage that is not open.
        Concurrency: a server may be using the database.
        Repeats: reads only.
        Cancellation: by a signal.
        Failure: the command fails with the text.
        Time limit: none.

        Raises:
            StorageError: nothing can be read.
        """
        raise StorageError(f"This storage cannot be examined ({self.description}). Use the database's tools.")

    @abstractmethod
    async def add_job(self, record: JobRecord) -> None:
        """Store a new job. Returns when it is as durable as this storage makes it.

        Called: once for each job that a client creates or repeats; the client waits.
        Concurrency: overlaps with everything; two calls with one id may overlap, of which one succeeds.
        Repeats: refused with AlreadyExists.
        Cancellation: when the server stops. The job may be stored or not.
        Failure: the job is not created; see the class for the answer.
        Time limit: none.

        Raises:
            AlreadyExists: a job with that id is stored.
        """

    @abstractmethod
    async def get_job(self, job_id: str, tenant: str | None) -> JobRecord:
        """Return the job; the object of an earlier write may be returned again.

        Called: for most requests about a job, by background tasks, and to check the storage when health or readiness are read
            (an id that does not exist).
        Concurrency: overlaps with everything; returns the last committed record.
        Repeats: reads only.
        Cancellation: when the server stops.
        Failure: see the class; background tasks retry.
        Time limit: none; a check that takes longer than 0.8 seconds is reported as ``unavailable``.

        Raises:
            NotFound: no such job of that tenant is stored.
        """

    @abstractmethod
    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        """Read, change and write a job atomically, and return the new record.

        ``change`` is called with the current record, on the event loop, and must keep ``id``, ``tenant``, ``owner`` and
        ``created_at``. If it raises, nothing is written and the exception propagates. It may be called
        again, if its result could not be written beside what others wrote; the last call counts.

        Called: for each event of an adapter, and each step of a job and its exports.
        Concurrency: overlaps with everything. Updates of one job come one after the other: each sees the result of the one before.
        Repeats: a change that returns the same object, or None, writes nothing.
        Cancellation: when the server stops. The change is written or not.
        Failure: nothing is written; see the class.
        Time limit: none.

        Raises:
            NotFound: no such job of that tenant is stored.
            StorageError: the changed record cannot be stored.
        """

    @abstractmethod
    async def list_jobs(self, query: JobQuery) -> JobPage:
        """Return one page of jobs. Items and total count are of one state of the database.

        Called: for lists of jobs, and by the retention policy for all of them, 100 at a time.
        Concurrency: overlaps with everything.
        Repeats: reads only.
        Cancellation: when the server stops.
        Failure: see the class.
        Time limit: none.
        """

    async def count_jobs(self, query: JobQuery, facets: Sequence[JobFacetName], max_jobs: int) -> JobCounts:
        """Count the newest ``max_jobs`` jobs that match, by their values of each facet.

        The page and the order of ``query`` do not matter. A job with several values counts for each of them. The default reads
        the jobs; a storage that has the values in an index should use it.

        Called: for the filters of the list of jobs.
        Concurrency: overlaps with everything; the counts need not be of one state of the database.
        Repeats: reads only.
        Cancellation: when the server stops.
        Failure: see the class.
        Time limit: none.
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
        """Return all jobs with ``record.open``, of all tenants, oldest first.

        Called: several times at start, by each part that continues with them; with a shared storage also when this server begins
            to lead and after each :class:`Gap`.
        Concurrency: overlaps with everything.
        Repeats: reads only.
        Cancellation: when the server stops.
        Failure: the server does not start; with a shared storage it retries after 5 seconds.
        Time limit: none.
        """

    @abstractmethod
    async def delete_job(self, job_id: str, tenant: str | None) -> None:
        """Delete the job.

        Called: when a client or the retention policy deletes a job, after its workloads and files are removed.
        Concurrency: overlaps with everything.
        Repeats: refused with NotFound.
        Cancellation: when the server stops. The job is deleted or not.
        Failure: the job is kept; see the class.
        Time limit: none.

        Raises:
            NotFound: no such job of that tenant is stored.
        """

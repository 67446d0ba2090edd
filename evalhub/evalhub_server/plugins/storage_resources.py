"""The part of a storage's contract that is about providers, collections and baselines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from evalhub_server.domain.resource import AnyResource, Kind
from evalhub_server.plugins.storage_types import ResourceChange, ResourcePage, ResourceQuery


class ResourceStorage(ABC):
    """The resources of a :class:`Storage`: providers, collections and baselines."""

    @abstractmethod
    async def add_resource(self, record: AnyResource) -> None:
        """Store a new provider, collection or baseline.

        Called: when a client creates one.
        Concurrency: overlaps with everything, as :meth:`add_job`.
        Repeats: refused with AlreadyExists.
        Cancellation: as :meth:`add_job`.
        Failure: nothing is stored; see the class.
        Time limit: none.

        Raises:
            AlreadyExists: a resource of that kind and id is stored.
        """

    @abstractmethod
    async def get_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> AnyResource:
        """Return a provider, collection or baseline of the tenant or the system.

        Called: for requests about it, and for each provider and collection of a job that is created.
        Concurrency: overlaps with everything; returns the last committed record.
        Repeats: reads only.
        Cancellation: when the server stops.
        Failure: see the class.
        Time limit: none.

        Raises:
            NotFound: there is none.
        """

    @abstractmethod
    async def update_resource(
        self, kind: Kind, resource_id: str, tenant: str | None, change: ResourceChange
    ) -> AnyResource:
        """Change a resource like :meth:`update_job`. A ``change`` that is not allowed for the system's raises.

        A change that keeps ``config`` and the sort keys, such as of ``run_count``, is cheap.

        Called: when a client changes one, and for each job that runs a collection (``run_count``).
        Concurrency: as :meth:`update_job`.
        Repeats: as :meth:`update_job`.
        Cancellation: as :meth:`update_job`.
        Failure: nothing is written; see the class. A run that is not counted is only logged.
        Time limit: none.
        """

    @abstractmethod
    async def list_resources(self, query: ResourceQuery) -> ResourcePage:
        """Return one page of providers, collections or baselines, from one consistent state: before or after :meth:`replace_system`.

        Called: for lists of them.
        Concurrency: overlaps with everything.
        Repeats: reads only.
        Cancellation: when the server stops.
        Failure: see the class.
        Time limit: none.
        """

    @abstractmethod
    async def delete_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> None:
        """Delete a resource of a tenant. Jobs that ran with it are kept.

        Called: when a client deletes one.
        Concurrency: overlaps with everything.
        Repeats: refused with NotFound.
        Cancellation: when the server stops. It is deleted or not.
        Failure: it is kept; see the class.
        Time limit: none.

        Raises:
            NotFound: there is none, or it is the system's: only :meth:`replace_system` deletes those.
        """

    @abstractmethod
    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        """Replace all resources of the system, providers and collections, by ``records``, atomically.

        A stored resource is replaced as :func:`merge_system_resource` defines it: it keeps its ``created_at`` and
        ``run_count``, and its ``updated_at`` if its ``config`` is the same. The last of several records with one kind and
        id counts. If a tenant's resource has the id of a record, the tenant's is kept and the record is skipped; the caller
        finds skipped records with :meth:`get_resource`.

        Called: at start, or when this server begins to lead, and when a provider or collection file changes.
        Concurrency: one call at a time, beside all other methods.
        Repeats: the same records again change nothing.
        Cancellation: when the server stops. All records are replaced or none.
        Failure: at start the server exits with status 1; later, after a StorageError, the former ones are kept and the call is
            repeated.
        Time limit: none.
        """

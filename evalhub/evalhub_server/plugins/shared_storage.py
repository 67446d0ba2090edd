"""The contract of a storage that several servers use at once: one of them leads, all of them read and write."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator
from typing import Literal

from msgspec import Struct

from evalhub_server.plugins.storage import Storage


class Lease(Struct, kw_only=True, frozen=True):
    """The right to lead, held by one server at a time.

    ``epoch`` increases with every acquisition and never repeats. ``holder`` is the ``server_id`` of the leader.
    ``expires_in_s`` was measured by the clock of the database when the lease was acquired, renewed or read.
    """

    epoch: int
    holder: str
    expires_in_s: float


class CommittedChange(Struct, kw_only=True, frozen=True):
    """A record that another server has written or deleted. ``writer`` is its ``server_id``.

    ``position`` resumes the feed after this change; see :meth:`SharedStorage.changes`.
    """

    kind: Literal["job", "provider", "collection", "baseline"]
    id: str
    tenant: str
    deleted: bool
    writer: str
    position: str


class Gap(Struct, kw_only=True, frozen=True):
    """Changes before ``position`` are unknown: every record may have changed."""

    position: str


class LeaseChanged(Struct, frozen=True):
    """Another server has acquired or released the lease, or may have. Renewals and expiry are not reported."""


FeedItem = CommittedChange | Gap | LeaseChanged
"""What :meth:`SharedStorage.changes` yields."""


class SharedStorage(Storage):
    """A storage that several servers may have open at once, each with an instance of its own.

    Every write is visible to the reads of all servers when it returns: :meth:`get_job` never returns a record that is older
    than the stored one at the time of the call.

    The server with the lease leads. Its supervising writes go through :meth:`fenced`, so that a former leader which does not
    know yet that it was replaced, for example because its host was suspended, cannot write them. A lease lasts 6 seconds and is
    renewed every 2 seconds; a leader that cannot renew it stops to supervise 1 second before it expires.

    The lease and the feed are used if the runtime runs nothing on this host (:attr:`Runtime.on_this_host`); with other runtimes it is
    an ordinary storage.
    """

    server_id: str
    """Identifies this instance; different for every one, and readable in logs and health reports."""

    async def check(self) -> None:
        """Look for what prevents servers from using the database, without changing it.

        Called: by ``eval-hub-server check``, on a storage that is not open, in an event loop of its own.
        Concurrency: servers may be using the database.
        Repeats: reads only. The default finds nothing.
        Cancellation: by a signal.
        Failure: a StartupError is reported as an error, a StorageError as a warning; anything else ends the command.
        Time limit: none.

        Raises:
            StartupError: the database cannot be used; the text names the remedy.
            StorageError: the database could not be examined.
        """
        return

    @abstractmethod
    async def acquire_lease(self, duration_s: float) -> Lease | None:
        """Acquire the lease, with a new epoch, if it is free, expired or of this instance.

        Returns None if another server holds it, or if writes of its former holder are not finished yet.
        After it has returned a lease, no write with an earlier one is committed.

        Called: at start, and then by a server that does not lead every 1 second, and at once when the feed reports a
            :class:`LeaseChanged`.
        Concurrency: one call at a time on one server; servers compete.
        Repeats: by the holder, a new epoch.
        Cancellation: when the server stops.
        Failure: any exception is logged, and the call is repeated.
        Time limit: none, but a lease whose acquisition took longer than it lasts is lost at once.
        """

    @abstractmethod
    async def renew_lease(self, lease: Lease, duration_s: float) -> Lease:
        """Extend the lease to ``duration_s`` from now. Returns or fails within a few seconds.

        Called: by the leader every 2 seconds, and 0.25 seconds after a failure.
        Concurrency: one call at a time, beside all other methods.
        Repeats: extends the lease again.
        Cancellation: when the lease can no longer be renewed in time, or the server stops.
        Failure: anything but a LeadershipLost is logged, and the call is repeated until the lease is about to expire.
        Time limit: until 1 second before the lease expires.

        Raises:
            LeadershipLost: it has expired, was released, or another server has acquired it. The server stops to supervise.
        """

    @abstractmethod
    async def release_lease(self, lease: Lease) -> None:
        """Let another server lead at once. Does nothing if the lease is lost already.

        Called: by a leader that stops, after everything that supervises is closed, or whose supervision could not be started.
        Concurrency: other servers wait for it.
        Repeats: idempotent.
        Cancellation: after the time limit.
        Failure: a StorageError is logged; the lease then expires.
        Time limit: 2 seconds.
        """

    @abstractmethod
    async def current_lease(self) -> Lease | None:
        """Return the lease of whichever server holds it; None if there is none or it has expired.

        Called: by a server that does not lead, when a client cancels or deletes a job, each 1 second until its workloads are stopped.
        Concurrency: overlaps with everything.
        Repeats: reads only.
        Cancellation: when the server stops.
        Failure: after a StorageError a leader is assumed to exist; anything else answers the client with 500.
        Time limit: none.
        """

    @abstractmethod
    def fenced(self, lease: Lease) -> Storage:
        """Return the same open storage with writes that are valid only under this lease.

        Each write checks, in its own transaction, that the lease is unexpired and the newest one. Reads are not checked. The view
        is not opened or closed itself.

        Called: once after each :meth:`acquire_lease` that returned a lease.
        Concurrency: its methods overlap with those of this storage.
        Repeats: views of different leases are independent.
        Cancellation: never; it is a plain function.
        Failure: the server does not lead, and retries after 5 seconds.
        Time limit: none; it must not block.

        Raises (each write):
            LeadershipLost: nothing was written.
        """

    @abstractmethod
    def changes(self, after: str | None) -> AsyncGenerator[FeedItem]:
        """Follow what other servers commit, from the position ``after`` of an earlier item; without end.

        No commit of another server is left out. Commits of this one, through this instance or its fenced views, are not
        reported. Changes of one record are in the order of their commits; several commits may be reported as one. After a
        resumption, a change may be repeated; the first item is then a :class:`LeaseChanged`, as soon as the feed is connected.

        With None, or with a position that is too old or unknown, the first item is a :class:`Gap`: a reader that then reads the
        records misses nothing. A later gap is possible, too.

        Called: once at start, with None, and after each failure with the last position.
        Concurrency: beside all other methods. Several feeds of one instance are independent.
        Repeats: see above.
        Cancellation: when the server stops. The iterator is closed.
        Failure: any exception is logged, and the call is repeated after 0.1 to 2 seconds; meanwhile this server's answers may be
            behind.
        Time limit: the first item must arrive within 30 seconds of the start, else the server does not start.

        Raises:
            StorageUnavailable: the connection is lost; within seconds.
        """

"""In-memory reference of a storage that several servers share: instances on one :class:`SharedMemory`."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Literal

from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import AnyResource, Kind, kind_of
from evalhub_server.errors import LeadershipLost, StorageUnavailable
from evalhub_server.plugins.shared_storage import (
    CommittedChange,
    FeedItem,
    Gap,
    Lease,
    LeaseChanged,
    SharedStorage,
)
from evalhub_server.plugins.storage import (
    JobChange,
    JobPage,
    JobQuery,
    ResourceChange,
    ResourcePage,
    ResourceQuery,
    Storage,
)
from evalhub_server.testing.memory import MemoryStorage

_numbers = count(1)


class SharedMemory:
    """The records, the lease and the last ``max_changes`` changes. ``clock`` returns seconds and decides on expiry."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_changes: int = 1000) -> None:
        self.jobs: dict[str, JobRecord] = {}
        self.resources: dict[tuple[Kind, str], AnyResource] = {}
        self._clock = clock
        self._epoch = 0
        self._holder = ""
        self._expires_at = 0.0
        self._items: deque[tuple[int, str, FeedItem]] = deque(maxlen=max_changes)
        self._last = 0
        self._waiting: set[asyncio.Event] = set()

    def acquire(self, server_id: str, duration_s: float) -> Lease | None:
        if self.lease() is not None and self._holder != server_id:
            return None
        self._epoch += 1
        self._holder, self._expires_at = server_id, self._clock() + duration_s
        self.note(server_id, LeaseChanged())
        return self.lease()

    def lease(self) -> Lease | None:
        left_s = self._expires_at - self._clock()
        return Lease(epoch=self._epoch, holder=self._holder, expires_in_s=left_s) if left_s > 0 else None

    def check(self, lease: Lease) -> None:
        """Raise :class:`LeadershipLost` unless the lease is the newest and unexpired."""
        current = self.lease()
        if current is None or current.epoch != lease.epoch:
            raise LeadershipLost(
                f"Server {lease.holder} no longer leads: its lease {lease.epoch} has expired or was taken over."
            )

    def renew(self, lease: Lease, duration_s: float) -> Lease:
        self.check(lease)
        self._expires_at = self._clock() + duration_s
        return Lease(epoch=lease.epoch, holder=lease.holder, expires_in_s=duration_s)

    def release(self, lease: Lease) -> None:
        if self._epoch == lease.epoch:
            self._expires_at = self._clock()
            self.note(lease.holder, LeaseChanged())

    def note(self, writer: str, item: LeaseChanged | CommittedChange | None = None) -> None:
        """Append an item to the feeds of all instances but ``writer``; without one, only wake them."""
        if item is not None:
            self._last += 1
            self._items.append((self._last, writer, item))
        for event in self._waiting:
            event.set()

    def position(self) -> str:
        return str(self._last)

    def after(self, position: str | None, reader: str) -> tuple[str, list[FeedItem]]:
        """Return the newest position, and what others have done since ``position``."""
        oldest = self._last - len(self._items)
        if position is None or not position.isdecimal() or not oldest <= int(position) <= self._last:
            return self.position(), [Gap(position=self.position())]
        found = [item for number, writer, item in self._items if number > int(position) and writer != reader]
        return self.position(), found

    @contextmanager
    def waking(self, event: asyncio.Event):
        """Set ``event`` at every change."""
        self._waiting.add(event)
        try:
            yield
        finally:
            self._waiting.discard(event)


class SharedMemoryStorage(MemoryStorage, SharedStorage):
    """One server's instance on ``memory``.

    While ``cut_off`` is true (see :meth:`cut`), every call raises :class:`StorageUnavailable`, as on a server without a
    connection to its database.
    """

    def __init__(self, memory: SharedMemory, server_id: str = "") -> None:
        super().__init__()
        self.server_id = server_id or f"memory-{next(_numbers)}"
        self._memory = memory
        self._jobs, self._resources = memory.jobs, memory.resources
        self._fence: Lease | None = None
        self._connection = _Connection()

    def cut(self, cut_off: bool = True) -> None:
        """Cut the connection, or restore it."""
        self._connection.cut_off = cut_off
        self._memory.note("")

    async def close(self) -> None:
        self.cut()

    async def open(self) -> None:
        self.cut(False)

    # --- lease

    async def acquire_lease(self, duration_s: float) -> Lease | None:
        self._connection.check()
        return self._memory.acquire(self.server_id, duration_s)

    async def renew_lease(self, lease: Lease, duration_s: float) -> Lease:
        self._connection.check()
        return self._memory.renew(lease, duration_s)

    async def release_lease(self, lease: Lease) -> None:
        self._connection.check()
        self._memory.release(lease)

    async def current_lease(self) -> Lease | None:
        self._connection.check()
        return self._memory.lease()

    def fenced(self, lease: Lease) -> Storage:
        view = SharedMemoryStorage(self._memory, self.server_id)
        view._fence, view._connection = lease, self._connection
        return view

    async def changes(self, after: str | None) -> AsyncGenerator[FeedItem]:
        changed, resumed = asyncio.Event(), after is not None
        with self._memory.waking(changed):
            while True:
                changed.clear()
                self._connection.check()
                after, items = self._memory.after(after, self.server_id)
                if resumed and not any(isinstance(item, Gap) for item in items):
                    yield LeaseChanged()
                resumed = False
                for item in items:
                    yield item
                await changed.wait()

    # --- reads

    async def get_job(self, job_id: str, tenant: str | None) -> JobRecord:
        self._connection.check()
        return await super().get_job(job_id, tenant)

    async def list_jobs(self, query: JobQuery) -> JobPage:
        self._connection.check()
        return await super().list_jobs(query)

    async def open_jobs(self) -> list[JobRecord]:
        self._connection.check()
        return await super().open_jobs()

    async def get_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> AnyResource:
        self._connection.check()
        return await super().get_resource(kind, resource_id, tenant)

    async def list_resources(self, query: ResourceQuery) -> ResourcePage:
        self._connection.check()
        return await super().list_resources(query)

    # --- writes

    async def add_job(self, record: JobRecord) -> None:
        self._check_write()
        await super().add_job(record)
        self._note("job", record)

    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        self._check_write()
        before = self._jobs.get(job_id)
        after = await super().update_job(job_id, tenant, change)
        if after is not before:
            self._note("job", after)
        return after

    async def delete_job(self, job_id: str, tenant: str | None) -> None:
        self._check_write()
        record = self._jobs.get(job_id)
        await super().delete_job(job_id, tenant)
        assert record is not None  # noqa: S101  it was deleted
        self._note("job", record, deleted=True)

    async def add_resource(self, record: AnyResource) -> None:
        self._check_write()
        await super().add_resource(record)
        self._note(kind_of(record).value, record)

    async def update_resource(
        self, kind: Kind, resource_id: str, tenant: str | None, change: ResourceChange
    ) -> AnyResource:
        self._check_write()
        before = self._resources.get((kind, resource_id))
        after = await super().update_resource(kind, resource_id, tenant, change)
        if after is not before:
            self._note(kind.value, after)
        return after

    async def delete_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> None:
        self._check_write()
        record = self._resources.get((kind, resource_id))
        await super().delete_resource(kind, resource_id, tenant)
        assert record is not None  # noqa: S101  it was deleted
        self._note(kind.value, record, deleted=True)

    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        self._check_write()
        before = dict(self._resources)
        await super().replace_system(records)
        for key in before | self._resources:
            old, new = before.get(key), self._resources.get(key)
            if (record := new or old) is not None and old is not new:
                self._note(key[0].value, record, deleted=new is None)

    def _check_write(self) -> None:
        self._connection.check()
        if self._fence is not None:
            self._memory.check(self._fence)

    def _note(
        self,
        kind: Literal["job", "provider", "collection", "baseline"],
        record: JobRecord | AnyResource,
        *,
        deleted: bool = False,
    ) -> None:
        change = CommittedChange(
            kind=kind,
            id=record.id,
            tenant=record.tenant,
            deleted=deleted,
            writer=self.server_id,
            position=str(int(self._memory.position()) + 1),
        )
        self._memory.note(self.server_id, change)


class _Connection:
    """The state that an instance and its fenced views share."""

    cut_off = False

    def check(self) -> None:
        if self.cut_off:
            raise StorageUnavailable("The connection to the shared memory is cut.")

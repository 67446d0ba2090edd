"""Follower of what other servers commit to a shared storage: reads the changed records and announces them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from contextvars import Context

import structlog

from evalhub_common.backoff import Backoff
from evalhub_server.domain.record import JobRecord
from evalhub_server.engine.clock import Clock
from evalhub_server.engine.committed_changes import CommittedChanges
from evalhub_server.errors import NotFound, StartupError, StorageError, StorageUnavailable
from evalhub_server.plugins.shared_storage import CommittedChange, Gap, LeaseChanged, SharedStorage

log = structlog.get_logger()

RETRY = Backoff(first_s=0.1, max_s=2.0)
START_TIMEOUT_S = 30.0
READ_AT_ONCE = 8
"""Changed jobs that are read at the same time."""


class ChangeFollower:
    """Announces what other servers commit, from :meth:`start` to :meth:`close`.

    ``on_resource`` is called for every change of a provider, collection or baseline; ``on_lease`` when another server has
    acquired or released the lease. While there is no connection, the feed of ``changes`` counts as behind.
    """

    def __init__(
        self,
        storage: SharedStorage,
        changes: CommittedChanges,
        clock: Clock,
        on_resource: Callable[[], None],
        on_lease: Callable[[], None],
    ) -> None:
        self._storage = storage
        self._changes = changes
        self._clock = clock
        self._on_resource = on_resource
        self._on_lease = on_lease
        self._position: str | None = None
        self._changed: dict[str, None] = {}
        """The ids of jobs that are to be read, in the order of their first change."""
        self._wake = asyncio.Event()
        self._following = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Follow, and return when every later change will be announced. Raises :class:`StartupError`."""
        self._tasks = [
            asyncio.create_task(self._follow(), name="changes-follow", context=Context()),
            asyncio.create_task(self._read(), name="changes-read", context=Context()),
        ]
        try:
            await asyncio.wait_for(self._following.wait(), START_TIMEOUT_S)
        except TimeoutError:
            raise StartupError(
                f"The changes of other servers cannot be followed ({self._storage.description}). See the log for the cause."
            ) from None

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self) -> None:
        delays = RETRY.delays()
        while True:
            try:
                async with aclosing(self._storage.changes(self._position)) as items:
                    async for item in items:
                        await self._take(item)
                        delays = RETRY.delays()
                        self._set_behind(False)
            except StorageError as error:
                log.warning("Changes of other servers cannot be followed; retrying", error=str(error))
            except Exception as error:
                log.error("Following the changes of other servers failed; retrying", exc_info=error)
            self._set_behind(True)
            await asyncio.sleep(next(delays))

    def _set_behind(self, behind: bool) -> None:
        self._changes.feed.behind = behind

    async def _take(self, item: CommittedChange | Gap | LeaseChanged) -> None:
        if isinstance(item, LeaseChanged):
            self._on_lease()
            return
        if isinstance(item, Gap):
            await self._read_everything()
        elif item.kind == "job":
            self._read_later(item.id)
        else:
            self._on_resource()
        self._position = item.position

    async def _read_everything(self) -> None:
        """Find out what has changed in a time of which no changes are known."""
        jobs = await self._storage.open_jobs()
        known = self._changes.known
        if known is None:
            self._changes.begin_following(jobs, self._clock(), self._read_later)
            self._following.set()
            return
        log.warning("Changes of other servers are missing; reading all open jobs", jobs=len(jobs))
        known.forget_closed()
        self._changes.feed.outcome_unknown()
        self._on_resource()
        self._on_lease()
        for job_id in dict.fromkeys((*known.open_ids, *(job.id for job in jobs))):
            self._read_later(job_id)

    def _read_later(self, job_id: str) -> None:
        self._changed[job_id] = None
        self._wake.set()

    async def _read(self) -> None:
        delays = RETRY.delays()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while job_ids := list(self._changed)[:READ_AT_ONCE]:
                try:
                    await self._announce(job_ids)
                except StorageUnavailable as error:
                    log.warning("Changed jobs not read; retrying", jobs=len(self._changed), error=str(error))
                    await asyncio.sleep(next(delays))
                except Exception as error:
                    log.error("Changed jobs not announced", job_ids=job_ids, exc_info=error)
                else:
                    delays = RETRY.delays()

    async def _announce(self, job_ids: list[str]) -> None:
        """Read and announce jobs. What cannot be read is left for the next attempt."""
        known = self._changes.known
        assert known is not None  # noqa: S101  it is set before changes are taken
        for job_id in job_ids:
            del self._changed[job_id]
        before = [known.get(job_id) for job_id in job_ids]
        found = await asyncio.gather(*(self._job(job_id) for job_id in job_ids), return_exceptions=True)
        failed: StorageUnavailable | None = None
        for job_id, last, job in zip(job_ids, before, found, strict=True):
            if isinstance(job, StorageUnavailable):
                self._read_later(job_id)
                failed = job
            elif isinstance(job, BaseException):
                log.error("Changed job not read", job_id=job_id, exc_info=job)
            elif known.get(job_id) is not last:
                self._read_later(
                    job_id
                )  # this server has announced a change meanwhile, which may be a later one
            else:
                self._changes.announce_read(job_id, job)
        if failed is not None:
            raise failed

    async def _job(self, job_id: str) -> JobRecord | None:
        try:
            return await self._storage.get_job(job_id, None)
        except NotFound:
            return None

"""Leadership of one server among those that share a storage.

One server holds the lease of the storage and supervises the jobs of all. It renews the lease often; if it does not succeed
in time, it stops to supervise before the lease expires by the clock of the database, so that two servers never do. Its
writes are fenced besides: the storage refuses them as soon as another server holds the lease.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import Protocol

import structlog

from evalhub_server.engine.leader_store import NOT_LEADING, LeaderStore
from evalhub_server.engine.server_state import Role
from evalhub_server.errors import EvalHubError, LeadershipLost, StorageError
from evalhub_server.plugins.shared_storage import Lease, SharedStorage

log = structlog.get_logger()

LEASE_S = 6.0
RENEW_S = 2.0
MARGIN_S = 1.0
"""How long before the expiry of its lease a server stops to supervise."""
POLL_S = 1.0
"""How often a server without the lease tries to acquire it. A lease that is released wakes it at once."""
RETRY_S = 0.25
CLOSE_S = 4.5
"""Time limit for closing the parts that supervise when the server stops; they need up to 4.3 s to stop workloads and exports."""
FAILED_S = 5.0
"""Pause after a failure to open the parts that supervise, in which another server may succeed."""


class SupervisingParts(Protocol):
    """What only the leader runs."""

    async def open(self) -> None: ...

    def begin_close(self) -> None: ...

    async def close(self) -> None: ...

    def halt(self) -> None: ...

    async def abandon(self) -> None: ...


def clock_s() -> float:
    """Seconds since an arbitrary moment, including those in which the host was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class SingleServer:
    """Leadership of the only server of a storage: it always leads, and has no role."""

    role = None

    def __init__(self, parts: SupervisingParts) -> None:
        self._parts = parts
        self._opened = False

    async def start(self) -> None:
        """Open what supervises the jobs. Raises :class:`StartupError`, :class:`StorageError`."""
        await self._parts.open()
        self._opened = True

    def step_down(self) -> None:
        """Launch nothing more: the server stops."""
        self._parts.begin_close()

    async def close(self) -> None:
        if self._opened:
            await self._parts.close()

    async def leader_exists(self) -> bool:
        """Whether another server leads."""
        return False


class Leadership:
    """Acquires the lease of ``storage`` whenever it is free, and opens ``parts`` while it holds it.

    Call :meth:`start` first and :meth:`close` last. ``on_role`` is called with each new role.
    """

    def __init__(
        self,
        storage: SharedStorage,
        store: LeaderStore,
        parts: SupervisingParts,
        on_role: Callable[[Role], None] = lambda _role: None,
        *,
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = clock_s,
    ) -> None:
        self._storage = storage
        self._store = store
        self._parts = parts
        self._on_role = on_role
        self._lease_s = lease_s
        self._scale = lease_s / LEASE_S
        self._clock = clock
        self._deadline_s = 0.0
        self._expiry: asyncio.TimerHandle | None = None
        self._stopping = asyncio.Event()
        self._lost = asyncio.Event()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.role = Role.STARTING

    async def start(self) -> None:
        """Lead if the lease is free, else follow.

        Raises:
            StartupError, StorageError: this server would lead, and what the leader runs cannot be opened.
        """
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(started), name="leadership", context=Context())
        await started

    def wake(self) -> None:
        """Try to acquire the lease now: it may be free."""
        self._wake.set()

    def step_down(self) -> None:
        """Close the parts that supervise and release the lease, in the background: the server stops."""
        self._parts.begin_close()
        self._stopping.set()
        self._wake.set()

    async def close(self) -> None:
        """Step down, and return when that is done."""
        self.step_down()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def check(self) -> None:
        """Raise :class:`LeadershipLost` unless this server certainly holds the lease."""
        if self.role is not Role.LEADER and not self._deadline_s:
            raise LeadershipLost(NOT_LEADING)
        if self._clock() >= self._deadline_s:
            self._lost.set()
            raise LeadershipLost("This server could not renew its lease in time, so another one may lead.")

    async def leader_exists(self) -> bool:
        """Whether any server holds the lease; True if that cannot be found out."""
        try:
            return await self._storage.current_lease() is not None
        except StorageError:
            return True

    async def _run(self, started: asyncio.Future[None]) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            asked_s = self._clock()
            try:
                lease = await self._storage.acquire_lease(self._lease_s)
            except StorageError as error:
                log.warning("Lease not acquired; retrying", error=str(error))
                await self._pause(POLL_S)
                continue
            except Exception as error:  # a plugin's fault must not end the task
                log.error("Lease not acquired; retrying", exc_info=error)
                await self._pause(POLL_S)
                continue
            if lease is None:
                self._set_role(Role.FOLLOWER)
                _done(started)
                await self._pause(POLL_S)
                continue
            if self._stopping.is_set():
                await self._release(lease)
                break
            try:
                await self._lead(lease, asked_s, started)
            except Exception as error:
                log.critical("Leadership failed; retrying", exc_info=error)
                self._end_lease()
                self._store.step_down()
                self._set_role(Role.OUSTED)
                await self._pause(FAILED_S)
        _done(started)

    async def _lead(self, lease: Lease, asked_s: float, started: asyncio.Future[None]) -> None:
        """Supervise until the lease is lost or the server stops."""
        log.info("Lease acquired", epoch=lease.epoch, server_id=self._storage.server_id)
        self._lost.clear()
        self._extend(asked_s)
        self._store.lead(self._storage.fenced(lease), self.check, self._lost.set)
        renewing = asyncio.create_task(self._renew(lease), name="lease-renewal")
        failed = await self._opened(started)
        if failed is None and not self._lost.is_set():
            self._set_role(Role.LEADER)
            _done(started)
            await self._first(self._lost, self._stopping)
        if failed is None and not self._lost.is_set():
            await self._resign(lease, renewing)
            return
        renewing.cancel()
        self._end_lease()
        self._parts.halt()
        self._set_role(Role.OUSTED if failed is None else Role.FOLLOWER)
        self._store.step_down()
        await self._parts.abandon()
        if failed is not None:
            await self._release(lease)
            if not started.done():
                started.set_exception(failed)
                self._stopping.set()
                return
            log.error("Supervision not started; retrying", error=str(failed))
            await self._pause(FAILED_S)
        else:
            log.error("Leadership lost: this server supervises nothing any more", epoch=lease.epoch)

    async def _opened(self, started: asyncio.Future[None]) -> EvalHubError | None:
        """Open the parts, unless the lease is lost meanwhile; returns why that failed."""
        opening = asyncio.create_task(self._parts.open(), name="leader-parts")
        lost = asyncio.create_task(self._lost.wait())
        await asyncio.wait((opening, lost), return_when=asyncio.FIRST_COMPLETED)
        lost.cancel()
        if not opening.done():
            opening.cancel()
        result = (await asyncio.gather(opening, return_exceptions=True))[0]
        if self._lost.is_set() or result is None:
            return None
        if isinstance(result, EvalHubError):
            return result
        log.error("Supervision not started", exc_info=result)
        return StorageError(f"the jobs cannot be supervised: {type(result).__name__}: {result}")

    async def _resign(self, lease: Lease, renewing: asyncio.Task[None]) -> None:
        """Close the parts and release the lease, the latter even if a plugin does not let a part close: the server stops."""
        closing = asyncio.create_task(self._parts.close(), name="leader-parts-close")
        await asyncio.wait((closing,), timeout=CLOSE_S)
        if closing.done():
            closing.result()
        else:
            log.error("Supervision not closed in time; another server continues it", seconds=CLOSE_S)
            self._parts.halt()
        self._end_lease()
        self._set_role(Role.FOLLOWER)
        renewing.cancel()
        self._store.step_down()
        await self._release(lease)

    async def _release(self, lease: Lease) -> None:
        try:
            async with asyncio.timeout(RENEW_S):
                await self._storage.release_lease(lease)
        except (StorageError, TimeoutError) as error:
            log.warning("Lease not released; it expires", error=str(error))

    async def _renew(self, lease: Lease) -> None:
        """Renew the lease until that fails for too long; then, or when another server has it, set ``lost``."""
        pause_s = RENEW_S * self._scale
        while True:
            left_s = self._deadline_s - self._clock()
            if left_s <= 0:
                break
            await asyncio.sleep(min(pause_s, left_s))
            asked_s = self._clock()
            try:
                async with asyncio.timeout(max(0.0, self._deadline_s - asked_s)):
                    await self._storage.renew_lease(lease, self._lease_s)
            except LeadershipLost as error:
                log.error("Lease lost", error=str(error))
                break
            except (StorageError, TimeoutError) as error:
                log.warning("Lease not renewed; retrying", error=str(error) or type(error).__name__)
                pause_s = RETRY_S * self._scale
            except Exception as error:
                log.error("Lease not renewed; retrying", exc_info=error)
                pause_s = RETRY_S * self._scale
            else:
                self._extend(asked_s)
                pause_s = RENEW_S * self._scale
        self._lost.set()

    def _extend(self, asked_s: float) -> None:
        self._end_lease()
        self._deadline_s = asked_s + self._lease_s - MARGIN_S * self._scale
        self._watch_expiry()

    def _end_lease(self) -> None:
        self._deadline_s = 0.0
        if self._expiry is not None:
            self._expiry.cancel()

    def _watch_expiry(self) -> None:
        """Stop to supervise at the deadline, by a timer of the event loop.

        When a suspended process continues, timers that are due run before any task that waits for a response: no part
        takes another step.
        """
        left_s = self._deadline_s - self._clock()
        if left_s > 0:
            self._expiry = asyncio.get_running_loop().call_later(left_s, self._watch_expiry)
            return
        self._parts.halt()
        self._lost.set()

    def _set_role(self, role: Role) -> None:
        if role is not self.role:
            log.info("Role changed", role=role.value, server_id=self._storage.server_id)
            self.role = role
            self._on_role(role)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds * self._scale):
                await self._wake.wait()

    async def _first(self, *events: asyncio.Event) -> None:
        waiting = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

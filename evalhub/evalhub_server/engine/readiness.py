"""Status of the components that the server depends on."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import structlog
from msgspec import Struct

from evalhub_server.engine.clock import utc_now
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.errors import NotFound, StorageError

log = structlog.get_logger()

MIN_FREE_BYTES = 64 * 1024 * 1024
"""Free space of the data directory below which the disk counts as full."""
CHECK_TIMEOUT_S = 0.8  # below the probe timeout of Kubernetes, which is 1 s by default
CACHED_S = 1.0
_NO_JOB = "readiness"


class ComponentStatus(StrEnum):
    """Status of a component; only a disk is ever ``full``."""

    OK = "ok"
    FULL = "full"
    UNAVAILABLE = "unavailable"


class Components(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Status of what the server depends on. None of them makes the server unready.

    ``storage`` is unavailable if the database cannot be read, or if changes wait in memory until it can be written.
    ``runtime`` is unavailable while the server retries a call of it. ``disk`` is absent without a data directory, and full
    if less than 64 MiB are free.
    """

    storage: ComponentStatus
    runtime: ComponentStatus
    disk: ComponentStatus | None = None


class Checked(Struct, kw_only=True, frozen=True):
    """The result of a check. ``storage_ok_at`` is when the storage was last found to work; sizes are of the data directory's disk."""

    components: Components
    at: datetime
    storage_ok_at: datetime | None = None
    free_bytes: int | None = None
    disk_bytes: int | None = None


class ComponentChecks:
    """Checks the components. Results are reused for a second: requests for them need no token."""

    def __init__(self, store: JobStore, supervisor: Supervisor, data_dir: Path | None) -> None:
        self._store = store
        self._supervisor = supervisor
        self._data_dir = data_dir
        self._lock = asyncio.Lock()
        self._checked: Checked | None = None
        self._expires = 0.0
        self._storage_ok_at: datetime | None = None
        self._usage: tuple[int, int] | tuple[None, None] = (None, None)
        self._background: asyncio.Task[Components] | None = None

    async def __call__(self) -> Components:
        async with self._lock:
            if self._checked is None or time.monotonic() >= self._expires:
                components = await self._check()
                if components.storage is ComponentStatus.OK:
                    self._storage_ok_at = utc_now()
                free_bytes, disk_bytes = self._usage
                self._checked = Checked(
                    components=components,
                    at=utc_now(),
                    storage_ok_at=self._storage_ok_at,
                    free_bytes=free_bytes,
                    disk_bytes=disk_bytes,
                )
                self._expires = time.monotonic() + CACHED_S
            return self._checked.components

    async def recent(self, wait_s: float) -> Checked | None:
        """The last result, for readers that cannot wait until a storage answers; None before the first one.

        If it is old, a check starts in the background, and its result is returned if it takes less than ``wait_s``.
        """
        if time.monotonic() >= self._expires:
            if self._background is None or self._background.done():
                self._background = asyncio.create_task(self(), name="component-checks")
            await asyncio.wait([self._background], timeout=wait_s)
        return self._checked

    async def close(self) -> None:
        """Cancel a check in the background."""
        if self._background is not None:
            self._background.cancel()
            await asyncio.wait([self._background])

    async def _check(self) -> Components:
        checks = [_status(self._check_storage)]
        if self._data_dir is not None:
            checks.append(_status(self._check_disk))
        storage, *disk = await asyncio.gather(*checks)
        failing = self._supervisor.runtime_failing
        return Components(
            storage=storage,
            runtime=ComponentStatus.UNAVAILABLE if failing else ComponentStatus.OK,
            disk=disk[0] if disk else None,
        )

    async def _check_storage(self) -> ComponentStatus:
        if self._store.has_buffered_changes:
            return ComponentStatus.UNAVAILABLE
        with suppress(NotFound):
            await self._store.get(_NO_JOB, None)
        return ComponentStatus.OK

    async def _check_disk(self) -> ComponentStatus:
        usage = await asyncio.to_thread(shutil.disk_usage, self._data_dir or "")
        self._usage = (usage.free, usage.total)
        return ComponentStatus.FULL if usage.free < MIN_FREE_BYTES else ComponentStatus.OK


async def _status(check: Callable[[], Coroutine[Any, Any, ComponentStatus]]) -> ComponentStatus:
    """The result of a check; unavailable if it fails or takes too long.

    A result that is there when the limit is noticed counts: on a busy computer the event loop may be what was late.
    """
    running = asyncio.create_task(check(), name="component-check")
    try:
        await asyncio.wait([running], timeout=CHECK_TIMEOUT_S)
        if not running.done():
            log.debug("Component unavailable", error=f"no answer within {CHECK_TIMEOUT_S} s")
            return ComponentStatus.UNAVAILABLE
        return running.result()
    except (StorageError, OSError) as error:
        log.debug("Component unavailable", error=str(error) or type(error).__name__)
        return ComponentStatus.UNAVAILABLE
    finally:
        running.cancel()

"""Keeps the system's providers and collections as the files say while the server runs."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import structlog

from evalhub_server.engine.catalog import Catalog
from evalhub_server.engine.clock import Clock
from evalhub_server.engine.resource_store import ResourceStore
from evalhub_server.errors import StorageError

log = structlog.get_logger()

POLL_S = 0.5

State = tuple[tuple[str, int, int, int], ...]


class Reloader:
    """:meth:`load` once, then :meth:`start`; :meth:`close` last.

    It looks every ``poll_s`` seconds instead of being told: that works on every file system, sees folders that are
    made later and ConfigMaps that are swapped by a link, and a few dozen files cost next to nothing. Only provider
    and collection files count, so that a log in the same folder does not start an endless round.
    """

    def __init__(self, catalog: Catalog, store: ResourceStore, clock: Clock, poll_s: float = POLL_S) -> None:
        self._catalog = catalog
        self._store = store
        self._clock = clock
        self._poll_s = poll_s
        self._loaded: State = ()
        self._task: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Read the files and store what they say. Raises :class:`StorageError`."""
        # Looked at first: what changes while it is read is read again.
        state = self._look()
        await self._store.replace_system(self._catalog.read(), self._clock())
        self._loaded = state

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="reload")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _watch(self) -> None:
        before = self._loaded
        while True:
            await asyncio.sleep(self._poll_s)
            now = await asyncio.to_thread(self._look)
            # Whoever writes several files, or a long one, is let finish: two looks must agree.
            if now != self._loaded and now == before:
                await self._reload(now)
            before = now

    async def _reload(self, state: State) -> None:
        log.info("Provider or collection files changed")
        system = await asyncio.to_thread(self._catalog.read)
        try:
            await self._store.replace_system(system, self._clock())
        except StorageError as error:
            log.error("Providers and collections not reloaded; trying again", error=str(error))
            return
        self._loaded = state
        log.info(
            "Providers and collections reloaded",
            providers=len(system.providers),
            collections=len(system.collections),
        )

    def _look(self) -> State:
        return tuple(mark for file in self._catalog.files() if (mark := _mark(file)))


def _mark(file: Path) -> tuple[str, int, int, int] | None:
    try:
        stat = file.stat()
    except OSError:  # gone since it was listed
        return None
    return str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns

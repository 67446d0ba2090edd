"""Watcher of the provider and collection files: reloads them while the server runs."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import structlog

from evalhub_server.engine.catalog import Catalog
from evalhub_server.engine.clock import Clock
from evalhub_server.engine.resource_store import ResourceStore
from evalhub_server.errors import SettingsError, StorageError

log = structlog.get_logger()

POLL_S = 0.5

FileStates = tuple[tuple[str, int, int, int], ...] | None
"""Path, inode, size in bytes and modification time in ns of each file; None if a folder cannot be read."""


class FileWatcher:
    """Call :meth:`load` once, then :meth:`start`; :meth:`close` last.

    It polls every ``poll_s`` seconds, because that works on every file system, notices folders that are created later
    and ConfigMaps that are replaced through a symbolic link, and is cheap for a few dozen files. Only provider and
    collection files count: a log in the same folder must not cause endless reloads.
    """

    def __init__(self, catalog: Catalog, store: ResourceStore, clock: Clock, poll_s: float = POLL_S) -> None:
        self._catalog = catalog
        self._store = store
        self._clock = clock
        self._poll_s = poll_s
        self._loaded: FileStates = ()
        self._task: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Read the files and store their resources. Raises :class:`StorageError` and :class:`SettingsError`."""
        # Taken before reading, so that a file that changes meanwhile is read again.
        states = self._file_states()
        await self._store.replace_system(self._catalog.read(), self._clock())
        self._loaded = states

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="file-watcher")

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
            now = await asyncio.to_thread(self._file_states)
            # Two polls must agree: another program may still be writing.
            if now != self._loaded and now == before:
                await self._reload(now)
            before = now

    async def _reload(self, states: FileStates) -> None:
        log.info("Provider or collection files changed")
        system = await asyncio.to_thread(self._catalog.read)
        try:
            await self._store.replace_system(system, self._clock())
        except StorageError as error:
            log.error("Providers and collections not reloaded; retrying", error=str(error))
            return
        # What could not be read is read again as soon as it can be.
        self._loaded = states if self._catalog.complete else None
        log.info(
            "Providers and collections reloaded",
            providers=len(system.providers),
            collections=len(system.collections),
        )

    def _file_states(self) -> FileStates:
        try:
            files = self._catalog.files()
        except SettingsError:  # reading reports it
            return None
        return tuple(state for file in files if (state := _state(file)))


def _state(file: Path) -> tuple[str, int, int, int] | None:
    try:
        stat = file.stat()
    except OSError:  # deleted since it was listed
        return None
    return str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns

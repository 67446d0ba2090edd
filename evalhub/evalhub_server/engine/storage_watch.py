"""Watch over the storage: stops the server when its database is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from evalhub_server.errors import StorageLost
from evalhub_server.plugins.storage import Storage

INTERVAL_S = 2.0

log = structlog.get_logger()


class StorageWatch:
    """Calls :meth:`Storage.verify` every few seconds, and ``on_lost`` once if it raises :class:`StorageLost`."""

    def __init__(
        self, storage: Storage, on_lost: Callable[[StorageLost], None], interval_s: float = INTERVAL_S
    ) -> None:
        self._storage = storage
        self._on_lost = on_lost
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="storage-watch")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self._storage.verify()
            except StorageLost as error:
                log.critical("Storage lost; the server refuses writes and stops", error=str(error))
                self._on_lost(error)
                return
            except Exception as error:  # a plugin's fault must not end the watch
                log.warning("Storage could not be verified", error=str(error), exc_info=error)

"""The metric of the space that the server's data occupy, measured in the background."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import structlog

from evalhub_server.engine.metric_family import Gauge, Labels
from evalhub_server.engine.sample_backend import SampleBackend
from evalhub_server.engine.sample_folder import occupied
from evalhub_server.errors import SampleStoreUnavailable, StorageError
from evalhub_server.plugins.storage import Storage

log = structlog.get_logger()

REFRESH_S = 300.0


class StoredBytes:
    """Sizes of the database, the samples, the artifacts and the job directories.

    A scrape of the metrics gets the sizes of the last measurement and starts another one if they are old, since there may be
    a million files.
    """

    def __init__(self, storage: Storage, samples: SampleBackend | None, jobs: Path | None) -> None:
        self._storage = storage
        self._samples = samples
        self._jobs = jobs
        self._task: asyncio.Task[None] | None = None
        self._due = 0.0
        self._values: dict[Labels, float] = {}

    @property
    def sizes(self) -> dict[str, int]:
        """The last measurement by kind: database, samples, artifacts, jobs; empty until there is one. Starts another one if it is old."""
        return {kind: int(size) for (kind,), size in self.gauge().values.items()}

    def gauge(self) -> Gauge:
        """The last measurement; empty until there is one."""
        if time.monotonic() >= self._due and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._measure(), name="stored-bytes")
        return stored_gauge(self._values)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _measure(self) -> None:
        values: Counter[str] = Counter()
        if self._jobs is not None:
            values["jobs"] = await asyncio.to_thread(_size_of, self._jobs)
        if self._samples is not None:
            try:
                values.update(await asyncio.to_thread(self._samples.sizes))
            except (SampleStoreUnavailable, OSError) as error:
                log.warning("Size of the samples left out of the metrics", error=str(error))
        try:
            database = await self._storage.size_bytes()
        except StorageError as error:
            log.warning("Size of the database left out of the metrics", error=str(error))
            database = None
        if database is not None:
            values["database"] = database
        self._values = {(kind,): float(size) for kind, size in sorted(values.items())}
        self._due = time.monotonic() + REFRESH_S


def stored_gauge(values: Mapping[Labels, float]) -> Gauge:
    return Gauge(
        name="evalhub_stored_bytes",
        help="Space that the server's data occupy, measured at most every five minutes.",
        label_names=("kind",),
        values=values,
    )


def _size_of(directory: Path) -> int:
    return sum(size for _, size in occupied(directory))

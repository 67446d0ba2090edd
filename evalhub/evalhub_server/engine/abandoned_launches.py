"""Launches that were under way when this server lost the lead: what they created too late is stopped.

The next leader continues them. If the job was cancelled or deleted meanwhile, it finds no workload; a request of this server that
was on its way to a cluster then may still create one, which no record has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextvars import Context

import structlog
from msgspec import Struct

from evalhub_server.domain.record import JobRecord
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.run_builder import RunBuilder
from evalhub_server.errors import NotFound, RuntimeUnavailable, StorageError
from evalhub_server.plugins.runtime import Runtime

log = structlog.get_logger()

CHECK_S = 1.0
MAX_CHECKS = 60


class Launch(Struct, frozen=True):
    """A launch that may have created something. ``job`` is the record as of its beginning."""

    job: JobRecord
    index: int


class AbandonedLaunches:
    """Watches launches until the next leader has their handle, or their end."""

    def __init__(self, store: JobStore, runtime: Runtime, runs: RunBuilder, check_s: float = CHECK_S) -> None:
        self._store = store
        self._runtime = runtime
        self._runs = runs
        self._check_s = check_s
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def watching(self) -> int:
        """The number of launches that are being watched."""
        return len(self._tasks)

    def add(self, launches: Iterable[Launch]) -> None:
        for launch in launches:
            task = asyncio.create_task(self._watch(launch), name=f"launch-{launch.job.id}", context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, launch: Launch) -> None:
        for _ in range(MAX_CHECKS):
            try:
                if await self._settled(launch):
                    return
            except (StorageError, RuntimeUnavailable) as error:
                log.warning("Abandoned launch not examined yet", job_id=launch.job.id, error=str(error))
            except Exception as error:
                log.error("Abandoned launch not examined", job_id=launch.job.id, exc_info=error)
                return
            await asyncio.sleep(self._check_s)

    async def _settled(self, launch: Launch) -> bool:
        """Whether the launch needs no attention any more."""
        attempt = launch.job.benchmarks[launch.index].attempt
        try:
            benchmark = (await self._store.get(launch.job.id, None)).benchmarks[launch.index]
        except NotFound:
            benchmark = None
        if benchmark is not None and benchmark.has_workload and benchmark.attempt == attempt:
            return benchmark.handle is not None  # the leader has it, or is about to find it
        handle = await self._runtime.find(self._runs(launch.job, launch.index))
        if handle is not None:
            log.warning(
                "Stopping what a launch created after this server lost the lead",
                job_id=launch.job.id,
                benchmark_index=launch.index,
            )
            await self._runtime.stop(handle, 0)
        if benchmark is None:
            await self._runtime.remove(launch.job.id, launch.job.tenant)
        return True

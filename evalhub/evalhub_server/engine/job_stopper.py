"""Stopping of a job's workloads, whichever server supervises them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.run_builder import RunBuilder
from evalhub_server.engine.supervisor import STOP_TIMEOUT_S, Supervisor
from evalhub_server.engine.unstopped import Failures
from evalhub_server.errors import NotFound, RuntimeUnavailable, StorageError
from evalhub_server.plugins.runtime import Runtime

log = structlog.get_logger()

CHECK_S = 1.0
"""How often a server that waits for the leader's stop looks whether there is a leader."""


class JobStopper:
    """Stops workloads through the supervisor of this server or, while another server leads, waits until that has done it.

    Without a leader it stops them itself. ``leader_exists``: whether any server leads. ``stop_grace_s`` is the time
    between SIGTERM and SIGKILL.
    """

    def __init__(
        self,
        store: JobStore,
        supervisor: Supervisor,
        runtime: Runtime,
        runs: RunBuilder,
        stop_grace_s: float,
        leader_exists: Callable[[], Awaitable[bool]],
    ) -> None:
        self._store = store
        self._supervisor = supervisor
        self._runtime = runtime
        self._runs = runs
        self._stop_grace_s = stop_grace_s
        self._leader_exists = leader_exists

    async def stop_job(self, job: JobRecord) -> Failures:
        """Stop the workloads of a terminal job; see :meth:`Supervisor.stop_job`."""
        if self._supervisor.active:
            failures = await self._supervisor.stop_job(job)
            if self._supervisor.active:
                return failures
        if not job.progress.cancelled:
            return await self._stop_directly(job)  # the leader only waits for the exits of such a job
        return await self._wait_for_leader(job)

    @property
    def supervises(self) -> bool:
        """Whether this server supervises the jobs. Only then may it stop them before that is stored: no other server
        takes a stop for a failure."""
        return self._supervisor.active

    def launched_job(self, job_id: str) -> JobRecord | None:
        """See :meth:`Supervisor.launched_job`."""
        return self._supervisor.launched_job(job_id)

    async def stop_unstored(self, job_id: str) -> bool:
        """See :meth:`Supervisor.stop_unstored`. False if this server has lost the lead meanwhile."""
        return await self._supervisor.stop_unstored(job_id) and self._supervisor.active

    async def _wait_for_leader(self, job: JobRecord) -> Failures:
        until = time.monotonic() + self._stop_grace_s + STOP_TIMEOUT_S
        stopped_here = False
        with self._store.feed.wait_for(job.id) as waiter:
            while True:
                try:
                    job = await self._store.get(job.id, None)
                except NotFound:
                    return []
                except StorageError as error:
                    log.warning("Job not read while its stop is waited for", job_id=job.id, error=str(error))
                left = self._workloads(job)
                left_s = until - time.monotonic()
                if not left or left_s <= 0:
                    return [None] * len(left)
                if self._supervisor.active:
                    return await self._supervisor.stop_job(job)
                if not stopped_here and not await self._leader_exists():
                    log.info("No server leads; stopping the workloads of a job here", job_id=job.id)
                    failures = await self._stop_directly(job)
                    if not failures:
                        return []
                    stopped_here = True
                await waiter.wait(min(CHECK_S, left_s))

    async def _stop_directly(self, job: JobRecord) -> Failures:
        """Stop what the record has, without a supervisor: that of the next leader stores the exits."""
        found = await asyncio.gather(*(self._stop(job, benchmark) for benchmark in self._workloads(job)))
        return [error for error in found if error is not None]

    async def _stop(self, job: JobRecord, benchmark: BenchmarkRecord) -> Exception | None:
        try:
            async with asyncio.timeout(self._stop_grace_s + STOP_TIMEOUT_S):
                handle = benchmark.handle or await self._runtime.find(self._runs(job, benchmark.index))
                if handle is not None:
                    await self._runtime.stop(handle, self._stop_grace_s)
        except TimeoutError:
            return RuntimeUnavailable("stopping takes longer than expected")
        except Exception as error:  # noqa: BLE001  a runtime is a plugin and may raise anything
            log.warning(
                "Workload not stopped",
                job_id=job.id,
                benchmark_index=benchmark.index,
                error=str(error) or type(error).__name__,
            )
            return error
        return None

    def _workloads(self, job: JobRecord) -> list[BenchmarkRecord]:
        return [b for b in job.benchmarks if b.has_workload and not b.is_foreign(self._runtime.name)]

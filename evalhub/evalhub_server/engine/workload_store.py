"""Storing of the changes that the supervision of one workload makes."""

from __future__ import annotations

import asyncio

from structlog.typing import FilteringBoundLogger

from evalhub_common.backoff import Backoff
from evalhub_server.domain import transitions
from evalhub_server.domain.record import INTERRUPTED, BenchmarkRecord, JobRecord
from evalhub_server.domain.sample_transitions import samples_expected
from evalhub_server.engine.clock import Clock
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.queue import Slot
from evalhub_server.errors import LeadershipLost, NotFound, StorageError, StorageUnavailable
from evalhub_server.models.common import Message
from evalhub_server.plugins.runtime import Handle, Notice, Runtime
from evalhub_server.plugins.storage import JobChange

RETRY = Backoff(first_s=0.2, max_s=5.0)
END_WAIT_S = 0.05
"""How long the exit of a workload without further consequences waits for another write."""


class WorkloadStore:
    """The store as one workload uses it. Methods raise :class:`NotFound` if the job was deleted.

    They raise :class:`LeadershipLost` if another server supervises the job.
    """

    def __init__(
        self, store: JobStore, slot: Slot, log: FilteringBoundLogger, *, expects_samples: bool
    ) -> None:
        self._store = store
        self._slot = slot
        self._log = log
        self._expects_samples = expects_samples
        self.left_files = True
        """Whether the workload may have left samples or artifacts."""

    def check_leading(self) -> None:
        """Raise :class:`LeadershipLost` if another server may supervise the job. Called before each effect on the workload."""
        self._store.check_leading()

    async def persist(self, change: JobChange) -> JobRecord:
        """Store a change, with retries while the storage fails: the change is known only here."""
        delays = RETRY.delays()
        while True:
            try:
                return await self._store.update(self._slot.job_id, None, change)
            except (NotFound, LeadershipLost):
                raise
            except StorageError as error:
                self._log.error("failed to update benchmark status", error=str(error))
            await asyncio.sleep(next(delays))

    async def persist_end(self, change: JobChange) -> JobRecord:
        """Store the change with which the workload is over, and that its samples are to be collected."""
        return await self.persist(lambda job: self._with_samples(change(job)))

    async def persist_late_end(self, change: JobChange, *, job_continues: bool) -> None:
        """Like :meth:`persist_end`, where nothing else waits for it: with the job's next change, or the next write of any job.

        At once if there are samples to collect.
        """
        if self._expects_samples and self.left_files:
            await self.persist_end(change)
        elif job_continues:
            self._store.postpone(self._slot.job_id, lambda job: self._with_samples(change(job)))
        else:
            await self._store.next_write(END_WAIT_S)
            await self.persist_end(change)

    def _with_samples(self, job: JobRecord | None) -> JobRecord | None:
        if job is None or not self._expects_samples:
            return job
        return samples_expected(job, self._slot.index, left_files=self.left_files)

    async def persist_handle(self, handle: Handle, runtime: Runtime) -> None:
        """Store the handle of the launched workload: with the next change of the job, if the intent is enough until then.

        Where this server alone launches workloads, nothing but a crash makes a difference: the next server launches again, which
        returns the same handle.
        """
        index, name = self._slot.index, runtime.name

        def launched(job: JobRecord) -> JobRecord:
            return transitions.launched(job, index, handle, runtime=name)

        if runtime.on_this_host:
            self._store.postpone(self._slot.job_id, launched)
        else:
            await self.persist_or_defer("handle", launched)

    async def persist_or_defer(self, key: str, change: JobChange) -> JobRecord | None:
        """Store a change; while the storage is unavailable, buffer it and return None: the workload must be watched.

        Raises :class:`StorageError` for other errors of the storage.
        """
        try:
            return await self._store.update(self._slot.job_id, None, change)
        except StorageUnavailable as error:
            self._log.error("failed to update benchmark status", error=str(error))
            self._store.defer(f"{key} {self._slot.index}".encode(), self._slot.job_id, None, change)
            return None

    async def show_notice(
        self, notice: Notice | None, benchmark: BenchmarkRecord | None, clock: Clock
    ) -> BenchmarkRecord | None:
        """Set or clear the warning of a benchmark; returns it as stored, or None if nothing is stored."""
        shown = benchmark.warning if benchmark else None
        if notice is None and (
            shown is None
            or shown.message_origin != transitions.SERVER
            or shown.message_code == INTERRUPTED  # stays until the benchmark completes
        ):
            return None  # nothing to clear: saves a transaction
        message = notice and Message(
            message=notice.message, message_code=notice.reason, message_origin=transitions.SERVER
        )
        index = self._slot.index
        job = await self.persist_or_defer(
            "notice", lambda job: transitions.noticed(job, index, message, clock())
        )
        return None if job is None else job.benchmarks[index]

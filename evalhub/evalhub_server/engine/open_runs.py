"""Runs at trackers that attempts to record a job have left open, when the job is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from evalhub_common.backoff import Backoff
from evalhub_server.domain.record import JobRecord
from evalhub_server.plugins.tracking import Tracker

log = structlog.get_logger()

WITHIN_S = 5.0
"""How long a deletion waits; then the run is ended in the background."""
ATTEMPT_TIMEOUT_S = 60.0
RETRY = Backoff(2.0, 300.0)
MAX_ATTEMPTS = 300
"""About a day."""


class OpenRuns:
    """Ends runs of deleted jobs. The rest of the job is deleted meanwhile; its record is kept in memory until then."""

    def __init__(self, trackers: Sequence[Tracker], retry: Backoff = RETRY) -> None:
        self._trackers = {tracker.name: tracker for tracker in trackers}
        self._retry = retry
        self._tasks: dict[asyncio.Task[None], str] = {}

    async def end(self, job: JobRecord) -> None:
        """End the runs of a job with pending exports to trackers, or leave that to the background. Raises nothing."""
        pending = {e.name for e in job.progress.outbox if e.kind == "tracker" and e.open}
        trackers = [self._trackers[name] for name in sorted(pending & self._trackers.keys())]
        await asyncio.gather(*(self._end(tracker, job) for tracker in trackers))

    async def close(self) -> None:
        """Stop trying; what is left is logged."""
        for task, text in self._tasks.items():
            log.warning("Run of a deleted job may stay open at its tracker", run=text)
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _end(self, tracker: Tracker, job: JobRecord) -> None:
        if await self._attempt(tracker, job, WITHIN_S):
            return
        task = asyncio.create_task(self._persist(tracker, job), name=f"end-run-{tracker.name}-{job.id}")
        self._tasks[task] = f"{tracker.name}: job {job.id}"
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _persist(self, tracker: Tracker, job: JobRecord) -> None:
        for failures in range(1, MAX_ATTEMPTS + 1):
            await asyncio.sleep(self._retry.delay_s(failures))
            if await self._attempt(tracker, job, ATTEMPT_TIMEOUT_S):
                return
        log.error("Run of a deleted job not ended", tracker=tracker.name, job_id=job.id)

    async def _attempt(self, tracker: Tracker, job: JobRecord, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await tracker.end_run(job)
        except Exception as error:  # noqa: BLE001  a plugin may raise anything; there is a retry
            log.warning(
                "Run of a deleted job not ended yet; retrying",
                tracker=tracker.name,
                job_id=job.id,
                error=str(error) or type(error).__name__,
            )
            return False
        return True

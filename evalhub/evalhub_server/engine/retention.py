"""Deletes what the retention policy does not keep, in the background.

Files are deleted before the record changes: a server that dies in between finds the same work again at its next pass, and no
file is left that no record names. Until the record has changed, reading the deleted files fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from datetime import timedelta
from pathlib import Path

import structlog

from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.retention import (
    Deletion,
    JobFacts,
    RetentionPolicy,
    decide,
    facts_of,
    is_exempt,
    without_samples,
)
from evalhub_server.engine.clock import Clock
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.sample_store import SampleStore
from evalhub_server.errors import EvalHubError, NotFound
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.plugins.storage import JobQuery

log = structlog.get_logger()

FIRST_PAUSE_S = 30.0
PAUSE_S = 900.0
PAGE = 100
MAX_DELETIONS = 500
"""In one pass; another one follows at once if there are more."""
NOTE_BYTES = 200
"""A log up to this size is not worth deleting; it may be the note about a deleted one."""

Baselines = Callable[[], Awaitable[Collection[str]]]
"""Returns the ids of the jobs that are baselines."""


async def no_baselines() -> Collection[str]:
    return ()


class Retention:
    """Applies a policy to the jobs of a store, in the background from :meth:`start` to :meth:`close`; it can be started again."""

    def __init__(
        self,
        store: JobStore,
        runtime: Runtime,
        samples: SampleStore,
        policy: RetentionPolicy,
        clock: Clock,
        baselines: Baselines = no_baselines,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._samples = samples
        self._policy = policy
        self._clock = clock
        self._baselines = baselines
        self._first_pause_s = first_pause_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the background task, if the policy ever deletes anything."""
        if self._policy.deletes:
            self._task = asyncio.create_task(self._run(), name="retention")

    async def close(self) -> None:
        """Stop after the deletion of one thing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        await asyncio.sleep(self._first_pause_s)
        while True:
            count = 0
            try:
                count = len(await self.prune())
            except Exception as error:  # of a plugin or a disk; tried again
                log.error("Retention failed", exc_info=error)
            if count < MAX_DELETIONS:
                await asyncio.sleep(PAUSE_S)

    async def prune(self) -> list[Deletion]:
        """Delete what the policy does not keep, at most :data:`MAX_DELETIONS` things; returns what was deleted."""
        baselines = await self._baselines()
        facts = [await job_facts(job, self._runtime, self._policy, baselines) async for job in self._jobs()]
        planned = await asyncio.to_thread(decide, facts, self._policy, self._clock())
        return [each for each in planned[:MAX_DELETIONS] if await self._delete(each)]

    async def _jobs(self) -> AsyncIterator[JobRecord]:
        """All jobs, the newest first. Pages begin at a time and not at a number, since jobs are created meanwhile."""
        before, skipped = None, 0
        while True:
            page = await self._store.list(JobQuery(limit=PAGE, created_before=before, offset=skipped))
            for job in page.items:
                yield job
            if len(page.items) < PAGE:
                return
            oldest = page.items[-1].created_at
            same = sum(job.created_at == oldest for job in page.items)
            following = oldest + timedelta(microseconds=1)  # "before" excludes the moment itself
            skipped = skipped + same if following == before else same
            before = following

    async def _delete(self, deletion: Deletion) -> bool:
        """Delete one thing unless its job became exempt; False if it was not deleted."""
        job_id = deletion.job_id
        try:
            self._store.check_leading()
            job = await self._store.get(job_id, None)
            if is_exempt(job, await self._baselines()) or self._is_foreign(job):
                return False
            await self._delete_of(job, deletion)
        except NotFound:
            return False
        except (EvalHubError, OSError) as error:
            log.warning("Not deleted by retention", job_id=job_id, what=deletion.what, error=str(error))
            return False
        log.info(
            "Deleted by retention",
            job_id=job_id,
            what=deletion.what,
            bytes=deletion.bytes,
            setting=deletion.setting,
        )
        return True

    async def _delete_of(self, job: JobRecord, deletion: Deletion) -> None:
        note = f"deleted at {self._clock():%Y-%m-%dT%H:%M:%SZ} ({deletion.setting})"
        if deletion.what == "logs":
            await self._runtime.remove_logs(job, f"--- the log was {note} ---")
            return
        await self._samples.remove(job.id)
        if deletion.what == "samples":
            await self._store.update(job.id, None, lambda job: without_samples(job, note), with_exports=False)
            return
        if left := await self._runtime.remove(job.id, job.tenant):
            log.warning("Deleted evaluation job is not removed completely", job_id=job.id, left=left)
        await self._store.delete(job, None)

    def _is_foreign(self, job: JobRecord) -> bool:
        return any(benchmark.is_foreign(self._runtime.name) for benchmark in job.benchmarks)


async def job_facts(
    job: JobRecord, runtime: Runtime, policy: RetentionPolicy, baselines: Collection[str]
) -> JobFacts:
    """The facts about a job and the size of its logs, if the policy needs it."""
    size = 0
    if policy.needs_log_sizes and (files := runtime.log_files(job)):
        size = await asyncio.to_thread(lambda: sum(map(_log_bytes, files)))
    return facts_of(job, size, baselines)


def _log_bytes(path: Path) -> int:
    """The space that a log occupies."""
    try:
        found = path.lstat()
    except OSError:
        return 0
    return min(found.st_size, found.st_blocks * 512) if found.st_size > NOTE_BYTES else 0

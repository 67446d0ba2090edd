"""Repeated examination of targets where an export that was cut short may take effect late.

A request of a server that died, or lost the lead, may reach its target after the next server has exported the job. Entries of
the outbox are marked for that with ``recheck``: by the next server, for what was pending when it started, and by a former
leader that continues, for what it was attempting.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextvars import Context
from functools import partial

import structlog

from evalhub_server.domain import outbox
from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.outbox import EntryKey
from evalhub_server.domain.record import JobRecord
from evalhub_server.engine.export_attempt import ATTEMPT_TIMEOUT_S
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.outbox import Delivery
from evalhub_server.engine.outbox_targets import ExportTarget, ExportTargets
from evalhub_server.errors import LeadershipLost, NotFound, StorageError

log = structlog.get_logger()

CHECKS_S = (5.0, 30.0)
"""Pauses before the first and the last check. MLflow and registries give up requests that take longer."""
RETRY_S = 30.0
MARK_RETRY_S = 1.0
MAX_MARKS = 60


class LateEffects:
    """Checks marked entries from :meth:`start` to :meth:`close`; it can be started again. Marking works at any time.

    ``store`` is the one of the leader, ``marking`` one that any server may write to.
    """

    def __init__(
        self,
        store: JobStore,
        marking: JobStore,
        targets: ExportTargets,
        max_parallel: int,
        checks_s: Sequence[float] = CHECKS_S,
    ) -> None:
        self._store = store
        self._marking = marking
        self._targets = targets
        self._checks_s = checks_s
        self._places = asyncio.Semaphore(max_parallel)
        self._active = False
        self._checks: dict[tuple[str, EntryKey], asyncio.Task[None]] = {}
        self._marks: set[asyncio.Task[None]] = set()
        store.listen(self._on_change)

    async def start(self) -> None:
        """Check what is marked now, and what will be."""
        self._active = True
        for job in await self._store.open():
            self._begin(job)

    def halt(self) -> None:
        """Cancel all checks: none takes another step."""
        self._active = False
        for task in self._checks.values():
            task.cancel()

    async def stop(self) -> None:
        """Check nothing more; the entries stay marked for the next server."""
        self.halt()
        await asyncio.gather(*self._checks.values(), return_exceptions=True)

    async def close(self) -> None:
        """Stop, and mark nothing more."""
        await self.stop()
        for task in self._marks:
            task.cancel()
        await asyncio.gather(*self._marks, return_exceptions=True)

    def mark(self, deliveries: Iterable[Delivery]) -> None:
        """Have the leader recheck exports that this server, which does not lead any more, was attempting."""
        by_job: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for each in deliveries:
            target = self._targets.get(each.kind, each.name)
            if target is not None and target.settles:
                by_job[each.job_id].add((each.kind, each.name))
        for job_id, names in by_job.items():
            task = asyncio.create_task(self._mark(job_id, names), name=f"mark-{job_id}", context=Context())
            self._marks.add(task)
            task.add_done_callback(self._marks.discard)

    async def _mark(self, job_id: str, names: set[tuple[str, str]]) -> None:
        def marked(job: JobRecord) -> JobRecord:
            keys = {each.key for each in job.progress.outbox if (each.kind, each.name) in names}
            return outbox.with_recheck(job, keys, recheck=True)

        for _ in range(MAX_MARKS):
            try:
                await self._marking.update(job_id, None, marked, with_exports=False)
            except NotFound:
                return
            except StorageError as error:
                log.warning("Interrupted exports not marked yet; retrying", job_id=job_id, error=str(error))
                await asyncio.sleep(MARK_RETRY_S)
            else:
                return

    def _on_change(self, change: JobChanged) -> None:
        before = change.before.progress.outbox if change.before else ()
        if self._active and change.after is not None and change.after.progress.outbox is not before:
            self._begin(change.after)

    def _begin(self, job: JobRecord) -> None:
        for entry in job.progress.outbox:
            target = self._targets.get(entry.kind, entry.name)
            key = job.id, entry.key
            if entry.due_for_recheck and target is not None and key not in self._checks:
                task = asyncio.create_task(
                    self._check(job.id, entry.key, target),
                    name=f"recheck-{entry.name}-{job.id}",
                    context=Context(),
                )
                self._checks[key] = task
                task.add_done_callback(partial(self._ended, key))

    def _ended(self, key: tuple[str, EntryKey], task: asyncio.Task[None]) -> None:
        del self._checks[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Recheck of an export failed", job_id=key[0], exc_info=error)

    async def _check(self, job_id: str, key: EntryKey, target: ExportTarget) -> None:
        try:
            for pause_s in self._checks_s:
                await asyncio.sleep(pause_s)
                while (settled := await self._settle(job_id, key, target)) is False:  # noqa: ASYNC110  not a poll
                    await asyncio.sleep(RETRY_S)
                if settled is None:
                    return
            await self._store.update(
                job_id, None, lambda job: outbox.with_recheck(job, {key}, recheck=False), with_exports=False
            )
        except (NotFound, LeadershipLost):
            return
        except StorageError as error:
            log.warning("Recheck not recorded; a later server repeats it", job_id=job_id, error=str(error))

    async def _settle(self, job_id: str, key: EntryKey, target: ExportTarget) -> bool | None:
        """Examine the target once; False if that failed, None if the export is pending again."""
        async with self._places:
            try:
                job = await self._store.get(job_id, None)
                entry = next((each for each in job.progress.outbox if each.key == key), None)
                if entry is None or not entry.due_for_recheck:
                    return None
                self._store.check_leading()
                async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                    await target.settle(job, entry)
            except (NotFound, LeadershipLost):
                raise
            except Exception as error:  # noqa: BLE001  a plugin may raise anything; there is a retry
                text = str(error) or type(error).__name__
                log.warning("Export not rechecked yet; retrying", job_id=job_id, name=target.name, error=text)
                return False
        return True

"""The outbox: delivers pending exports to trackers and exporters in the background, with retries."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from datetime import datetime
from typing import Literal, NamedTuple

import structlog
from msgspec import Struct

from evalhub_common.backoff import Backoff
from evalhub_server.domain import outbox
from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import ExportKind, JobRecord, OutboxEntry
from evalhub_server.engine.clock import Clock, utc_now
from evalhub_server.engine.export_attempt import Failure, deliver
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.outbox_targets import ExportTarget, ExportTargets
from evalhub_server.errors import LeadershipLost, NotFound, StorageError
from evalhub_server.settings import FinalizerSettings

log = structlog.get_logger()

RETRY_FIRST_S = 1.0
STORE_RETRY_S = 1.0
DRAIN_S = 0.4
"""How long attempts under way may still take at shutdown. The SDK's "server stop" kills the server after five seconds."""


def retry_backoff(settings: FinalizerSettings) -> Backoff:
    """The delays between the attempts of one export."""
    return Backoff(RETRY_FIRST_S, settings.retry_most, jitter=0.5)


class ExportAttempt(Struct, kw_only=True, frozen=True):
    """One attempt, as listeners receive it. ``retrying``: it failed and will be retried; ``failed``: it will not.

    ``error`` is the redacted text of a failure.
    """

    kind: ExportKind
    name: str
    event: str
    result: Literal["succeeded", "retrying", "failed"]
    seconds: float
    error: str = ""


AttemptListener = Callable[[ExportAttempt], None]


class Delivery(NamedTuple):
    """The pending exports of one job to one target; attempted one after the other, in one task."""

    job_id: str
    kind: ExportKind
    name: str


class DeliveryTask:
    """The task of a delivery and its stage. ``job_changed``: the job has changed since the task last read it."""

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.stage: Literal["reading", "trying", "storing", "pausing"] = "reading"
        self.job_changed = False
        self.resumed = False
        """Whether an earlier server may have attempted it: a request of that attempt may still take effect."""
        self.retry = asyncio.Event()
        """Set to end a pause."""


class Outbox:
    """Delivers from :meth:`start` to :meth:`close`; it can be started again. Pending exports are part of the job records; this holds the tasks.

    Each target has its own limit of ``max_parallel`` attempts, so one that is down does not delay another.
    ``chance`` returns numbers between 0 and 1 for the jitter.
    """

    def __init__(
        self,
        store: JobStore,
        targets: ExportTargets,
        settings: FinalizerSettings,
        chance: Callable[[], float],
        redact: Callable[[str], str] = str,
        clock: Clock = utc_now,
    ) -> None:
        self._store = store
        self._targets = targets
        self._settings = settings
        self._chance = chance
        self._redact = redact
        self._clock = clock
        self._deliveries: dict[Delivery, DeliveryTask] = {}
        self._places: dict[tuple[str, str], asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(settings.max_parallel)
        )
        self._listeners: list[AttemptListener] = []
        self._active = False
        self._cut_short: list[Delivery] = []
        store.listen(self._on_change)

    def listen(self, listener: AttemptListener) -> None:
        """Call ``listener`` after every attempt, synchronously."""
        self._listeners.append(listener)

    @property
    def pending(self) -> dict[tuple[ExportKind, str], int]:
        """How many jobs have pending exports, by (kind, name) of the target."""
        count: dict[tuple[ExportKind, str], int] = defaultdict(int)
        for delivery in self._deliveries:
            count[delivery.kind, delivery.name] += 1
        return dict(count)

    async def start(self) -> None:
        """Resume the exports that an earlier server left pending."""
        self._active = True
        counts: Counter[tuple[ExportKind, str]] = Counter()
        for job in await self._store.open():
            entries = job.progress.outbox
            pending = _pending(job.id, entries)
            self._update_tasks(job.id, (), entries)
            for each in pending & self._deliveries.keys():
                self._deliveries[each].resumed = True
            counts.update((each.kind, each.name) for each in pending)
        for (kind, name), count in counts.items():
            if self._targets.get(kind, name):
                log.info("Pending exports resumed", kind=kind, name=name, count=count)
            else:
                log.warning(
                    "Pending exports wait for a plugin that is not selected",
                    kind=kind,
                    name=name,
                    count=count,
                )

    def halt(self) -> None:
        """Cancel all attempts: none takes another step. Call :meth:`close` afterwards."""
        self._active = False
        self._cut_short = [key for key, each in self._deliveries.items() if each.stage == "trying"]
        for each in self._deliveries.values():
            each.task.cancel()

    async def close(self, drain_s: float = DRAIN_S) -> Sequence[Delivery]:
        """Wait up to ``drain_s`` for attempts under way, then cancel. With a durable store the next server continues.

        Returns the deliveries of which :meth:`halt` has cut an attempt short.
        """
        self._active = False
        tasks = list(self._deliveries.values())
        under_way = [each.task for each in tasks if each.stage in ("trying", "storing")]
        if under_way and drain_s:
            await asyncio.wait(under_way, timeout=drain_s)
        for each in tasks:
            each.task.cancel()
        await asyncio.gather(*(each.task for each in tasks), return_exceptions=True)
        left = sum(each.task.cancelled() for each in tasks)
        if left and self._store.durable:
            log.info("Pending exports left for the next server", count=left)
        elif left:
            log.warning("Pending exports lost: the storage is in memory", count=left)
        cut_short, self._cut_short = self._cut_short, []
        return cut_short

    def _on_change(self, change: JobChanged) -> None:
        job = change.after or change.before
        before = change.before.progress.outbox if change.before else ()
        after = change.after.progress.outbox if change.after else ()
        if self._active and job is not None and before is not after:
            self._update_tasks(job.id, before, after)

    def _update_tasks(
        self, job_id: str, before: tuple[OutboxEntry, ...], after: tuple[OutboxEntry, ...]
    ) -> None:
        """Start a task for each delivery with pending exports, and cancel those of a deleted job."""
        pending = _pending(job_id, after)
        for delivery in dict.fromkeys(Delivery(job_id, e.kind, e.name) for e in (*before, *after)):
            running = self._deliveries.get(delivery)
            if running is None:
                if delivery in pending:
                    self._start(delivery)
            elif delivery in pending:
                running.job_changed = True
                if _entries(delivery, before) != _entries(delivery, after):
                    running.retry.set()  # a client requested it, or the job has a new outcome
            elif running.stage in ("trying", "pausing"):
                running.task.cancel()  # a deleted job; in the other stages the task itself made the change

    def _start(self, delivery: Delivery) -> None:
        target = self._targets.get(delivery.kind, delivery.name)
        if target is None:
            return  # it stays pending: the next server may have the plugin again
        running = self._deliveries[delivery] = DeliveryTask()
        # An empty context: what the task logs belongs to no request.
        running.task = asyncio.create_task(
            self._deliver(delivery, running, target),
            name=f"export-{delivery.name}-{delivery.job_id}",
            context=Context(),
        )

    async def _deliver(self, delivery: Delivery, running: DeliveryTask, target: ExportTarget) -> None:
        try:
            while True:
                async with self._places[delivery.kind, delivery.name]:
                    running.stage = "reading"
                    running.job_changed = False
                    job = await self._read(delivery.job_id)
                    entry = outbox.next_pending(job, delivery.kind, delivery.name) if job else None
                    if job is None or entry is None:
                        if running.job_changed:
                            continue
                        return  # removed from the deliveries before another task can run
                    wait_s = await self._attempt(delivery, running, target, job, entry)
                if wait_s:
                    running.stage = "pausing"
                    running.retry.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait_s):
                            await running.retry.wait()
        except (NotFound, LeadershipLost):
            return  # deleted, or another server delivers
        finally:
            del self._deliveries[delivery]

    async def _read(self, job_id: str) -> JobRecord | None:
        while True:
            try:
                return await self._store.get(job_id, None)
            except NotFound:
                return None
            except StorageError as error:
                log.error("Job not read; its exports wait", job_id=job_id, error=str(error))
            await asyncio.sleep(STORE_RETRY_S)

    async def _attempt(
        self,
        delivery: Delivery,
        running: DeliveryTask,
        target: ExportTarget,
        job: JobRecord,
        entry: OutboxEntry,
    ) -> float:
        """Attempt one export and store its outcome; returns the pause before the next attempt, in seconds."""
        running.stage = "trying"
        self._store.check_leading()
        started = time.monotonic()
        outcome = await deliver(target, job, entry, self._redact)
        seconds = time.monotonic() - started
        running.stage = "storing"
        wait_s = 0.0
        if isinstance(outcome, Failure):
            attempts = entry.attempts + 1
            text, now = outcome.text, self._clock()
            final = attempts >= self._settings.max_attempts or _is_over(entry, outcome.retry_for_s, now)
            await self._persist(
                delivery.job_id, lambda job: outbox.attempt_failed(job, entry, text, now, final=final)
            )
            if final:
                result = "failed"
                log.error("Export failed", **delivery._asdict(), attempt=attempts, error=text, **outcome.call)
            else:
                result, wait_s = "retrying", retry_backoff(self._settings).delay_s(attempts, self._chance())
                log.warning(
                    "Export failed; retrying",
                    **delivery._asdict(),
                    attempt=attempts,
                    error=text,
                    retry_in_s=round(wait_s, 1),
                    **outcome.call,
                )
        else:
            recheck = running.resumed and target.settles
            await self._persist(
                delivery.job_id, lambda job: outbox.delivered(job, entry, outcome, recheck=recheck)
            )
            result = "succeeded"
            log.info("Export succeeded", **delivery._asdict(), reference=outcome.reference)
        attempt = ExportAttempt(
            kind=delivery.kind,
            name=delivery.name,
            event=entry.event,
            result=result,
            seconds=seconds,
            error=outcome.text if isinstance(outcome, Failure) else "",
        )
        for listener in self._listeners:
            listener(attempt)
        return wait_s

    async def _persist(self, job_id: str, change: Callable[[JobRecord], JobRecord]) -> None:
        """Store the outcome of an attempt, with retries while the storage fails. Raises :class:`NotFound`, :class:`LeadershipLost`."""
        while True:
            try:
                await self._store.update(job_id, None, change)
            except (NotFound, LeadershipLost):
                raise
            except StorageError as error:
                log.error("Outcome of an export not stored; retrying", job_id=job_id, error=str(error))
                await asyncio.sleep(STORE_RETRY_S)
            else:
                return


def _is_over(entry: OutboxEntry, retry_for_s: float | None, now: datetime) -> bool:
    if not retry_for_s:
        return retry_for_s is not None
    return entry.failing_since is not None and (now - entry.failing_since).total_seconds() >= retry_for_s


def _entries(delivery: Delivery, entries: tuple[OutboxEntry, ...]) -> list[OutboxEntry]:
    return [each for each in entries if (each.kind, each.name) == (delivery.kind, delivery.name)]


def _pending(job_id: str, entries: tuple[OutboxEntry, ...]) -> set[Delivery]:
    return {Delivery(job_id, each.kind, each.name) for each in entries if each.state == "pending"}

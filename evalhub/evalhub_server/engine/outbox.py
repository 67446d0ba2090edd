"""The outbox: delivers finished jobs to trackers and exporters in the background, with retries."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextvars import Context
from typing import Literal, NamedTuple

import msgspec
import structlog
from msgspec import Struct

from evalhub_common.backoff import Backoff
from evalhub_server.domain import outbox
from evalhub_server.domain.record import ExportKind, ExportOutcome, ExportRecord, JobRecord
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.outbox_targets import Destination, Destinations
from evalhub_server.errors import ExportRefused, NotFound, StorageError
from evalhub_server.plugins.hookspecs import JobChanged
from evalhub_server.settings import FinalizerSettings

ATTEMPT_TIMEOUT_S = 120.0
RETRY_FIRST_S = 1.0
ERROR_CHARACTERS = 2000


class Failure(NamedTuple):
    """``text`` is for clients; ``final``: another try cannot help."""

    text: str
    final: bool = False


async def deliver(
    destination: Destination, job: JobRecord, owed: ExportRecord, redact: Callable[[str], str]
) -> ExportOutcome | Failure:
    """Whatever a plugin raises is a failure; only the cancellation of the calling task is raised."""
    try:
        outcome = await asyncio.wait_for(destination.deliver(job, owed), ATTEMPT_TIMEOUT_S)
        msgspec.json.encode(outcome)  # raises here rather than in the storage, for ever
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        return Failure("it was cancelled")
    except TimeoutError as error:
        return Failure(_text(error, redact) or f"no answer within {ATTEMPT_TIMEOUT_S:g} seconds")
    except ExportRefused as error:
        return Failure(_text(error, redact), final=True)
    except Exception as error:  # noqa: BLE001  a plugin may raise anything; it is tried again
        return Failure(_text(error, redact) or type(error).__name__)
    return outcome


def _text(error: Exception, redact: Callable[[str], str]) -> str:
    # What is kept and shown: no secrets, no novels, nothing that a database refuses.
    text = redact(str(error)).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= ERROR_CHARACTERS else text[:ERROR_CHARACTERS] + " …"


def retry_backoff(settings: FinalizerSettings) -> Backoff:
    """The delays between the attempts of one export."""
    return Backoff(RETRY_FIRST_S, settings.retry_most, jitter=0.5)


log = structlog.get_logger()

STORE_RETRY_S = 1.0
DRAIN_S = 0.4
"""How long what is under way may still take at shutdown. The SDK's "server stop" kills after five seconds in all."""


class ExportAttempt(Struct, kw_only=True, frozen=True):
    """One try, for whoever counts. ``retrying``: it failed and is tried again; ``failed``: it is not."""

    kind: ExportKind
    name: str
    event: str
    result: Literal["succeeded", "retrying", "failed"]
    seconds: float


AttemptListener = Callable[[ExportAttempt], None]


class Lane(NamedTuple):
    """What one job owes one destination; paid one after the other, in one task."""

    job_id: str
    kind: ExportKind
    name: str


class Work:
    """A lane's task and where it stands. ``news``: its job has changed since it last looked."""

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.stage: Literal["looking", "trying", "noting", "pausing"] = "looking"
        self.news = False


class Finalizer:
    """:meth:`start` first, :meth:`close` last. What is owed is in the records; here is only who works on it.

    A destination that is down takes no place of another: each has its own ``max_parallel`` places, which a lane
    occupies only during an attempt. ``chance`` gives numbers between 0 and 1 for the jitter.
    """

    def __init__(
        self,
        store: JobStore,
        destinations: Destinations,
        settings: FinalizerSettings,
        chance: Callable[[], float],
        redact: Callable[[str], str] = str,
    ) -> None:
        self._store = store
        self._destinations = destinations
        self._settings = settings
        self._chance = chance
        self._redact = redact
        self._lanes: dict[Lane, Work] = {}
        self._places: dict[tuple[str, str], asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(settings.max_parallel)
        )
        self._listeners: list[AttemptListener] = []
        self._closing = False
        store.listen(self._on_change)

    def listen(self, listener: AttemptListener) -> None:
        """Tell ``listener`` of every attempt, synchronously."""
        self._listeners.append(listener)

    @property
    def owing(self) -> dict[tuple[ExportKind, str], int]:
        """How many jobs owe something, by (kind, name) of whom they owe it."""
        count: dict[tuple[ExportKind, str], int] = defaultdict(int)
        for lane in self._lanes:
            count[lane.kind, lane.name] += 1
        return dict(count)

    async def start(self) -> None:
        """Pick up what an earlier server left."""
        counts: Counter[tuple[ExportKind, str]] = Counter()
        for job in await self._store.open():
            self._look(job.id, (), job.exports)
            counts.update((lane.kind, lane.name) for lane in _owed(job.id, job.exports))
        for (kind, name), count in counts.items():
            if self._destinations.get(kind, name):
                log.info("exports picked up", kind=kind, name=name, count=count)
            else:
                log.warning(
                    "exports wait for a plugin that is not selected", kind=kind, name=name, count=count
                )

    async def close(self) -> None:
        """Give what is under way a moment, then let go. With a durable store the next server goes on."""
        self._closing = True
        works = list(self._lanes.values())
        under_way = [work.task for work in works if work.stage in ("trying", "noting")]
        if under_way:
            await asyncio.wait(under_way, timeout=DRAIN_S)
        for work in works:
            work.task.cancel()
        await asyncio.gather(*(work.task for work in works), return_exceptions=True)
        left = sum(work.task.cancelled() for work in works)
        if left and self._store.durable:
            log.info("exports left for the next server", count=left)
        elif left:
            log.warning("exports lost, since the jobs are in memory only", count=left)

    def _on_change(self, change: JobChanged) -> None:
        job = change.after or change.before
        before = change.before.exports if change.before else ()
        after = change.after.exports if change.after else ()
        if job is not None and before is not after:
            self._look(job.id, before, after)

    def _look(self, job_id: str, before: tuple[ExportRecord, ...], after: tuple[ExportRecord, ...]) -> None:
        """Make sure that somebody works on what the job owes, and nobody on what it does not owe any more."""
        owed = _owed(job_id, after)
        for lane in dict.fromkeys(Lane(job_id, e.kind, e.name) for e in (*before, *after)):
            work = self._lanes.get(lane)
            if work is None:
                if lane in owed and not self._closing:
                    self._open(lane)
            elif lane in owed:
                work.news = True
            elif work.stage in ("trying", "pausing"):
                work.task.cancel()  # a deleted job; a lane's own success is noted by itself

    def _open(self, lane: Lane) -> None:
        destination = self._destinations.get(lane.kind, lane.name)
        if destination is None:
            return  # it stays owed: the next server may have the plugin again
        work = self._lanes[lane] = Work()
        # A context of its own: what is logged later belongs to no request.
        work.task = asyncio.create_task(
            self._pay(lane, work, destination), name=f"export-{lane.name}-{lane.job_id}", context=Context()
        )

    async def _pay(self, lane: Lane, work: Work, destination: Destination) -> None:
        try:
            while True:
                async with self._places[lane.kind, lane.name]:
                    work.stage = "looking"
                    work.news = False
                    job = await self._read(lane.job_id)
                    owed = outbox.next_owed(job, lane.kind, lane.name) if job else None
                    if job is None or owed is None:
                        if work.news:
                            continue
                        return  # and out of the lanes, before anybody else can run
                    wait_s = await self._attempt(lane, work, destination, job, owed)
                if wait_s:
                    work.stage = "pausing"
                    await asyncio.sleep(wait_s)
        except NotFound:
            return  # deleted
        finally:
            del self._lanes[lane]

    async def _read(self, job_id: str) -> JobRecord | None:
        while True:
            try:
                return await self._store.get(job_id, None)
            except NotFound:
                return None
            except StorageError as error:
                log.error("job cannot be read; its exports wait", job_id=job_id, error=str(error))
            await asyncio.sleep(STORE_RETRY_S)

    async def _attempt(
        self, lane: Lane, work: Work, destination: Destination, job: JobRecord, owed: ExportRecord
    ) -> float:
        """Try once and note what became of it; returns how long to wait before the next look, in seconds."""
        work.stage = "trying"
        started = time.monotonic()
        outcome = await deliver(destination, job, owed, self._redact)
        seconds = time.monotonic() - started
        work.stage = "noting"
        wait_s = 0.0
        if isinstance(outcome, Failure):
            attempts = owed.attempts + 1
            text, final = outcome.text, outcome.final or attempts >= self._settings.max_attempts
            await self._persist(lane.job_id, lambda job: outbox.attempt_failed(job, owed, text, final=final))
            if final:
                result = "failed"
                log.error("export failed", **lane._asdict(), attempt=attempts, error=text)
            else:
                result, wait_s = "retrying", retry_backoff(self._settings).delay_s(attempts, self._chance())
                log.warning(
                    "export failed; trying again",
                    **lane._asdict(),
                    attempt=attempts,
                    error=text,
                    again_in_s=round(wait_s, 1),
                )
        else:
            await self._persist(lane.job_id, lambda job: outbox.delivered(job, owed, outcome))
            result = "succeeded"
            log.info("exported", **lane._asdict(), reference=outcome.reference)
        attempt = ExportAttempt(
            kind=lane.kind, name=lane.name, event=owed.event, result=result, seconds=seconds
        )
        for listener in self._listeners:
            listener(attempt)
        return wait_s

    async def _persist(self, job_id: str, change: Callable[[JobRecord], JobRecord]) -> None:
        """Store what became of an attempt; while the storage fails, keep trying. Raises :class:`NotFound`."""
        while True:
            try:
                await self._store.update(job_id, None, change)
            except NotFound:
                raise
            except StorageError as error:
                log.error("outcome of an export cannot be stored yet", job_id=job_id, error=str(error))
                await asyncio.sleep(STORE_RETRY_S)
            else:
                return


def _owed(job_id: str, records: tuple[ExportRecord, ...]) -> set[Lane]:
    return {Lane(job_id, each.kind, each.name) for each in records if each.state == "pending"}

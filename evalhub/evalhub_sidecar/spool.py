"""The spool of events: accepts events for an unavailable server, and delivers them in order.

The SDK sends each event once and waits ten seconds; an event that is not accepted by then is lost, even the result of
hours. So the sidecar accepts an event that the server cannot take, and retries until the server has it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from evalhub_common.backoff import Backoff
from evalhub_sidecar import logs
from evalhub_sidecar.errors import Refused
from evalhub_sidecar.event_files import Event, EventFiles, write_event

ANSWER_WITHIN_S = 8.0
"""Then the event is accepted, before the SDK's timeout."""
RETRY = Backoff(first_s=0.24, max_s=12.0, jitter=0.33)
SHUTDOWN_DELAY_S = 0.5
"""The longest delay once the sidecar stops."""
FINAL_ATTEMPT_SHARE = 0.15
"""The share of the time for shutdown in which each remaining event is sent once more, regardless of earlier failures."""
MAX_SPOOL_BYTES = 32 << 20
MAX_ATTEMPTS = 30
"""Attempts for an event that the server itself answers with an error (5xx): about five minutes."""
UNAVAILABLE = frozenset((408, 425, 429, 502, 503, 504))
"""Status codes of servers and proxies that did not process the event."""


class Answer(Struct, kw_only=True, frozen=True):
    """The server's response."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    retry_after_s: float = 0.0


Send = Callable[[Event], Awaitable[Answer | None]]
"""Sends an event once; returns None if the server could not be reached."""


class _Entry:
    """An event in its queue. ``answer`` is for the client: the server's, or None if the event is stored."""

    def __init__(self, event: Event, file: Path | None = None) -> None:
        self.event = event
        self.file = file
        self.answer: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self.file_lock = asyncio.Lock()
        self.delivered = False

    def resolve(self, answer: Answer | None) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class _Queue:
    def __init__(self) -> None:
        self.events: deque[_Entry] = deque()
        self.blocked = False
        self.task: asyncio.Task[None] | None = None


class Spool:
    """One queue per target, each with a task that delivers its events in order.

    ``files`` stores accepted events, too; None: in memory only.
    """

    def __init__(self, send: Send, files: EventFiles | None = None) -> None:
        self._send = send
        self._files = files
        self._queues: dict[str, _Queue] = {}
        self._stopping = asyncio.Event()

    async def open(self) -> None:
        """Load the events that an earlier process in this pod has stored."""
        for file, event in await self._files.read_all() if self._files else ():
            self._add(_Entry(event, file))

    async def deliver(self, event: Event) -> Answer | None:
        """The server's answer; None if the event is stored and delivered later, even if the client disconnects.

        Raises :class:`Refused`, 503, when the spool is full.
        """
        stored = sum(len(entry.event.body) for queue in self._queues.values() for entry in queue.events)
        if stored + len(event.body) > MAX_SPOOL_BYTES:
            raise Refused(
                503, "spool_full", "The server is unavailable and the sidecar cannot store more events."
            )
        entry = _Entry(event)
        queue = self._add(entry)
        if not queue.blocked:
            await asyncio.wait([entry.answer], timeout=ANSWER_WITHIN_S)
        if entry.answer.done() and (answer := entry.answer.result()) is not None:
            return answer
        entry.resolve(None)
        await self._store(entry)  # before the adapter gets the response
        return None

    def stop(self) -> None:
        """Shorten all delays, because the sidecar stops."""
        self._stopping.set()

    async def flush(self, deadline_s: float) -> int:
        """Deliver the remaining events; returns the number of those that could not be delivered in that time."""
        self.stop()
        until = asyncio.get_running_loop().time() + deadline_s
        tasks = [queue.task for queue in self._queues.values() if queue.task]
        if tasks:
            await asyncio.wait(tasks, timeout=deadline_s * (1 - FINAL_ATTEMPT_SHARE))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await asyncio.gather(*(self._final_attempt(queue) for queue in self._queues.values()))
        lost = [entry for queue in self._queues.values() for entry in queue.events]
        for entry in lost:
            logs.error("Event not delivered", target=entry.event.target, stored=bool(entry.file))
        return len(lost)

    async def _final_attempt(self, queue: _Queue) -> None:
        """Send each event once, in order: a server whose storage is unavailable refuses events, but buffers them."""
        for entry in list(queue.events):
            answer = await self._send(entry.event)
            if answer is None:
                return  # the server is unreachable
            if is_final(answer, 1):
                queue.events.remove(entry)
                await self._done(entry, answer)

    def _add(self, entry: _Entry) -> _Queue:
        target = entry.event.target
        queue = self._queues.setdefault(target, _Queue())
        queue.events.append(entry)
        if queue.task is None:
            queue.task = asyncio.create_task(self._run(target, queue), name=f"events {target}")
        return queue

    async def _run(self, target: str, queue: _Queue) -> None:
        attempts = 0
        while queue.events:
            entry = queue.events[0]
            answer = await self._send(entry.event)
            attempts += 1
            if is_final(answer, attempts):
                queue.events.popleft()
                queue.blocked, attempts = False, 0
                await self._done(entry, answer)
                continue
            if not queue.blocked:
                logs.warning(
                    "Server is unavailable, events are stored", target=target, status=answer and answer.status
                )
            queue.blocked = True
            for other in list(queue.events):
                if not other.answer.done():
                    other.resolve(None)
                    await self._store(other)
            await self._delay(attempts, answer)
        del self._queues[target]

    async def _done(self, entry: _Entry, answer: Answer | None) -> None:
        was_stored = entry.answer.done()
        entry.resolve(answer)
        if was_stored and answer is not None:
            log = logs.info if answer.status < 400 else logs.error
            log("Stored event answered", target=entry.event.target, status=answer.status)
        async with entry.file_lock:
            entry.delivered = True
            if entry.file is not None:
                await asyncio.to_thread(entry.file.unlink, missing_ok=True)

    async def _delay(self, attempts: int, answer: Answer | None) -> None:
        delay_s = RETRY.delay_s(attempts)
        if answer is not None:
            delay_s = max(delay_s, min(answer.retry_after_s, RETRY.max_s))
        if self._stopping.is_set():
            await asyncio.sleep(min(delay_s, SHUTDOWN_DELAY_S))
            return
        try:
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _store(self, entry: _Entry) -> None:
        """Write the event to its file, unless it was delivered meanwhile."""
        if self._files is None:
            return
        async with entry.file_lock:
            if entry.file is not None or entry.delivered:
                return
            entry.file = self._files.next_path()
            try:
                await asyncio.to_thread(write_event, entry.file, entry.event)
            except OSError as error:
                logs.warning("Stored event cannot be written", path=str(entry.file), error=str(error))


def is_final(answer: Answer | None, attempts: int) -> bool:
    """Whether a request is not to be repeated: the server has processed it, or has failed to too often."""
    if answer is None or answer.status in UNAVAILABLE:
        return False
    return answer.status < 500 or attempts >= MAX_ATTEMPTS

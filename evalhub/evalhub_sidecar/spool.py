"""Events that are delivered in order, however long the server is away.

The SDK sends each event once, waits ten seconds and forgets it: what is not accepted then is lost, the result of hours
included. So an event that the server cannot take is accepted in its place, and sent again until the server has it.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from evalhub_sidecar import logs
from evalhub_sidecar.errors import Refused
from evalhub_sidecar.event_files import Event, EventFiles, write

ANSWER_WITHIN_S = 8.0
"""After that the event counts as accepted, so that the SDK does not give up first."""
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
HURRIED_PAUSE_S = 0.5
FOR_LAST_WORDS = 0.15
"""The part of the time at the end in which everything is sent once more, whatever becomes of what came before it."""
LARGEST_SPOOL_BYTES = 32 << 20
GIVE_UP_AFTER = 30
"""Attempts for an event that a reachable server answers with an error of its own: five minutes."""
AWAY = frozenset((408, 425, 429, 502, 503, 504))
"""What servers and proxies answer that could not look at the event."""


class Answer(Struct, kw_only=True, frozen=True):
    """What the server said."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    retry_after_s: float = 0.0


Send = Callable[[Event], Awaitable[Answer | None]]
"""Sends an event once; None if the server could not be reached."""


class _Waiting:
    """An event in its lane. ``told`` gets the answer, or None when the client is told that the event is kept."""

    def __init__(self, event: Event, file: Path | None = None) -> None:
        self.event = event
        self.file = file
        self.told: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self.filing = asyncio.Lock()
        self.delivered = False

    def tell(self, answer: Answer | None) -> None:
        if not self.told.done():
            self.told.set_result(answer)


class _Lane:
    def __init__(self) -> None:
        self.events: deque[_Waiting] = deque()
        self.stuck = False
        self.task: asyncio.Task[None] | None = None


class Spool:
    """One lane for each target, each delivered by one task from its first event on.

    ``files``: where accepted events also lie; None: in memory only.
    """

    def __init__(self, send: Send, files: EventFiles | None = None) -> None:
        self._send = send
        self._files = files
        self._lanes: dict[str, _Lane] = {}
        self._hurry = asyncio.Event()

    async def open(self) -> None:
        """Go on with what an earlier sidecar of this pod has left."""
        for file, event in await self._files.left_behind() if self._files else ():
            self._add(_Waiting(event, file))

    async def deliver(self, event: Event) -> Answer | None:
        """The server's answer, or None if the event is kept to be delivered later.

        Raises :class:`Refused`, 503, when too much is kept already. A client that goes away changes nothing.
        """
        kept = sum(len(w.event.body) for lane in self._lanes.values() for w in lane.events)
        if kept + len(event.body) > LARGEST_SPOOL_BYTES:
            raise Refused(503, "spool_full", "The server is away and the sidecar cannot keep more events.")
        waiting = _Waiting(event)
        lane = self._add(waiting)
        if not lane.stuck:
            await asyncio.wait([waiting.told], timeout=ANSWER_WITHIN_S)
        if waiting.told.done() and (answer := waiting.told.result()) is not None:
            return answer
        waiting.tell(None)
        await self._keep(waiting)  # before the adapter hears that it is kept, whoever decided that
        return None

    def hurry(self) -> None:
        """The end is near: no more long pauses."""
        self._hurry.set()

    async def flush(self, deadline_s: float) -> int:
        """Deliver what is left, in a hurry; returns how many events could not be delivered in that time."""
        self.hurry()
        until = asyncio.get_running_loop().time() + deadline_s
        tasks = [lane.task for lane in self._lanes.values() if lane.task]
        if tasks:
            await asyncio.wait(tasks, timeout=deadline_s * (1 - FOR_LAST_WORDS))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await asyncio.gather(*(self._last_words(lane) for lane in self._lanes.values()))
        lost = [waiting for lane in self._lanes.values() for waiting in lane.events]
        for waiting in lost:
            logs.error("event not delivered", target=waiting.event.target, kept=bool(waiting.file))
        return len(lost)

    async def _last_words(self, lane: _Lane) -> None:
        """Send all of it once, in order: a server whose storage is away refuses events and keeps them in memory."""
        for waiting in list(lane.events):
            answer = await self._send(waiting.event)
            if answer is None:
                return  # nobody hears it
            if _final(answer, 1):
                lane.events.remove(waiting)
                await self._done(waiting, answer)

    def _add(self, waiting: _Waiting) -> _Lane:
        target = waiting.event.target
        lane = self._lanes.setdefault(target, _Lane())
        lane.events.append(waiting)
        if lane.task is None:
            lane.task = asyncio.create_task(self._run(target, lane), name=f"events {target}")
        return lane

    async def _run(self, target: str, lane: _Lane) -> None:
        attempts = 0
        while lane.events:
            waiting = lane.events[0]
            answer = await self._send(waiting.event)
            attempts += 1
            if _final(answer, attempts):
                lane.events.popleft()
                lane.stuck, attempts = False, 0
                await self._done(waiting, answer)
                continue
            if not lane.stuck:
                logs.warning(
                    "server is away, events are kept", target=target, status=answer and answer.status
                )
            lane.stuck = True
            for other in list(lane.events):
                if not other.told.done():
                    other.tell(None)
                    await self._keep(other)
            await self._pause(attempts, answer)
        del self._lanes[target]

    async def _done(self, waiting: _Waiting, answer: Answer | None) -> None:
        late = waiting.told.done()
        waiting.tell(answer)
        if late and answer is not None:
            log = logs.info if answer.status < 400 else logs.error
            log("kept event answered", target=waiting.event.target, status=answer.status)
        async with waiting.filing:
            waiting.delivered = True
            if waiting.file is not None:
                await asyncio.to_thread(waiting.file.unlink, missing_ok=True)

    async def _pause(self, attempts: int, answer: Answer | None) -> None:
        asked_s = min(answer.retry_after_s, LONGEST_PAUSE_S) if answer else 0.0
        pause_s = max(asked_s, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempts - 1, 10)))
        pause_s *= random.uniform(0.8, 1.2)  # noqa: S311  only spreads the load
        if self._hurry.is_set():
            await asyncio.sleep(min(pause_s, HURRIED_PAUSE_S))
            return
        try:
            async with asyncio.timeout(pause_s):
                await self._hurry.wait()
        except TimeoutError:
            return

    async def _keep(self, waiting: _Waiting) -> None:
        """Returns when the event lies in its file, or needs none any more."""
        if self._files is None:
            return
        async with waiting.filing:
            if waiting.file is not None or waiting.delivered:
                return
            waiting.file = self._files.next()
            try:
                await asyncio.to_thread(write, waiting.file, waiting.event)
            except OSError as error:
                logs.warning("a kept event cannot be written", path=str(waiting.file), error=str(error))


def _final(answer: Answer | None, attempts: int) -> bool:
    if answer is None or answer.status in AWAY:
        return False
    return answer.status < 500 or attempts >= GIVE_UP_AFTER

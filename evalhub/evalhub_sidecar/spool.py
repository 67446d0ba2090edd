"""Events that are delivered in order, however long the server is away.

The SDK sends each event once, waits ten seconds and forgets it: what is not accepted then is lost, the result of hours
included. So an event that the server cannot take is accepted in its place, and sent again until the server has it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from evalhub_sidecar import logs
from evalhub_sidecar.errors import Refused

ANSWER_WITHIN_S = 8.0
"""After that the event counts as accepted, so that the SDK does not give up first."""
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
HURRIED_PAUSE_S = 0.5
LARGEST_SPOOL_BYTES = 32 << 20
LARGEST_FILE_BYTES = 16 << 20
"""An event of the largest size that is taken, as a file has it."""
GIVE_UP_AFTER = 30
"""Attempts for an event that a reachable server answers with an error of its own: five minutes."""
AWAY = frozenset((408, 425, 429, 502, 503, 504))
"""What servers and proxies answer that could not look at the event."""


class Event(Struct, kw_only=True, frozen=True):
    """A request to repeat. ``target`` names the job, and so the lane."""

    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


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

    ``directory``: where accepted events also lie, for a sidecar that is started again; None: in memory only. The adapter
    can write there too, so a file is read as if the adapter had just sent it: only for a target that ``allowed`` accepts.
    """

    def __init__(
        self, send: Send, directory: Path | None = None, allowed: Callable[[str], bool] = lambda _: True
    ) -> None:
        self._send = send
        self._directory = directory
        self._allowed = allowed
        self._lanes: dict[str, _Lane] = {}
        self._hurry = asyncio.Event()
        self._numbers = 0

    async def open(self) -> None:
        """Go on with what an earlier sidecar of this pod has left."""
        for file, event in await asyncio.to_thread(self._left_behind):
            self._numbers = max(self._numbers, int(file.stem))
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
        tasks = [lane.task for lane in self._lanes.values() if lane.task]
        if tasks:
            await asyncio.wait(tasks, timeout=deadline_s)
        lost = [waiting for lane in self._lanes.values() for waiting in lane.events]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for waiting in lost:
            logs.error("event not delivered", target=waiting.event.target, kept=bool(waiting.file))
        return len(lost)

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
        if self._directory is None:
            return
        async with waiting.filing:
            if waiting.file is not None or waiting.delivered:
                return
            self._numbers += 1
            waiting.file = self._directory / f"{self._numbers:08d}.json"
            try:
                await asyncio.to_thread(_write, waiting.file, waiting.event)
            except OSError as error:
                logs.warning("a kept event cannot be written", path=str(waiting.file), error=str(error))

    def _left_behind(self) -> list[tuple[Path, Event]]:
        found: list[tuple[Path, Event]] = []
        if self._directory is None or self._directory.is_symlink() or not self._directory.is_dir():
            return found
        for file in sorted(self._directory.glob("*.json")):
            try:
                event = _read(file)
            except (OSError, ValueError, msgspec.MsgspecError) as error:
                logs.error("a kept event cannot be read", path=str(file), error=str(error))
                continue
            if self._allowed(event.target):
                found.append((file, event))
            else:
                logs.error("a kept event is not this job's", path=str(file), target=event.target)
        return found


def _final(answer: Answer | None, attempts: int) -> bool:
    if answer is None or answer.status in AWAY:
        return False
    return answer.status < 500 or attempts >= GIVE_UP_AFTER


def _write(file: Path, event: Event) -> None:
    file.parent.mkdir(mode=0o700, exist_ok=True)
    if file.parent.is_symlink():
        raise OSError(errno.ELOOP, "the directory is a link", str(file.parent))
    unfinished = file.with_suffix(".tmp")
    unfinished.unlink(missing_ok=True)
    # Credentials are added anew when it is sent; none of them lies about in a file.
    headers = tuple(pair for pair in event.headers if pair[0].lower() != "authorization")
    with unfinished.open("xb") as out:
        out.write(msgspec.json.encode(msgspec.structs.replace(event, headers=headers)))
    unfinished.replace(file)


def _read(file: Path) -> Event:
    if not file.stem.isdecimal():
        raise ValueError("its name is not a number")
    with open(file, "rb", opener=_not_following_links) as stream:
        if os.fstat(stream.fileno()).st_size > LARGEST_FILE_BYTES:
            raise ValueError("it is too large")
        return msgspec.json.decode(stream.read(), type=Event)


def _not_following_links(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))

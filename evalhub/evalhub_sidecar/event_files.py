"""Events as files, for a sidecar that is started again.

The adapter can write beside them, so a file is read as if the adapter had just sent it: nothing is trusted, and no link
is followed.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from evalhub_sidecar import logs

LARGEST_FILE_BYTES = 16 << 20
"""An event of the largest size that is taken, as a file has it."""


class Event(Struct, kw_only=True, frozen=True):
    """A request to repeat. ``target`` names the job."""

    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class EventFiles:
    """Those in ``directory``, numbered in the order of the events; only for targets that ``allowed`` accepts."""

    def __init__(self, directory: Path, allowed: Callable[[str], bool]) -> None:
        self._directory = directory
        self._allowed = allowed
        self._numbers = 0

    async def left_behind(self) -> list[tuple[Path, Event]]:
        """What an earlier sidecar has left, in order. Later numbers follow these."""
        found = await asyncio.to_thread(self._read_all)
        self._numbers = max((int(file.stem) for file, _ in found), default=0)
        return found

    def next(self) -> Path:
        """Return where the next event is to lie."""
        self._numbers += 1
        return self._directory / f"{self._numbers:08d}.json"

    def _read_all(self) -> list[tuple[Path, Event]]:
        found: list[tuple[Path, Event]] = []
        if self._directory.is_symlink() or not self._directory.is_dir():
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


def write(file: Path, event: Event) -> None:
    """Write the event whole or not at all. Blocks; raises OSError."""
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

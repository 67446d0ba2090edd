"""Files of stored events, which survive a restart of the sidecar.

The adapter can write to the directory, so a file is treated like a request of the adapter: its content is validated, and
links are not followed.
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

MAX_FILE_BYTES = 16 << 20
"""The size of a file with the largest event that the sidecar accepts."""


class Event(Struct, kw_only=True, frozen=True):
    """A request to be sent again. ``target`` contains the job's id."""

    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class EventFiles:
    """The files of a directory, numbered in the order of the events. Targets that ``allowed`` refuses are skipped."""

    def __init__(self, directory: Path, allowed: Callable[[str], bool]) -> None:
        self._directory = directory
        self._allowed = allowed
        self._numbers = 0

    async def read_all(self) -> list[tuple[Path, Event]]:
        """The files of an earlier process, in order. Numbers of new files follow theirs."""
        found = await asyncio.to_thread(self._read_directory)
        self._numbers = max((int(file.stem) for file, _ in found), default=0)
        return found

    def next_path(self) -> Path:
        """The path of the next event."""
        self._numbers += 1
        return self._directory / f"{self._numbers:08d}.json"

    def _read_directory(self) -> list[tuple[Path, Event]]:
        found: list[tuple[Path, Event]] = []
        if self._directory.is_symlink() or not self._directory.is_dir():
            return found
        for file in sorted(self._directory.glob("*.json")):
            try:
                event = _read(file)
            except (OSError, ValueError, msgspec.MsgspecError) as error:
                logs.error("Stored event cannot be read", path=str(file), error=str(error))
                continue
            if self._allowed(event.target):
                found.append((file, event))
            else:
                logs.error("Stored event belongs to another job", path=str(file), target=event.target)
        return found


def write_event(file: Path, event: Event) -> None:
    """Write the event atomically. Blocks; raises OSError."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    if file.parent.is_symlink():
        raise OSError(errno.ELOOP, "the directory is a link", str(file.parent))
    unfinished = file.with_suffix(".tmp")
    unfinished.unlink(missing_ok=True)
    # Credentials are added when the event is sent, and not stored.
    headers = tuple(pair for pair in event.headers if pair[0].lower() != "authorization")
    with unfinished.open("xb") as out:
        out.write(msgspec.json.encode(msgspec.structs.replace(event, headers=headers)))
    unfinished.replace(file)


def _read(file: Path) -> Event:
    if not file.stem.isdecimal():
        raise ValueError("its name is not a number")
    with open(file, "rb", opener=_open_without_links) as stream:
        if os.fstat(stream.fileno()).st_size > MAX_FILE_BYTES:
            raise ValueError("it is too large")
        return msgspec.json.decode(stream.read(), type=Event)


def _open_without_links(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))

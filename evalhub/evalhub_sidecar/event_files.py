"""Files of stored events, which survive a restart of the sidecar.

The adapter can write to the volume, and often as the same user. So a file is treated like a request of the adapter: its
content is validated, links are not followed, and a directory or file of another user is not used.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from evalhub_common.private_paths import UnsafePath, check_directory, open_private
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
        self._numbers = await asyncio.to_thread(self._last_number)
        return found

    def next_path(self) -> Path:
        """The path of the next event."""
        self._numbers += 1
        return self._directory / f"{self._numbers:08d}.json"

    def _read_directory(self) -> list[tuple[Path, Event]]:
        found: list[tuple[Path, Event]] = []
        try:
            check_directory(self._directory)
        except FileNotFoundError:
            return found
        except (OSError, UnsafePath) as error:
            logs.error("Stored events cannot be used", path=str(self._directory), error=str(error))
            return found
        for file in sorted(self._directory.glob("*.json")):
            try:
                event = _read(file)
            except (OSError, UnsafePath, ValueError, msgspec.MsgspecError) as error:
                logs.error("Stored event cannot be read", path=str(file), error=str(error))
                continue
            if self._allowed(event.target):
                found.append((file, event))
            else:
                logs.error("Stored event belongs to another job", path=str(file), target=event.target)
        return found

    def _last_number(self) -> int:
        """The largest number of all files, also of those that were not accepted, which no new file may replace."""
        numbers = [int(file.stem) for file in self._directory.glob("*.json") if file.stem.isdecimal()]
        return max(numbers, default=0)


def write_event(file: Path, event: Event) -> None:
    """Write the event atomically. Blocks; raises OSError."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        check_directory(file.parent)
    except UnsafePath as error:
        raise OSError(errno.EPERM, str(error)) from error
    unfinished = file.with_suffix(".tmp")
    unfinished.unlink(missing_ok=True)
    # Credentials are added when the event is sent, and not stored.
    headers = tuple(pair for pair in event.headers if pair[0].lower() != "authorization")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(msgspec.json.encode(msgspec.structs.replace(event, headers=headers)))
    unfinished.replace(file)


def _read(file: Path) -> Event:
    if not file.stem.isdecimal():
        raise ValueError("its name is not a number")
    with os.fdopen(open_private(file, os.O_RDONLY), "rb") as stream:
        if os.fstat(stream.fileno()).st_size > MAX_FILE_BYTES:
            raise ValueError("it is too large")
        return msgspec.json.decode(stream.read(), type=Event)

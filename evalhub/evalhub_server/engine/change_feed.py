"""The feed of committed job changes, which streams, long polls and entity tags of lists share."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Generator
from contextlib import contextmanager

from evalhub_server.plugins.hookspecs import JobChanged


class ChangeFeed:
    """Counts committed changes and wakes those that wait for them. Nothing here waits or calls out.

    ``epoch`` identifies this life of the server, ``position`` is the number of changes in it. A list that was read at
    one position of one epoch is current as long as the position is the same.
    """

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(4)
        self.position = 0
        self.closed = False
        self._watches: dict[str, set[asyncio.Event]] = {}

    def publish(self, change: JobChanged) -> None:
        """Take a committed change, in commit order."""
        self.position += 1
        if self._watches:
            job = change.after or change.before
            if job is not None and (watches := self._watches.get(job.id)):
                for changed in watches:
                    changed.set()

    def outcome_unknown(self) -> None:
        """Take note of a write that failed: a broken connection leaves open whether it was committed."""
        self.position += 1

    @contextmanager
    def watch(self, job_id: str) -> Generator[asyncio.Event]:
        """An event that is set by every change of a job, and when the server stops; the reader clears it."""
        changed = asyncio.Event()
        if self.closed:
            changed.set()
        watches = self._watches.setdefault(job_id, set())
        watches.add(changed)
        try:
            yield changed
        finally:
            watches.discard(changed)
            if not watches and self._watches.get(job_id) is watches:
                del self._watches[job_id]

    def close(self) -> None:
        """Wake everything that waits: the server stops."""
        self.closed = True
        for watches in self._watches.values():
            for changed in watches:
                changed.set()

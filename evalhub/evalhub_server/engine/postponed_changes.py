"""Changes of jobs that wait for the next change of their job, to be stored in its transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context

from msgspec import Struct

from evalhub_server.plugins.storage import JobChange

POSTPONED_S = 1.0
"""How long a change waits at most."""


class _Waiting(Struct):
    """The postponed changes of one job, oldest first, and the timer that stores them."""

    changes: list[JobChange]
    timer: asyncio.TimerHandle


class PostponedChanges:
    """Keeps changes in memory until they are stored; ``store`` stores those of a job without another change.

    A change may be applied more than once, and must then return its argument.
    """

    def __init__(self, store: Callable[[str], Coroutine[None, None, None]], within_s: float) -> None:
        self._store = store
        self._within_s = within_s
        self._jobs: dict[str, _Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, job_id: str, change: JobChange) -> None:
        waiting = self._jobs.get(job_id)
        if waiting is None:
            timer = asyncio.get_running_loop().call_later(self._within_s, self._due, job_id)
            waiting = self._jobs[job_id] = _Waiting([], timer)
        waiting.changes.append(change)

    def of(self, job_id: str) -> Sequence[JobChange]:
        """The changes that wait for the next one of the job."""
        waiting = self._jobs.get(job_id)
        return () if waiting is None else tuple(waiting.changes)

    def stored(self, job_id: str, changes: Sequence[JobChange]) -> None:
        """Forget changes that are stored. The others of the job wait until the timer of the first one."""
        waiting = self._jobs.get(job_id)
        if waiting is not None:
            waiting.changes = [each for each in waiting.changes if each not in changes]
            if not waiting.changes:
                self.forget(job_id)

    def forget(self, job_id: str) -> None:
        """Forget the changes of a job that does not exist any more."""
        waiting = self._jobs.pop(job_id, None)
        if waiting is not None:
            waiting.timer.cancel()

    async def flush(self) -> None:
        """Store the changes of all jobs."""
        for job_id in list(self._jobs):
            await self._store(job_id)

    def _due(self, job_id: str) -> None:
        # An empty context: what the task logs belongs to no request.
        task = asyncio.create_task(self._store(job_id), name=f"postponed-{job_id}", context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

"""One task for each leader: it waits for the end, reaps, and notes what the leader could not note itself."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

from evalhub_runtime_local.attempt import Attempt, signal_name
from evalhub_runtime_local.exits import ended
from evalhub_runtime_local.proctable import SHORTAGES, Identity, ProcessTable
from evalhub_server.domain.record import Exit

RETRY_S = 0.2


class Followers:
    """Owns the tasks; a workload's leader is reaped here and nowhere else, so no zombie stays."""

    def __init__(self, table: ProcessTable, *, pidfd: bool = True) -> None:
        self._table = table
        self._pidfd = pidfd
        self._tasks: dict[Identity, asyncio.Task[Exit]] = {}

    def follow(self, attempt: Attempt, leader: Identity) -> asyncio.Task[Exit]:
        """The task that ends with the leader; made if there is none."""
        task = self._tasks.get(leader)
        if task is None:
            task = asyncio.create_task(self._follow(attempt, leader), name=f"follow-{leader.pid}")
            self._tasks[leader] = task
            task.add_done_callback(lambda task: self._done(leader, task))
        return task

    async def exit_of(self, attempt: Attempt, leader: Identity) -> Exit:
        """Cancel-safe: the task goes on."""
        return await asyncio.shield(self.follow(attempt, leader))

    async def until_ended(self, who: Identity) -> None:
        """For anybody of a workload. A leader is left to its task."""
        task = self._tasks.get(who)
        if task is None:
            await ended(who, self._table, pidfd=self._pidfd)
        else:
            await asyncio.wait([task])

    async def settled(self, leader: Identity) -> None:
        """Return when a leader that has ended is reaped."""
        task = self._tasks.get(leader)
        if task is not None:
            await asyncio.wait([task])

    async def close(self) -> None:
        """End the tasks; the workloads go on."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, leader: Identity, task: asyncio.Task[Exit]) -> None:
        del self._tasks[leader]
        if not task.cancelled():
            task.exception()  # seen, even if nobody waits at this time

    async def _follow(self, attempt: Attempt, leader: Identity) -> Exit:
        status = await ended(leader, self._table, pidfd=self._pidfd)
        while True:
            try:
                return await asyncio.to_thread(self._outcome, attempt, leader, status)
            except OSError as error:
                if error.errno not in SHORTAGES:
                    return Exit(lost=True, message=f"what was noted of its end cannot be read: {error}")
            # Here and not by whoever asks: a wait status is given out only once.
            await asyncio.sleep(RETRY_S)

    def _outcome(self, attempt: Attempt, leader: Identity, status: int | None) -> Exit:
        """What the leader noted; else its own wait status, which only its parent has; else nothing is known."""
        noted = attempt.read_exit()
        if noted is not None:
            return noted
        if status is None:
            return Exit(lost=True, message=f"nothing was noted in {attempt.meta}")
        if os.WIFSIGNALED(status):
            with suppress(OSError):  # for who asks after a restart; now it is known anyhow
                attempt.record_signal(os.WTERMSIG(status))
            name = signal_name(os.WTERMSIG(status))
            return Exit(signal=name, message="the shell that ran the command was killed")
        if attempt.read_pid() == leader.pid:
            return Exit(code=os.WEXITSTATUS(status))
        return Exit(
            lost=True,
            message=f"the command was not started: {attempt.pid_file} could not be written; is the disk full?",
        )

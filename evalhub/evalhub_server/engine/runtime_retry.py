"""A runtime as one workload asks it: a plugin may raise anything, and is asked again until it knows."""

from __future__ import annotations

import asyncio

from structlog.typing import FilteringBoundLogger

from evalhub_common.backoff import Backoff
from evalhub_server.domain.diagnosis import LOG_TAIL_LINES
from evalhub_server.domain.record import Exit
from evalhub_server.plugins.runtime import BenchmarkRun, Handle, LogOptions, Runtime

RETRY = Backoff(first_s=0.2, max_s=15.0)
LOG_TAIL_BYTES = 16 * 1024


class RuntimeCalls:
    """``grace_s``: the time between asking a workload to end and forcing it."""

    def __init__(self, runtime: Runtime, grace_s: float, log: FilteringBoundLogger) -> None:
        self._runtime = runtime
        self._grace_s = grace_s
        self._hurry = asyncio.Event()
        self._log = log

    def hurry(self, grace_s: float) -> None:
        """Have another grace from now on, also for a stop that is under way."""
        self._grace_s = grace_s
        self._hurry.set()

    async def exit(self, handle: Handle) -> Exit:
        """Wait for the end."""
        delays = RETRY.delays()
        while True:
            try:
                return await self._runtime.wait(handle)
            except Exception as error:  # noqa: BLE001  a runtime is a plugin and may raise anything
                self._log.error(
                    "runtime cannot tell whether the workload runs; asking again", error=str(error)
                )
            await asyncio.sleep(next(delays))

    async def stop(self, handle: Handle) -> None:
        """Return when nothing of the workload runs."""
        delays = RETRY.delays()
        while True:
            self._hurry.clear()
            stopping = asyncio.create_task(self._runtime.stop(handle, self._grace_s))
            hurried = asyncio.create_task(self._hurry.wait())
            try:
                await asyncio.wait((stopping, hurried), return_when=asyncio.FIRST_COMPLETED)
            finally:
                hurried.cancel()
                if not stopping.done():
                    stopping.cancel()
                    await asyncio.gather(stopping, return_exceptions=True)
            if stopping.cancelled() and self._hurry.is_set():
                continue
            error = "it was cancelled" if stopping.cancelled() else stopping.exception()
            if error is None:
                return
            self._log.error("workload could not be stopped; trying again", error=str(error))
            await asyncio.sleep(next(delays))

    async def hidden(self, run: BenchmarkRun) -> Handle | None:
        """What a launch that raised may have started; None too if the runtime cannot tell: it is asked once."""
        try:
            return await self._runtime.find(run)
        except Exception as error:  # noqa: BLE001  as above
            self._log.error("runtime cannot tell what a failed launch left", error=str(error))
            return None

    async def log_tail(self, handle: Handle) -> str:
        """The last lines of what the adapter has printed, or why there are none."""
        try:
            tail = b""
            async for chunk in self._runtime.logs(handle, LogOptions(tail_lines=LOG_TAIL_LINES)):
                tail = (tail + chunk)[-LOG_TAIL_BYTES:]  # a line can be as long as the log
        except Exception as error:  # noqa: BLE001  as above; a missing log must not hide the exit
            return f"(the log cannot be read: {error})"
        return tail.decode("utf-8", "replace")

"""Retrying wrapper around a runtime, for one workload: a plugin may raise anything."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from structlog.typing import FilteringBoundLogger

from evalhub_common.backoff import Backoff
from evalhub_server.domain.diagnosis import LOG_TAIL_LINES
from evalhub_server.domain.log_lines import LogLines
from evalhub_server.domain.record import Exit
from evalhub_server.engine.artifact_files import has_entries
from evalhub_server.engine.interruptible import Interrupted, InterruptibleCall
from evalhub_server.errors import RuntimeRefused, RuntimeUnavailable
from evalhub_server.plugins.calls import call_fields
from evalhub_server.plugins.runtime import BenchmarkRun, Handle, LogOptions, Notice, Runtime

RETRY = Backoff(first_s=0.2, max_s=15.0)
RUNTIME_ERROR = "runtime_error"
"""Code of the warning of a benchmark whose runtime raises."""
LOG_TAIL_BYTES = 16 * 1024


def is_cancelled(error: BaseException) -> bool:
    """Whether an error is the cancellation of the current task, and not one that a plugin raised by itself."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


class Refusals:
    """A series of refusals of one call, which is retried for a limited time."""

    def __init__(self) -> None:
        self._since_s: float | None = None

    def exhausted(self, error: BaseException) -> bool:
        """Whether the series has lasted for as long as it is retried. Any other error interrupts it."""
        if not isinstance(error, RuntimeRefused):
            self._since_s = None
            return False
        now_s = time.monotonic()
        if self._since_s is None:
            self._since_s = now_s
        return now_s - self._since_s >= error.retry_for_s


class RetryingRuntime:
    """Calls a runtime until it succeeds.

    ``grace_s`` is the time between SIGTERM and SIGKILL. ``notify`` shows that the runtime has raised in
    :meth:`wait` or :meth:`stop`; it raises nothing. ``check`` is called before each stop, and what it raises is raised.
    """

    def __init__(
        self,
        runtime: Runtime,
        grace_s: float,
        log: FilteringBoundLogger,
        notify: Callable[[Notice, BaseException], Awaitable[None]],
        check: Callable[[], None],
    ) -> None:
        self._runtime = runtime
        self._grace_s = grace_s
        self._stopping = InterruptibleCall()
        self._requested = asyncio.Event()
        self._log = log
        self._notify = notify
        self._check = check

    def set_grace(self, grace_s: float) -> None:
        """Change the grace period; a stop in progress is restarted with the new one."""
        self._grace_s = grace_s
        self._stopping.interrupt()

    def retry_stop(self) -> None:
        """Retry a stop that has failed without waiting longer."""
        self._requested.set()

    async def wait(self, handle: Handle) -> Exit:
        """Wait until the workload exits."""
        delays = RETRY.delays()
        while True:
            try:
                return await self._runtime.wait(handle)
            except Exception as error:  # noqa: BLE001  a runtime is a plugin and may raise anything
                await self._failed("wait for", error)
            await asyncio.sleep(next(delays))

    async def stop(self, handle: Handle, *, until_refused: bool = False) -> RuntimeRefused | None:
        """Return None when nothing of the workload runs.

        If that is refused, return the last refusal when they have lasted for as long as they are retried; with
        ``until_refused`` the first one.
        """
        delays, refusals = RETRY.delays(), Refusals()
        while True:
            self._requested.clear()
            self._check()
            try:
                await self._stopping.result(self._runtime.stop(handle, self._grace_s))
                return None
            except Interrupted:
                continue  # with the new grace period
            except (asyncio.CancelledError, Exception) as caught:
                if is_cancelled(caught):
                    raise
                error = caught
            await self._failed("stop", error)
            if isinstance(error, RuntimeRefused) and (until_refused or refusals.exhausted(error)):
                return error
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(next(delays)):
                    await self._requested.wait()

    async def _failed(self, action: str, error: BaseException) -> None:
        name, kind = self._runtime.name, type(error).__name__
        self._log.error(
            f"Runtime failed to {action} the workload; retrying",
            runtime=name,
            error=str(error) or kind,
            exc_info=None if isinstance(error, RuntimeUnavailable) else error,
            **call_fields(error),
        )
        # Its text is for the operator: it may name hosts and paths of the server.
        text = f"The runtime '{name}' failed to {action} the workload ({kind}). The server retries; its log has the cause."
        await self._notify(Notice(reason=RUNTIME_ERROR, message=text), error)

    async def find(self, run: Callable[[], BenchmarkRun]) -> Handle | None:
        """The workload of a launch that raised; None if there is none, or if that fails: there is no retry.

        ``run`` may raise, too: it calls trackers.
        """
        try:
            return await self._runtime.find(run())
        except Exception as error:  # noqa: BLE001  as above
            self._log.error(
                "Runtime failed to find the workload of a failed launch",
                error=str(error),
                **call_fields(error),
            )
            return None

    async def age_s(self, handle: Handle) -> float | None:
        """For how many seconds the workload has run; None if that is unknown."""
        try:
            return await self._runtime.age_s(handle)
        except Exception as error:  # noqa: BLE001  as above; the time of the launch is stored
            self._log.warning("Runtime failed to report the age of a workload", error=str(error))
            return None

    async def left_files(self, handle: Handle) -> bool:
        """Whether an ended workload may have left samples or artifacts; True if they are uploaded, or the runtime fails."""
        try:
            files = await self._runtime.sample_files(handle)
            return files is None or has_entries(files)
        except Exception as error:  # noqa: BLE001  as above; the collector of samples retries
            self._log.warning("Runtime failed to report the files of a workload", error=str(error))
            return True

    async def log_tail(self, handle: Handle) -> str | None:
        """The last lines of the adapter's output, or a note why they cannot be read; None if there is no log."""
        tail, lines = b"", LogLines()
        try:
            async for chunk in self._runtime.logs(handle, LogOptions(tail_lines=LOG_TAIL_LINES)):
                tail = (tail + lines.feed(chunk))[-LOG_TAIL_BYTES:]  # a line can be as long as the log
            tail += lines.close(ended=True)
            if not tail and not await self._runtime.has_log(handle):
                return None
        except Exception as error:  # noqa: BLE001  as above; a missing log must not hide the exit
            return f"(the log cannot be read: {error})"
        return tail[-LOG_TAIL_BYTES:].decode("utf-8", "replace")

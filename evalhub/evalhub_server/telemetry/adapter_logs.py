"""Export of adapter output after the adapter has exited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import structlog
from opentelemetry._logs import Logger
from opentelemetry.context import Context

from evalhub_common.callback_tokens import redact_callback_tokens
from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.engine.log_text import finished_lines
from evalhub_server.plugins.runtime import LogOptions, Runtime
from evalhub_server.telemetry.threads import in_thread

log = structlog.get_logger()

LINES = 1000
LINE_BYTES = 32 * 1024
TIMEOUT_S = 30.0
LAST_S = 0.5
FLUSH_EVERY = 500
"""Lines; fewer than the SDK's queue holds, which drops further ones."""

ContextOf = Callable[[str, int], Context]
"""(job id, benchmark index) → the context with the benchmark's span."""


class AdapterLogs:
    """Sends the last :data:`LINES` lines of each workload that has exited, for at most :data:`TIMEOUT_S` seconds.

    :meth:`on_change` must be called for every committed change, before the span of the benchmark ends.
    """

    def __init__(
        self, runtime: Runtime, logger: Logger, flush: Callable[[], object], context_of: ContextOf
    ) -> None:
        self._runtime = runtime
        self._logger = logger
        self._flush = flush
        self._context_of = context_of
        self._tasks: set[asyncio.Task[None]] = set()

    def on_change(self, change: JobChanged) -> None:
        before, after = change.before, change.after
        if before is None or after is None:
            return
        for old, new in change.benchmarks:
            if old.exit is None and new.exit is not None and new.handle is not None:
                chunks = self._runtime.logs(new.handle, LogOptions(tail_lines=LINES))
                sending = self._send(after, new, chunks, self._context_of(after.id, new.index))
                task = asyncio.create_task(sending, name=f"telemetry-log-{after.id}-{new.index}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait :data:`LAST_S` seconds for reads in progress, then cancel them."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send(
        self, job: JobRecord, benchmark: BenchmarkRecord, chunks: AsyncIterator[bytes], context: Context
    ) -> None:
        planned = job.plan.benchmarks[benchmark.index]
        attributes: dict[str, str | int] = {
            "evalhub.log.source": "container",
            "evalhub.job.id": job.id,
            "evalhub.job.state": job.state.value,
            "evalhub.benchmark.id": planned.id,
            "evalhub.benchmark.index": benchmark.index,
            "evalhub.provider.id": planned.provider_id,
        }
        number = 0
        try:
            async with asyncio.timeout(TIMEOUT_S):
                async for line in _lines(chunks):
                    # Time and severity of the line are unknown.
                    self._logger.emit(body=line, attributes=dict(attributes), context=context)
                    number += 1
                    if number % FLUSH_EVERY == 0:
                        await in_thread(self._flush, "telemetry-log")
        except Exception as error:  # noqa: BLE001  a runtime is a plugin and may raise anything
            log.warning(
                "Benchmark log not sent",
                job_id=job.id,
                benchmark_index=benchmark.index,
                error=str(error) or type(error).__name__,
            )


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Lines without line feeds, cut after :data:`LINE_BYTES`."""
    rest, cut = b"", False
    async for chunk in finished_lines(chunks, ended=True):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if not cut:
                yield _text(line)
            cut = False
        if len(rest) > LINE_BYTES:
            if not cut:
                yield _text(rest)
            rest, cut = b"", True
    if rest and not cut:
        yield _text(rest)


def _text(line: bytes) -> str:
    return redact_callback_tokens(line[:LINE_BYTES].decode("utf-8", "replace"))

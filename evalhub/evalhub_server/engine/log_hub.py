"""Logs that grow, read once for all clients that follow them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import Context

import structlog

from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.engine.job_logs import header_line
from evalhub_server.engine.job_store import JobStore
from evalhub_server.errors import NotFound, RuntimeUnavailable, StorageError
from evalhub_server.plugins.calls import call_fields
from evalhub_server.plugins.runtime import LogPart, Runtime

BLOCK_BYTES = 64 * 1024
WINDOW_BYTES = 4 * BLOCK_BYTES
"""The newest part of a log, from which followers read. One that is slower reads the file itself, at its own pace."""
SHARED_FRAMES = 16
CHECK_S = 0.5
"""Seconds between two looks at the record, which a storage has in its cache."""

log = structlog.get_logger()


class LogSource:
    """The growing log of one benchmark. While it has followers, one task reads what is appended.

    ``ended``: the workload has ended and everything is read.
    """

    def __init__(self, runtime: Runtime, store: JobStore, job_id: str, index: int) -> None:
        self._runtime = runtime
        self._store = store
        self._job_id = job_id
        self._index = index
        self._window = b""
        self._window_start: int | None = None
        self._shared: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self.ended = False
        self.wakes: set[asyncio.Event] = set()

    async def start(self, tail_lines: int) -> int:
        """The position in bytes of the last lines; of the beginning, if ``tail_lines`` is negative."""
        benchmark = await self._benchmark()
        if tail_lines < 0 or benchmark is None or not _readable(benchmark, self._runtime):
            return 0
        assert benchmark.handle is not None  # noqa: S101  it is readable
        try:
            return await self._runtime.log_offset(benchmark.handle, tail_lines)
        except RuntimeUnavailable:
            return 0

    async def read(self, offset: int) -> LogPart:
        """Whole lines from ``offset``, at most a block; the rest if the log has ended; nothing if there is no more yet."""
        ended = self.ended
        if self._window_start is not None and offset >= self._window_start:
            first = offset - self._window_start
            data = self._window[first : first + BLOCK_BYTES]
            part = LogPart(data, offset + len(data))
        else:
            part = await self.read_file(offset)
        if ended or len(part.data) >= BLOCK_BYTES:
            return part
        data = part.data[: part.data.rfind(b"\n") + 1]
        return LogPart(data, part.end - (len(part.data) - len(data)))

    def shared(self, offset: int, data: bytes, encode: Callable[[], bytes]) -> bytes:
        """The encoded form of ``data`` at ``offset``, encoded once for followers that are at the same place."""
        key = offset, len(data)
        if (known := self._shared.get(key)) is None:
            known = self._shared[key] = encode()
            if len(self._shared) > SHARED_FRAMES:
                self._shared.popitem(last=False)
        return known

    def open(self, position: int) -> None:
        if self._task is None:
            self._window, self._window_start = b"", position
            self._task = asyncio.create_task(
                self._follow(), name=f"log-{self._job_id}-{self._index}", context=Context()
            )

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _follow(self) -> None:
        """Read what is appended until the workload has ended."""
        assert self._window_start is not None  # noqa: S101  set by open()
        while not self.ended:
            benchmark = await self._benchmark()
            over = _is_over(benchmark)
            if benchmark is not None and not over and await self._stream(benchmark):
                await self._pause()
                continue
            position = self._window_start + len(self._window)
            data, end = await self.read_file(position, benchmark)
            if end != position + len(data):  # followers before the gap read the file themselves
                self._window, self._window_start = b"", end
            elif data:
                self._append(data)
            elif over:
                self.ended = True
            if data or over:
                self._wake()
            if len(data) < BLOCK_BYTES and not over:
                await self._pause()

    async def _pause(self) -> None:
        """Wait for the time between two reads, or until the benchmark is over."""
        step_s = min(self._runtime.log_poll_s, CHECK_S)
        for _ in range(round(self._runtime.log_poll_s / step_s)):
            if _is_over(await self._benchmark()):
                return
            await asyncio.sleep(step_s)

    async def _stream(self, benchmark: BenchmarkRecord) -> bool:
        """Take what the runtime streams, until it stops or the benchmark is over; False if it does not stream now."""
        if not _readable(benchmark, self._runtime):
            return False
        streaming = asyncio.create_task(self._take(benchmark), name=f"stream-{self._job_id}-{self._index}")
        try:
            while not (await asyncio.wait([streaming], timeout=CHECK_S))[0]:
                if _is_over(await self._benchmark()):
                    return True
            return streaming.result()
        finally:
            streaming.cancel()
            await asyncio.gather(streaming, return_exceptions=True)

    async def _take(self, benchmark: BenchmarkRecord) -> bool:
        """Whether the runtime streamed anything, up to the end of its stream."""
        assert self._window_start is not None  # noqa: S101  set by open()
        assert benchmark.handle is not None  # noqa: S101  it is readable
        position, streams = self._window_start + len(self._window), False
        try:
            async for data in self._runtime.follow_log(benchmark.handle, position):
                streams = True
                self._append(data)
                self._wake()
        except RuntimeUnavailable as error:
            log.debug("Log cannot be followed now", job_id=self._job_id, error=str(error))
        except Exception as error:  # noqa: BLE001  a runtime is a plugin and may raise anything
            self._log_failure("follow", error)
        return streams

    def _append(self, data: bytes) -> None:
        assert self._window_start is not None  # noqa: S101  set by open()
        window = self._window + data
        self._window_start += max(0, len(window) - WINDOW_BYTES)
        self._window = window[-WINDOW_BYTES:]

    def _wake(self) -> None:
        for wake in self.wakes:
            wake.set()

    async def read_file(self, offset: int, benchmark: BenchmarkRecord | None = None) -> LogPart:
        """At most a block from ``offset``, as it is now; nothing if it cannot be read."""
        benchmark = benchmark or await self._benchmark()
        if benchmark is None or not _readable(benchmark, self._runtime):
            return LogPart(b"", offset)
        assert benchmark.handle is not None  # noqa: S101  it is readable
        try:
            return await self._runtime.read_log(benchmark.handle, offset, BLOCK_BYTES)
        except RuntimeUnavailable as error:
            log.debug("Log cannot be read now", job_id=self._job_id, error=str(error))
            return LogPart(b"", offset)
        except Exception as error:  # noqa: BLE001  a runtime is a plugin and may raise anything
            self._log_failure("read", error)
            return LogPart(b"", offset)

    def _log_failure(self, action: str, error: Exception) -> None:
        log.error(
            f"Runtime failed to {action} a log; retrying",
            job_id=self._job_id,
            benchmark_index=self._index,
            exc_info=error,
            **call_fields(error),
        )

    async def _benchmark(self) -> BenchmarkRecord | None:
        """The benchmark as stored; None if its job is deleted."""
        while True:
            try:
                return (await self._store.get(self._job_id, None)).benchmarks[self._index]
            except NotFound:
                return None
            except StorageError:
                await asyncio.sleep(self._runtime.log_poll_s)


def _is_over(benchmark: BenchmarkRecord | None) -> bool:
    return benchmark is None or benchmark.ended


def _readable(benchmark: BenchmarkRecord, runtime: Runtime) -> bool:
    return benchmark.handle is not None and not benchmark.is_foreign(runtime.name)


class LogHub:
    """The logs that are being followed, by job and benchmark."""

    def __init__(self, runtime: Runtime, store: JobStore) -> None:
        self._runtime = runtime
        self._store = store
        self._sources: dict[tuple[str, int], LogSource] = {}

    async def header(self, job: JobRecord, index: int) -> bytes:
        """The line that precedes the output of a benchmark in the log of a job."""
        try:
            pod, container = await self._runtime.log_source(job.benchmarks[index].handle, job.id, index)
        except RuntimeUnavailable:
            pod, container = "unknown", "unknown"
        return header_line(pod, container, job.plan.benchmarks[index].id)

    async def read(self, job_id: str, index: int, offset: int, limit_bytes: int) -> LogPart:
        """The log from ``offset`` on, at least ``limit_bytes`` unless it has no more now, and at most a block more."""
        source, data = LogSource(self._runtime, self._store, job_id, index), b""
        while len(data) < limit_bytes and (part := await source.read_file(offset)).data:
            data, offset = data + part.data, part.end
        return LogPart(data, offset)

    @contextmanager
    def follow(self, job_id: str, index: int, wake: asyncio.Event) -> Generator[LogSource]:
        """Follow the log of a benchmark. ``wake`` is set when there is more to read, and at its end."""
        key = job_id, index
        source = self._sources.get(key)
        if source is None:
            source = self._sources[key] = LogSource(self._runtime, self._store, job_id, index)
        source.wakes.add(wake)
        try:
            yield source
        finally:
            source.wakes.discard(wake)
            if not source.wakes:
                source.close()
                if self._sources.get(key) is source:
                    del self._sources[key]

"""Log output of a job's adapters, concatenated by benchmark."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from evalhub_server.domain import problems
from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.engine.log_text import finished_lines, without_final_newline
from evalhub_server.errors import RuntimeRefused, RuntimeUnavailable
from evalhub_server.plugins.runtime import LogOptions, Runtime


async def read_logs(
    runtime: Runtime, job: JobRecord, index: int | None, options: LogOptions
) -> AsyncGenerator[bytes, None]:
    """The output of benchmark ``index``; of all benchmarks, each below a header line, if that is None.

    All lines are returned as they are. The last lines are returned in a form that only grows by appending, since clients
    print what follows the part that they have: without a newline at the end, without an unfinished line that has
    carriage returns, and without the benchmarks after the first one that has not ended.

    Raises:
        ApiError: before the first chunk: 404 if there is no such benchmark, 503 if the runtime cannot read the log now, 500 if it
            is refused.
    """
    if index is not None and index >= len(job.benchmarks):
        raise problems.not_found("benchmark", str(index))
    chunks = _all(runtime, job, options) if index is None else _one(runtime, job, index, options)
    try:
        return _after(await anext(chunks, b""), chunks)
    except RuntimeRefused as error:
        raise problems.internal_error(f"the log of job {job.id} cannot be read: {error}") from error
    except RuntimeUnavailable as error:
        raise problems.runtime_unavailable(f"the log of job {job.id} cannot be read now: {error}") from error


async def _all(runtime: Runtime, job: JobRecord, options: LogOptions) -> AsyncGenerator[bytes, None]:
    for benchmark in job.benchmarks:
        benchmark_id = job.plan.benchmarks[benchmark.index].id
        chunks = _one(runtime, job, benchmark.index, options)
        try:
            if benchmark.is_foreign(runtime.name):
                raise RuntimeRefused(problems.started_by(benchmark.runtime))
            pod, container = await runtime.log_source(benchmark.handle, job.id, benchmark.index)
            first = await anext(chunks, b"")
        except RuntimeUnavailable as error:
            if benchmark.index == 0:
                raise  # the response has not started, so an error status is still possible
            pod, container, first = "unknown", "unknown", f"(the log cannot be read now: {error})\n".encode()
        start = b"\n" if benchmark.index else b""
        yield start + header_line(pod, container, benchmark_id) + first
        async for chunk in chunks:
            yield chunk
        if options.tail_lines >= 0 and not _is_final(job, benchmark):
            return


def header_line(pod: str, container: str, benchmark_id: str) -> bytes:
    return f"=== pod={pod} container={container} benchmark_id={benchmark_id} ===\n".encode()


async def _one(
    runtime: Runtime, job: JobRecord, index: int, options: LogOptions
) -> AsyncGenerator[bytes, None]:
    benchmark = job.benchmarks[index]
    if benchmark.is_foreign(runtime.name):
        raise RuntimeRefused(problems.started_by(benchmark.runtime))
    if benchmark.handle is None:
        return
    chunks = runtime.logs(benchmark.handle, options)
    if options.tail_lines >= 0:
        timestamps = options.timestamps and runtime.log_timestamps
        lines = finished_lines(chunks, ended=_is_final(job, benchmark), timestamps=timestamps)
        chunks = without_final_newline(lines)
    async for chunk in chunks:
        yield chunk


def _is_final(job: JobRecord, benchmark: BenchmarkRecord) -> bool:
    """Whether the benchmark's log is complete. That of a terminal job counts as complete: clients stop reading then."""
    return job.state.terminal or benchmark.ended


async def _after(first: bytes, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(chunks):
        if first:
            yield first
        async for chunk in chunks:
            yield chunk

"""Logs of jobs and benchmarks: plain text in chunks, limited in size and in time."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator
from typing import Any

from litestar import Router, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import Receive, Scope, Send

from evalhub_server.domain import problems
from evalhub_server.plugins.runtime import LogOptions
from evalhub_server.settings import ServiceSettings
from evalhub_server.web.openapi.errors import not_found
from evalhub_server.web.openapi.operation import Operation, Parameter, Success
from evalhub_server.web.openapi.parameters import boolean
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.services import Services
from evalhub_server.web.uvicorn_protocol import EXTENSION

TRAILER = b"X-Log-Truncated"
CLOSING_TIMEOUT_S = 5.0
_CHUNK_BYTES = 64 * 1024

OPTIONS = (
    Parameter(
        name="tail_lines",
        description="Number of lines from the end of each benchmark's log; -1 means all.",
        schema={"type": "integer", "minimum": -1, "maximum": 10_000, "default": 1000, "not": {"const": 0}},
    ),
    boolean("timestamps", "Prefix lines with their time, if the runtime records it.", default=False),
    Parameter(
        name="since_seconds",
        description="Maximum age of lines in seconds, if the runtime records times.",
        schema={"type": "integer", "minimum": 1, "maximum": 10**18 - 1},
        allow_empty=False,
    ),
)
INVALID_OPTIONS = (
    problems.query_parameter_invalid("tail_lines", "integer between 1 and 10000, or -1 for all lines", "0"),
    problems.query_parameter_required("since_seconds"),
)
TEXT = "text/plain"


class LogResponse:
    """Streams a log. If it is truncated, a last line and the trailer report that."""

    def __init__(self, chunks: AsyncGenerator[bytes, None], settings: ServiceSettings) -> None:
        self._chunks = chunks
        self._limit_bytes = settings.max_log_response_bytes  # -1: no limit
        self._timeout_s = settings.log_stream_timeout  # 0: no limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"trailer", TRAILER)]
        extensions: Any = scope.get("extensions")  # pyright: ignore[reportUnknownMemberType]  # Litestar types it loosely
        trailers = EXTENSION in (extensions or {})
        start: Any = {"type": "http.response.start", "status": 200, "headers": headers, "trailers": trailers}
        await send(start)
        limit = await self._stream(send)
        # A client that has stopped reading does not keep the connection open.
        async with asyncio.timeout(CLOSING_TIMEOUT_S):
            if limit:
                notice = f"\n=== log truncated after {limit}; ask for fewer lines with tail_lines ===\n"
                await _send_body(send, notice.encode())
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            if trailers:
                message: Any = {"type": EXTENSION, "headers": [(TRAILER, b"true")] if limit else []}
                await send(message)

    async def _stream(self, send: Send) -> str:
        """Send the log; return the limit at which it was truncated, or an empty string."""
        left = self._limit_bytes
        try:
            async with asyncio.timeout(self._timeout_s or None), contextlib.aclosing(self._chunks) as chunks:
                async for chunk in chunks:
                    if self._limit_bytes >= 0 and left < len(chunk):
                        await _send_body(send, chunk[:left])
                        return f"{self._limit_bytes} bytes"
                    left -= len(chunk)
                    await _send_body(send, chunk)
        except TimeoutError:
            return f"{self._timeout_s:g} seconds"
        return ""


async def _send_body(send: Send, chunk: bytes) -> None:
    for start in range(0, len(chunk), _CHUNK_BYTES):
        await send(
            {"type": "http.response.body", "body": chunk[start : start + _CHUNK_BYTES], "more_body": True}
        )


JOB_LOGS = Operation(
    query=OPTIONS,
    success=Success(
        description="The logs so far.", media_types=(TEXT,), schema={"type": "string"}, headers=("Trailer",)
    ),
    errors=(*INVALID_OPTIONS, not_found("evaluation job")),
)


@route("/{job_id:str}/logs", http_method=READ_METHODS, operation=JOB_LOGS)
async def job_logs(
    request: ApiRequest, job_id: FromPath[str], services: NamedDependency[Services]
) -> LogResponse:
    """Get the output of a job's adapters.

    A line with `===` precedes the output of each benchmark. Logs above the server's limit of size or time are truncated,
    as the last line then states.
    """
    options = _options(Query(request.scope))
    chunks = await services.jobs.logs(job_id, None, options, request.identity)
    return LogResponse(chunks, services.settings)


BENCHMARK_LOGS = Operation(
    query=OPTIONS,
    success=Success(
        description="The log so far.", media_types=(TEXT,), schema={"type": "string"}, headers=("Trailer",)
    ),
    errors=(*INVALID_OPTIONS, not_found("evaluation job"), problems.not_found("benchmark", "7")),
)


@route(
    "/{job_id:str}/benchmarks/{benchmark_index:str}/logs", http_method=READ_METHODS, operation=BENCHMARK_LOGS
)
async def benchmark_logs(
    request: ApiRequest,
    job_id: FromPath[str],
    benchmark_index: FromPath[str],
    services: NamedDependency[Services],
) -> LogResponse:
    """Get the output of the adapter of one benchmark."""
    options = _options(Query(request.scope))
    if not re.fullmatch(r"[0-9]{1,18}", benchmark_index, re.ASCII):
        raise problems.query_parameter_invalid("benchmark_index", "non-negative integer", benchmark_index)
    chunks = await services.jobs.logs(job_id, int(benchmark_index), options, request.identity)
    return LogResponse(chunks, services.settings)


def _options(query: Query) -> LogOptions:
    text = query.text("tail_lines") or "1000"
    lines = int(text) if re.fullmatch(r"-1|[0-9]{1,18}", text, re.ASCII) else 0
    if lines != -1 and not 1 <= lines <= 10_000:
        raise problems.query_parameter_invalid(
            "tail_lines", "integer between 1 and 10000, or -1 for all lines", text
        )
    since: int | None = None
    if query.given("since_seconds"):
        if not query.text("since_seconds"):
            raise problems.query_parameter_required("since_seconds")
        since = query.integer("since_seconds", 1)
        if since < 1:
            raise problems.query_parameter_invalid("since_seconds", "positive integer", str(since))
    return LogOptions(
        tail_lines=lines, timestamps=query.boolean("timestamps", default=False), since_seconds=since
    )


log_router = Router("/api/v1/evaluations/jobs", route_handlers=[job_logs, benchmark_logs])

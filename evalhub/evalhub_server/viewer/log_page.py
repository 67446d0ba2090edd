"""The log of a benchmark: ``/ui/jobs/{job_id}/b/{index}/logs``.

With a position (``at`` in bytes, ``next`` as the number of the line there) it is the next part of the log, for long lines and logs;
with ``part=live``, what was written since, for pages that follow the log.
"""

from __future__ import annotations

import asyncio
import contextlib
from codecs import getincrementaldecoder
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from litestar import route
from litestar.di import NamedDependency
from litestar.params import FromPath

from evalhub_server.domain import problems
from evalhub_server.domain.record import JobRecord
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.sample_store import benchmark_at
from evalhub_server.errors import ApiError
from evalhub_server.models.common import State
from evalhub_server.plugins.runtime import LogOptions
from evalhub_server.viewer.log_markup import LEVELS, Level, LogLine, last_version, log_markup
from evalhub_server.viewer.log_window import LogFilter, LogWindow
from evalhub_server.viewer.numbers import duration
from evalhub_server.viewer.page import Page, PageState, Table, page_response
from evalhub_server.viewer.page_query import PageQuery
from evalhub_server.web.paths import index_of
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse
from evalhub_server.web.services import Services

DEFAULT_LINES = 500
MAX_LINES = 2000
READ_LIMIT_S = 5.0
"""A log is read for so long; of a longer one the page shows what was read."""
PART_BYTES = 256 * 1024
"""The size of a part of a log that begins at a position."""
FOLLOW_BLOCKS = 4
"""Blocks of a log that one request of a following page gets at most."""
PARAMETERS = ("level", "q", "wrap", "dedup", "from", "at", "next")
MAX_TEXT = 1000


@route("/jobs/{job_id:str}/b/{benchmark_index:str}/logs", http_method=READ_METHODS, include_in_schema=False)
async def log_page(
    request: ApiRequest,
    job_id: FromPath[str],
    benchmark_index: FromPath[str],
    services: NamedDependency[Services],
) -> RawResponse:
    """The output of the adapter of one benchmark."""
    query = PageQuery(request, PARAMETERS)
    index = index_of(benchmark_index)
    start, wanted = _start(query), _filter(query)
    dedup = query.choice("dedup", ("on", "off"), "on") == "on"
    wrap = query.choice("wrap", ("1", "0"), "1") == "1"
    offset = query.integer("at", 0) if query.text("at") else None
    first = max(query.integer("next", 1), 1)
    job = await services.jobs.get(job_id, request.identity)
    record = benchmark_at(job, index)
    if query.part and offset is not None:
        values = (
            await _rest(services, job, index, first, request.identity)
            if record.ended or job.state.terminal
            else await _appended(services, job, index, offset, first)
        )
        return await page_response(request, query, _page("log", job, index, values))
    if offset is not None:
        if offset and not query.text("next"):
            raise problems.query_parameter_invalid("next", "number of the line at this position", "")
        return await _part_page(request, query, services, job, index, offset, first)
    window, fault = await _read(services, job, index, start, wanted, request.identity)
    state = PageState(request, query, services, f"{window.size_bytes} {fault}")
    if (known := await state.known_response()) is not None:
        return known
    text = wanted.text
    lines = [
        line
        for run in _runs(window.lines)
        for line in _markup(run, dedup=dedup, text=text, cut=window.long_lines)
    ]
    follow = start < 0 and wanted.empty and not fault and not record.ended and not job.state.terminal
    values = {
        "window": window,
        "lines": lines,
        "raw": window.lines,
        "fault": fault,
        "empty": "" if window.total else _why_empty(job, index),
        "start": start,
        "wanted": wanted,
        "wrap": wrap,
        "dedup": dedup,
        "levels": LEVELS,
        "follow": follow,
        "at": window.complete_bytes,
        "next": window.finished_lines + 1,
        "hits": sum(line.hits for line in lines),
    }
    return await page_response(request, query, _page("log", job, index, values), state)


async def _part_page(
    request: ApiRequest,
    query: PageQuery,
    services: Services,
    job: JobRecord,
    index: int,
    offset: int,
    first: int,
) -> RawResponse:
    """The part of a log that begins at ``offset``, in line ``first``, which it may continue. No line of it is cut."""
    data, end = await services.jobs.log_hub.read(job.id, index, offset, PART_BYTES)
    more = len(data) >= PART_BYTES
    if more:
        # Whole lines, or at least whole characters.
        size = data.rfind(b"\n") + 1 or len(data) - _unfinished_character(data)
        data, end = data[:size], end - (len(data) - size)
    state = PageState(request, query, services, f"{len(data)} {end} {more}")
    if (known := await state.known_response()) is not None:
        return known
    raw = (
        list(enumerate(data.decode("utf-8", "replace").removesuffix("\n").split("\n"), first)) if data else []
    )
    values = {
        "raw": raw,
        "lines": await asyncio.to_thread(_whole_lines, raw, first),
        "size": len(data),
        "start": offset,
        "first": first,
        "wrap": query.choice("wrap", ("1", "0"), "1") == "1",
        "follow": False,
        "more": more,
        "at": end,
        "next": first + data.count(b"\n"),
    }
    return await page_response(request, query, _page("log_part", job, index, values), state)


def _whole_lines(raw: Sequence[tuple[int, str]], first: int) -> list[LogLine]:
    return list(log_markup([text for _, text in raw], first=first, dedup=False, limit=2 * PART_BYTES))


def _unfinished_character(data: bytes) -> int:
    """The number of bytes at the end that begin a character of UTF-8 and do not complete it."""
    decoder = getincrementaldecoder("utf-8")("replace")
    decoder.decode(data[-4:])
    return len(decoder.getstate()[0])


async def _appended(
    services: Services, job: JobRecord, index: int, offset: int, first: int
) -> dict[str, Any]:
    """The whole lines that were written after a position."""
    data = b""
    with services.jobs.log_hub.follow(job.id, index, asyncio.Event()) as source:
        for _ in range(FOLLOW_BLOCKS):
            part = await source.read(offset)
            if not part.data:
                break
            data, offset = data + part.data, part.end
    texts = data.decode("utf-8", "replace").split("\n")[:-1]
    raw = list(enumerate(texts, first))
    return {
        "raw": raw,
        "lines": _markup(raw, dedup=False, text=""),
        "follow": True,
        "at": offset,
        "next": first + len(texts),
    }


async def _rest(
    services: Services, job: JobRecord, index: int, first: int, identity: Identity
) -> dict[str, Any]:
    """What a log that has ended has from a line on, with its last line even if that is unfinished."""
    window, _ = await _read(services, job, index, first, LogFilter(), identity)
    return {
        "raw": window.lines,
        "lines": _markup(window.lines, dedup=False, text=""),
        "follow": window.later is not None,
        "at": window.complete_bytes,
        "next": first + len(window.lines),
    }


async def _read(
    services: Services, job: JobRecord, index: int, start: int, wanted: LogFilter, identity: Identity
) -> tuple[LogWindow, str]:
    """The window of a log, and why it is not whole."""
    window = LogWindow(start, MAX_LINES if start < 0 else DEFAULT_LINES, wanted)
    try:
        chunks = await services.jobs.logs(job.id, index, LogOptions(tail_lines=-1), identity)
        async with asyncio.timeout(READ_LIMIT_S), contextlib.aclosing(chunks):
            async for chunk in chunks:
                if wanted.empty:
                    window.feed(chunk)
                else:  # compares each line, which takes several milliseconds
                    await asyncio.to_thread(window.feed, chunk)
    except TimeoutError:
        return window, f"The log is long: only what was read in {READ_LIMIT_S:g} s is shown."
    except ApiError as error:
        if error.status < 500:
            raise
        return window, error.message
    return window, ""


def _page(name: str, job: JobRecord, index: int, values: dict[str, Any]) -> Page:
    planned = job.plan.benchmarks[index]
    shown = [(number, *last_version(text)) for number, text in values["raw"]]
    window = values.get("window")
    return Page(
        name=name,
        title=" · ".join(filter(None, ("Log", planned.id, job.request.name, job.model_name))),
        section="/ui/jobs",
        values={"job": job, "planned": planned, "index": index, **values},
        data={
            "lines": window.total if window else None,
            "matches": window.matches if window and not values["wanted"].empty else None,
            "items": [
                {"line": number, "text": text, "rewrites": rewrites} for number, text, rewrites in shown
            ],
        },
        table=Table(columns=("line", "text"), rows=[(number, text) for number, text, _ in shown]),
    )


def _start(query: PageQuery) -> int:
    """The number of the first line; negative ones count from the end."""
    text = query.text("from") or str(-DEFAULT_LINES)
    digits = text.removeprefix("-")
    number = int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 12 else 0
    if number == 0 or number < -MAX_LINES:
        raise problems.query_parameter_invalid(
            "from", f"number of a line, or -1 to -{MAX_LINES} for the last lines", text
        )
    return number


def _filter(query: PageQuery) -> LogFilter:
    text = query.text("q")
    if len(text) > MAX_TEXT:
        raise problems.query_parameter_invalid("q", f"text of up to {MAX_TEXT} characters", text[:60] + "…")
    levels: tuple[Level, ...] = ("", *LEVELS)
    return LogFilter(text, query.choice("level", levels, ""))


def _runs(lines: Sequence[tuple[int, str]]) -> list[list[tuple[int, str]]]:
    """Lines in groups with consecutive numbers: equal lines count as repeated only if nothing is between them."""
    runs: list[list[tuple[int, str]]] = []
    for number, text in lines:
        if runs and runs[-1][-1][0] == number - 1:
            runs[-1].append((number, text))
        else:
            runs.append([(number, text)])
    return runs


def _markup(
    lines: Sequence[tuple[int, str]], *, dedup: bool, text: str, cut: Collection[int] = ()
) -> list[LogLine]:
    first = lines[0][0] if lines else 1
    return list(log_markup([line for _, line in lines], first=first, dedup=dedup, query=text, cut=cut))


def _why_empty(job: JobRecord, index: int) -> str:
    record = job.benchmarks[index]
    if record.launched_at is None:
        return (
            "The adapter was never started." if record.state.terminal else "The adapter has not started yet."
        )
    if record.state is State.RUNNING or record.has_workload:
        running_s = (datetime.now(UTC) - record.launched_at).total_seconds()
        return f"No output yet: the adapter was started {duration(max(running_s, 0.0))} ago."
    return "The log is empty: the adapter wrote nothing, or its files have been removed."

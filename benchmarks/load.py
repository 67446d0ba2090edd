"""HTTP load on one server: ``wrk`` if it is installed, otherwise a small client."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from typing import NamedTuple

from benchmarks.subject import API, on_core

CONNECTIONS = 16


class Request(NamedTuple):
    """``NUMBER`` in the body is replaced with the number of the request and ``INDEX`` with that modulo 4."""

    path: str
    method: str = "GET"
    body: str = ""

    def encode(self, number: int) -> bytes:
        body = self.body.replace("NUMBER", str(number)).replace("INDEX", str(number % 4)).encode()
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return f"{head}\r\n".encode() + body


class Load(NamedTuple):
    """Requests that succeeded, and percentiles of their latency in milliseconds."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float


def event(job_id: str) -> Request:
    """A report of a running benchmark. Its text varies, because a database skips a write of the same bytes."""
    report = {
        "provider_id": "sleeps",
        "id": "b",
        "benchmark_index": "INDEX",
        "status": "running",
        "warning_message": {"message": "step NUMBER", "message_code": "progress"},
    }
    body = json.dumps({"benchmark_status_event": report}).replace('"INDEX"', "INDEX")
    return Request(f"{API}/jobs/{job_id}/events", "POST", body)


def create(provider: str) -> Request:
    """A job of one benchmark."""
    body = {
        "name": "job NUMBER",
        "model": {"url": "http://m.example/v1", "name": "m"},
        "benchmarks": [{"id": "b", "provider_id": provider}],
    }
    return Request(f"{API}/jobs", "POST", json.dumps(body))


def run(port: int, request: Request, seconds: float, *, connections: int, core: int | None) -> Load:
    """Send requests for some seconds over kept-alive connections.

    Raises:
        SystemExit: a response is not a success.
    """
    # wrk gives up the requests that are on their way at the end: with few of them, that would be a large part.
    if connections == CONNECTIONS and shutil.which("wrk"):
        return _wrk(port, request, seconds, core)
    return asyncio.run(_client(port, request, seconds, connections))


_SCRIPT = """
local number = 0
local body = {body}
wrk.method = "{method}"
wrk.headers["Content-Type"] = {content_type}
request = function()
    if body == "" then return wrk.format() end
    number = number + 1
    return wrk.format(nil, nil, nil, (body:gsub("NUMBER", number):gsub("INDEX", number % 4)))
end
done = function(summary, latency, requests)
    io.write(string.format('\\n{{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "failed": %d}}\\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
"""


def _wrk(port: int, request: Request, seconds: float, core: int | None) -> Load:
    script = _SCRIPT.format(
        body=f"[==[{request.body}]==]",
        method=request.method,
        content_type='"application/json"' if request.body else "nil",
    )
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = [
            *on_core(core),
            *("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", file.name),
            f"http://127.0.0.1:{port}{request.path}",
        ]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(output.splitlines()[-1])
    if found["failed"] or not found["requests"]:
        raise SystemExit(f"{request.method} {request.path}: {output}")
    return Load(found["requests"], found["seconds"], found["p50"], found["p99"])


async def _client(port: int, request: Request, seconds: float, connections: int) -> Load:
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def one(first: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        number = first
        while number == first or time.perf_counter() < end:
            started = time.perf_counter()
            writer.write(request.encode(number))
            head = await reader.readuntil(b"\r\n\r\n")
            if head[9:10] != b"2":
                raise SystemExit(f"{request.method} {request.path}: {head.decode()}")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if lengths:
                await reader.readexactly(int(lengths[0].partition(b":")[2]))
            elif b"chunked" in head.lower():
                await reader.readuntil(b"0\r\n\r\n")
            times.append((time.perf_counter() - started) * 1000)
            number += connections
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(connections)))
    times.sort()
    return Load(
        len(times),
        time.perf_counter() - started,
        times[len(times) // 2],
        times[min(len(times) - 1, len(times) * 99 // 100)],
    )

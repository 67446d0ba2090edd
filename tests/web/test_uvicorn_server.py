"""The stop of the HTTP server: requests in progress, streams, and idle connections."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from evalhub_server.web import uvicorn_server
from evalhub_server.web.uvicorn_protocol import Limits, limited_protocol
from evalhub_server.web.uvicorn_server import HttpServer
from harness.certificates import certificate

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
NO_LIMITS = Limits(head_timeout_s=0, body_timeout_s=0, head_bytes=65536)
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
CHUNKED: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


@asynccontextmanager
async def served(app: Any, **options: Any) -> AsyncGenerator[tuple[HttpServer, asyncio.Task[None], int]]:
    config = uvicorn.Config(app, http=limited_protocol(NO_LIMITS), lifespan="off", log_config=None, **options)
    server = HttpServer(config)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    task = asyncio.create_task(server.serve([listening]))
    try:
        yield server, task, port
    finally:
        server.should_exit = True
        async with asyncio.timeout(60):
            await task


async def quick(_scope: Any, _receive: Any, send: Any) -> None:
    await send(START)
    await send(body(b"ok"))


@pytest.fixture(autouse=True)
def no_errors(caplog: pytest.LogCaptureFixture) -> Any:
    yield
    for when in ("setup", "call"):
        assert [r.getMessage() for r in caplog.get_records(when) if r.levelno >= logging.WARNING] == []


async def test_requests_have_the_address_of_the_listener_as_server_and_that_of_the_client():
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        seen.append((scope["server"], scope["client"]))
        await quick(scope, _receive, send)

    async with served(app) as (_server, _task, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert seen == [(("127.0.0.1", port), writer.get_extra_info("sockname"))]
        writer.close()
        await writer.wait_closed()


async def test_an_idle_tls_connection_delays_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uvicorn_server, "DRAIN_S", 600.0)
    made = certificate(tmp_path)
    trust = ssl.create_default_context(cafile=str(made.crt))

    def connect(port: int) -> ssl.SSLSocket:
        """A client that reads nothing after its response: not even that the server closes the connection."""
        connection = trust.wrap_socket(
            socket.create_connection(("127.0.0.1", port)), server_hostname="localhost"
        )
        connection.sendall(GET)
        assert connection.recv(65536).endswith(b"ok")
        return connection

    async with served(quick, ssl_certfile=made.crt, ssl_keyfile=made.key) as (server, task, port):
        connection = await asyncio.to_thread(connect, port)
        server.should_exit = True
        async with asyncio.timeout(60):
            await task
        assert connection.recv(1) == b""
        connection.close()


async def test_a_request_in_progress_may_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uvicorn_server, "DRAIN_S", 600.0)
    started, release = asyncio.Event(), asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        started.set()
        await release.wait()
        await quick(_scope, _receive, send)

    async with served(app) as (server, task, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await started.wait()
        server.should_exit = True
        while not server.server_state.connections or server.servers[0].is_serving():
            await asyncio.sleep(0.01)
        release.set()
        received = await reader.read()
        assert received.endswith(b"ok")
        await task
        writer.close()


@pytest.mark.parametrize("forced", [False, True])
async def test_a_request_that_is_cancelled_may_still_respond(monkeypatch: pytest.MonkeyPatch, forced: bool):
    monkeypatch.setattr(uvicorn_server, "DRAIN_S", 600.0 if forced else 0.05)
    started = asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await quick(_scope, _receive, send)

    async with served(app) as (server, task, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await started.wait()
        server.should_exit = True
        server.force_exit = forced
        assert (await reader.read()).endswith(b"ok")
        async with asyncio.timeout(60):
            await task
        writer.close()


async def test_a_stream_is_cut_short_without_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uvicorn_server, "DRAIN_S", 0.05)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(CHUNKED)
        await send(body(b"begin", more=True))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async with served(app) as (server, task, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        assert await reader.readuntil(b"begin\r\n")
        server.should_exit = True
        assert await reader.read() == b""  # no last chunk: the client sees that the body is incomplete
        await task
        writer.close()

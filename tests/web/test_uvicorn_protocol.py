"""The protocol over real sockets: single writes, trailers, applications that fail."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from evalhub_server.web.file_response import FileResponse
from evalhub_server.web.responses import json_response
from evalhub_server.web.uvicorn_protocol import Limits, limited_protocol
from evalhub_server.web.uvicorn_response import EXTENSION, LARGE_BYTES

NO_LIMITS = Limits(head_timeout_s=0, body_timeout_s=0, head_bytes=65536)
START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
CHUNKED = {"type": "http.response.start", "status": 200, "headers": []}


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


@asynccontextmanager
async def served(app: Any, idle_timeout_s: Any = 5) -> AsyncIterator[int]:
    config = uvicorn.Config(
        app,
        port=0,
        http=limited_protocol(NO_LIMITS),
        lifespan="off",
        log_config=None,
        timeout_keep_alive=idle_timeout_s,
    )
    server = uvicorn.Server(config)
    server.capture_signals = _nothing  # type: ignore[method-assign]
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(60):
        while not server.started:
            await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


async def exchange(port: int, request: bytes, *, pieces: list[bytes] | None = None) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    received = b""
    async with asyncio.timeout(60):
        while piece := await reader.read(65536):
            received += piece
            if pieces is not None:
                pieces.append(piece)
    writer.close()
    await writer.wait_closed()
    return received


GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def test_head_and_body_are_written_at_once():
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        await asyncio.sleep(0)
        await send(body(b"ok"))

    pieces: list[bytes] = []
    async with served(app) as port:
        received = await exchange(port, GET, pieces=pieces)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"\r\n\r\nok")
    assert len(pieces) == 1


async def test_a_large_body_arrives_complete_and_the_connection_stays():
    content = bytes(range(256)) * (LARGE_BYTES // 128)
    start = {**START, "headers": [(b"content-length", b"%d" % len(content))]}

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start)
        await send(body(content))

    async with served(app) as port:
        received = await exchange(port, GET.replace(b"close", b"keep-alive") + GET)
    assert received.count(content) == 2
    assert received.count(b"connection: close\r\n") == 1


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"\0", b"\x7f"])
async def test_a_header_with_control_characters_gives_a_500(value: bytes):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({**START, "headers": [*START["headers"], (b"location", value)]})
        await send(body(b"ok"))

    async with served(app) as port:
        received = await exchange(port, GET)
    assert received.startswith(b"HTTP/1.1 500 ")
    assert b"set-cookie" not in received


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_complete_response_is_one_message(method: bytes):
    sent: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def counted(message: Any) -> None:
            sent.append(message["type"])
            await send(message)

        await json_response(b"{}", 200, (b"x-a", b"b"))(scope, receive, counted)

    async with served(app) as port:
        received = await exchange(port, GET.replace(b"GET", method))
        old = await exchange(port, b"GET / HTTP/1.0\r\n\r\n")
    assert b"\r\ncontent-length: 3\r\nx-a: b\r\nconnection: close\r\n\r\n" in received
    assert received.endswith(b"\r\n\r\n{}\n" if method == b"GET" else b"\r\n\r\n")
    assert old.endswith(b"\r\n\r\n{}\n")
    assert sent == ["http.response.start", "http.response.start", "http.response.body"]


@pytest.mark.parametrize("length", [b"1", b"3"])
async def test_a_body_of_another_length_than_announced_is_no_response(length: bytes):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({**START, "headers": [(b"content-length", length)]})
        await send(body(b"ok"))

    async with served(app) as port:
        received = await exchange(port, GET)
    assert not received.endswith(b"\r\n\r\nok") or length != b"1"


async def test_a_response_without_a_body_has_no_chunks():
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({**CHUNKED, "status": 204})
        await send(body(b""))

    async with served(app) as port:
        received = await exchange(port, GET)
    assert received.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert received.endswith(b"\r\n\r\n")
    assert b"transfer-encoding" not in received


async def test_pipelined_requests_get_responses_in_order():
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        await send(CHUNKED)
        await send(body(scope["path"].encode()))

    requests = b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n" + GET.replace(b"/ ", b"/two ")
    async with served(app) as port:
        received = await exchange(port, requests)
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert received.index(b"4\r\n/one\r\n0\r\n\r\n") < received.index(b"4\r\n/two\r\n0\r\n\r\n")


KEPT = GET.replace(b"Connection: close\r\n", b"")


async def test_requests_on_a_connection_share_the_timer_of_idle_connections(monkeypatch: pytest.MonkeyPatch):
    loop = asyncio.get_running_loop()
    timers: list[Any] = []
    call_later = loop.call_later

    def counted(delay: float, callback: Any, *arguments: Any) -> asyncio.TimerHandle:
        timers.append(getattr(callback, "__name__", ""))
        return call_later(delay, callback, *arguments)

    monkeypatch.setattr(loop, "call_later", counted)

    async with served(json_response(b"{}")) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(60):
            for _ in range(20):
                writer.write(KEPT)
                await reader.readuntil(b"{}\n")
        writer.close()
        await writer.wait_closed()
        await exchange(port, GET)  # closes its connection
    assert timers.count("timeout_keep_alive_handler") == 1


async def test_an_idle_connection_is_closed_and_one_with_a_request_in_progress_is_not():
    passed = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":  # longer than the idle timeout
            loop.call_later(0.3, passed.set)
            async with asyncio.timeout(60):
                await passed.wait()
        await json_response(scope["path"].encode())(scope, receive, send)

    async with served(app, idle_timeout_s=0.1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(60):
            for path in (b"/first", b"/slow", b"/last"):
                writer.write(KEPT.replace(b"/ ", path + b" "))
                await reader.readuntil(path + b"\n")
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_head_requests_have_no_body():
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        await send(body(b"ok"))

    async with served(app) as port:
        received = await exchange(port, GET.replace(b"GET", b"HEAD"))
    assert received.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("fields", "end"),
    [([(b"x-a", b"1"), (b"x-b", b"2")], b"0\r\nx-a: 1\r\nx-b: 2\r\n\r\n"), ([], b"0\r\n\r\n")],
)
async def test_trailers_follow_the_last_chunk(fields: list[tuple[bytes, bytes]], end: bytes):
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        assert EXTENSION in scope["extensions"]
        await send({**CHUNKED, "trailers": True})
        await send(body(b"abc", more=True))
        await send(body(b""))
        await send({"type": EXTENSION, "headers": fields})

    async with served(app) as port:
        received = await exchange(port, GET)
    assert received.endswith(b"\r\n\r\n3\r\nabc\r\n" + end)


@pytest.mark.parametrize("delay", [False, True])
async def test_trailers_of_a_request_are_no_headers(delay: bool):
    """Pipelined, or read before the application looks at the headers, or after it has waited for the body."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if delay:
            while (await receive())["more_body"]:
                pass
        await send(CHUNKED)
        await send(body(b" ".join(name for name, _ in scope["headers"])))

    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    trailers = (
        b"X-Tenant: a\r\nX-User: u\r\nAuthorization: Bearer t\r\nHost: evil\r\nExpect: 100-continue\r\n\r\n"
    )
    async with served(app) as port:
        received = await exchange(port, (chunked + trailers) * 2 + GET)
    assert received.count(b"\r\nhost transfer-encoding\r\n") == 2
    assert received.count(b"\r\nhost connection\r\n") == 1
    for name in (b"x-tenant", b"x-user", b"authorization", b"100 Continue"):
        assert name not in received


async def test_a_stream_is_sent_without_delay():
    seen = asyncio.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(CHUNKED)
        await send(body(b"first", more=True))
        async with asyncio.timeout(60):
            await seen.wait()
        await send(body(b"second"))

    async with served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        async with asyncio.timeout(60):
            assert b"first" in await reader.readuntil(b"first\r\n")
            seen.set()
            assert b"second" in await reader.read()
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("step", ["before", "between", "without"])
async def test_an_application_that_fails_before_its_body_gives_a_500(step: str):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        if step != "before":
            await send(START)
        if step != "without":
            raise RuntimeError("a defect")

    async with served(app) as port:
        received = await exchange(port, GET)
    assert received.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert received.count(b"HTTP/1.1") == 1
    assert received.endswith(b"\r\n\r\nInternal Server Error")


async def test_the_first_request_of_a_connection_is_answered_if_the_server_has_just_begun_to_stop():
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        await send(body(b"ok"))

    config = uvicorn.Config(app, port=0, http=limited_protocol(NO_LIMITS), lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    server.capture_signals = _nothing  # type: ignore[method-assign]
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(60):
        while not server.started:
            await asyncio.sleep(0.01)
        (listener,) = server.servers
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname()[:2])
        while not server.server_state.connections:
            await asyncio.sleep(0)
        server.should_exit = True
        while listener.is_serving():
            await asyncio.sleep(0)
        writer.write(GET)
        assert (await reader.read()).endswith(b"ok")
        await task
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("length", [False, True])
async def test_a_response_to_http_1_0_is_never_chunked(method: bytes, length: bool):
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        assert EXTENSION not in scope.get("extensions", {})
        if length:
            await send(START)
        else:
            await send(CHUNKED)
            await send(body(b"o", more=True))
            await send(body(b"", more=True))
        await send(body(b"ok" if length else b"k"))

    async with served(app) as port:
        received = await exchange(port, method + b" / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    fields, _, text = received.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in fields
    assert text == (b"ok" if method == b"GET" else b"")


async def test_an_application_that_fails_gives_a_500_to_http_1_0():
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(CHUNKED)
        raise RuntimeError("a defect")

    async with served(app) as port:
        received = await exchange(port, b"GET / HTTP/1.0\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 500")
    assert received.endswith(b"\r\n\r\nInternal Server Error")


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_file_is_closed_for_a_client_that_stops_reading_or_leaves(leaves: bool):
    closed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(1 << 18)
        finally:
            loop.call_soon_threadsafe(closed.set)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        stalled_s = 30.0 if leaves else 0.2
        await FileResponse(endless(), "text/plain", "f", stalled_s=stalled_s)(scope, receive, send)

    async with served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        if leaves:
            writer.close()
        async with asyncio.timeout(60):
            await closed.wait()
            if not leaves:  # cut off: a complete response ends with an empty chunk
                assert not (await reader.read()).endswith(b"\r\n0\r\n\r\n")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()

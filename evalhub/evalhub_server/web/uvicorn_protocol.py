"""uvicorn's HTTP/1.1 protocol, extended: responses of :mod:`~evalhub_server.web.uvicorn_response`, absolute targets, limits.

A target such as ``http://host/path`` overrides the header ``Host`` (RFC 9112 section 3.2.2), which the checks of the application
depend on. A connection is not reset while its client is still sending a request that was answered already. Trailers of a request
are ignored. Requests with an unknown method reach the application, since the contract's 405 names it.

uvicorn has no public interface for any of this. ``connection_lost``, ``shutdown``, ``on_url``, ``on_header``,
``on_body``, ``send_400_response`` and ``_unsupported_upgrade_warning`` of its ``HttpToolsProtocol`` are kept, with the attributes that
they use. The constructor and the methods for a new connection, and for the head and the end of a request, are replaced: uvicorn's start
responses of its own class, and take half as much time again. Its ``FlowControl``, and the constructor and ``run_asgi`` of its cycle, are used, too.
Tests run it with the lowest and the newest version of uvicorn that is allowed.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections import deque
from enum import Enum, auto
from functools import partial
from typing import Any
from urllib.parse import unquote

import httptools
import uvicorn
from msgspec import Struct
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from evalhub_server.web.uvicorn_response import EXTENSIONS, CloseDelimitedCycle, ResponseCycle

_ASGI = {"version": "3.0", "spec_version": "2.3"}
_NO_HEADERS: deque[tuple[bytes, bytes]] = deque(maxlen=0)  # keeps nothing
_AUTHORITY = re.compile(rb"[^:/?#]+://([^/?#]*)")

FIRST_REQUEST_GRACE_S = 0.1
"""Time for a request on a connection that was accepted just before the server stops: an adapter reports only once."""

LINGER_BYTES = 16 * 1024 * 1024
"""How much of a request is read and dropped after its response; see :meth:`Protocol.end_connection`."""
LINGER_S = 15.0
"""How long that may take if there is no time limit for bodies."""
_METHOD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ")
_PLACEHOLDER_METHOD = b"TRACE"
_UPLOADS = (b"/samples", b"/artifacts")
"""Ends of paths to which files of any size are sent."""


class Limits(Struct, kw_only=True, frozen=True):
    """Limits of a request; 0 seconds are no limit.

    ``head_timeout_s`` begins with the connection, or with the first byte of a later request, and ends with the head;
    ``body_timeout_s`` begins there and ends with the body; for an upload of samples or artifacts it begins
    again whenever something arrives.
    ``head_bytes`` includes the request line.
    """

    head_timeout_s: float
    body_timeout_s: float
    head_bytes: int


class _Phase(Enum):
    """The part of a request that is awaited."""

    HEAD = auto()
    BODY = auto()
    COMPLETE = auto()


# Python 3.11 looks up a member of an enumeration ten times slower than a global.
_HEAD, _BODY, _COMPLETE = _Phase


def limited_protocol(limits: Limits) -> Any:
    """The protocol factory for ``uvicorn.Config(http=…)``."""
    return partial(Protocol, limits=limits)


class Protocol(HttpToolsProtocol):
    """Uses :class:`ResponseCycle` for every request. Responds with 408 or 431 to a request above the limits and closes the connection.

    A request that arrives in one piece, as nearly all do, needs no timer.
    """

    # uvicorn looks these up for each connection, under a lock.
    logger = logging.getLogger("uvicorn.error")
    access_logger = logging.getLogger("uvicorn.access")
    access_log = False
    ws_protocol_class = None

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
    ) -> None:
        self.config = config
        self._app: Any = config.loaded_app  # pyright: ignore[reportUnknownMemberType]  uvicorn has several types
        self.loop = _loop or asyncio.get_running_loop()
        self.server_state = server_state
        self.connections = server_state.connections
        self.tasks = server_state.tasks
        self.timeout_keep_alive = config.timeout_keep_alive
        self.timeout_keep_alive_task: asyncio.TimerHandle | None = None
        self.parser = httptools.HttpRequestParser(self)
        # Else a request with "Connection: close" gets no response if anything follows it.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.pipeline = deque()
        self.cycle: Any = None
        self._limits = limits
        self._phase = _HEAD
        self._timer: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None
        self._piece_bytes = 0
        self._head_bytes = 0  # of earlier pieces
        self._too_large = False
        self._first_piece, self._unknown_method = b"", ""  # of the request that is being parsed
        self._lingering = False
        self._refused = False
        self._dropped_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        # The listener's. That of the connection takes three system calls, and nothing needs it.
        self.server = self.config.host, self.config.port
        # uvicorn's get_remote_addr takes it from a new socket object, which takes three system calls.
        peer = transport.get_extra_info("peername")
        self.client = peer[:2] if isinstance(peer, tuple) else None
        self.scheme = "https" if self.config.is_ssl else "http"
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close the connection once it is idle. A request whose head is on its way gets a moment to arrive."""
        if self._phase is _HEAD:
            self.loop.call_later(FIRST_REQUEST_GRACE_S, super().shutdown)
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._drop(len(data))
            return
        self._idle_since = None
        self._piece_bytes = len(data)
        is_first = self._phase is _COMPLETE or (self._phase is _HEAD and not self._head_bytes)
        self._first_piece = data if is_first else b""
        self._parse(data)
        if self._phase is _COMPLETE or self.transport.is_closing() or self._refused:
            return
        if self._phase is _BODY and self.cycle.response_complete:
            self._drop(len(data))
        if self._phase is _HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes and self._idle:
                self._refuse("431 Request Header Fields Too Large")
                return
        if self._phase is _BODY and self.url.partition(b"?")[0].endswith(_UPLOADS):
            self._stop_timer()
        if self._timer is None:
            self._start_timer()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:  # also for any exception of a callback
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()

    def on_message_begin(self) -> None:
        self._phase = _HEAD
        self._head_bytes = 0
        self._dropped_bytes = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        self._stop_timer()
        if self._head_bytes + self._piece_bytes > self._limits.head_bytes:
            head = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if head > self._limits.head_bytes:
                self._too_large = True
                raise ValueError("head too large")  # the parser stops, and send_400_response is called
        version = self.parser.get_http_version()
        is_old = version == "1.0"
        cycle = (CloseDelimitedCycle if is_old else ResponseCycle)(
            self._new_scope(version),
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            self.access_log,
            self.server_state.default_headers,
            asyncio.Event(),
            self.expect_100_continue,
            not is_old and self.parser.should_keep_alive(),
            self.on_response_complete,
        )
        # The parser passes trailers as further headers; RFC 9110 section 6.5.1 forbids to use them as such.
        self.headers = _NO_HEADERS  # pyright: ignore[reportAttributeAccessIssue]
        previous, self.cycle = self.cycle, cycle
        if previous is None or previous.response_complete:
            self._start(cycle)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self._app))
        self._phase = _BODY

    def _new_scope(self, version: str) -> Any:
        """The ASGI scope of the request. Raises an exception for a malformed target, which then gets 400."""
        target = httptools.parse_url(self.url)
        if not self.url.startswith(b"/") and (authority := _AUTHORITY.match(self.url)):
            self.headers = [(b"host", authority[1]), *(f for f in self.headers if f[0] != b"host")]
        path = target.path.decode("ascii")
        method, self._unknown_method = self._unknown_method, ""
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": method or self.parser.get_method().decode("ascii"),
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": target.path,
            "query_string": target.query or b"",
            "headers": self.headers,
            "extensions": EXTENSIONS if version != "1.0" else {},
            "state": {},
        }

    def _start(self, cycle: Any) -> None:
        task = self.loop.create_task(cycle.run_asgi(self._app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_message_complete(self) -> None:
        self._stop_timer()
        self._phase = _COMPLETE
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()
        if self._lingering:
            self.transport.close()

    def on_response_complete(self) -> None:
        """Start the next request if it is here already; otherwise close the connection after a time without one.

        Later requests leave the timer running, which costs less than a new one for each: it starts again for the time that is left.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start(self.pipeline.pop()[0])
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._close_when_idle(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since is None or self.transport.is_closing():
            return
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._close_when_idle(left_s)
        else:
            self.transport.close()

    def _close_when_idle(self, after_s: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(after_s, self.timeout_keep_alive_handler)

    def end_connection(self) -> None:
        """Close the connection, unless the client is still sending: that would reset it, and the response be lost.

        Then what comes is dropped until the request is complete, the client closes the connection, :data:`LINGER_BYTES` have
        come, or the time limit for bodies is over. No more is sent, so a client that reads until then is released.
        """
        if self._phase is _COMPLETE or self._lingering:
            self.transport.close()
            return
        self._lingering = True
        self._stop_timer()
        self._timer = self.loop.call_later(self._limits.body_timeout_s or LINGER_S, self._timed_out)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _drop(self, size_bytes: int) -> None:
        """Count what is received after the response."""
        self._dropped_bytes += size_bytes
        if self._dropped_bytes > LINGER_BYTES:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        if self._phase is _BODY and self.cycle.response_complete:
            self.transport.close()  # another response would be taken for that of the next request
            return
        self._stop_timer()
        if self._too_large:
            self._refuse("431 Request Header Fields Too Large")
        elif isinstance(sys.exception(), httptools.HttpParserInvalidMethodError) and self._idle:
            self._parse_unknown_method(msg)
        else:
            super().send_400_response(msg)

    def _parse_unknown_method(self, msg: str) -> None:
        """Parse the request again with a placeholder method; :meth:`on_headers_complete` restores the real one."""
        method = _METHOD.match(self._first_piece)
        if method is None:
            super().send_400_response(msg)
            return
        self._unknown_method = method[1].decode("ascii")
        self.parser = httptools.HttpRequestParser(self)
        self._parse(_PLACEHOLDER_METHOD + self._first_piece[method.end(1) :])

    @property
    def _idle(self) -> bool:
        """Whether no earlier response is in progress, into which another one would be written."""
        return self.cycle is None or self.cycle.response_complete

    def _start_timer(self) -> None:
        head = self._phase is _HEAD
        seconds = self._limits.head_timeout_s if head else self._limits.body_timeout_s
        if seconds:
            self._timer = self.loop.call_later(seconds, self._timed_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._lingering:
            self.transport.close()
            return
        if self._phase is _HEAD:
            if not self._idle:
                self._start_timer()  # the previous response is still in progress
                return
            respond = self._head_bytes > 0  # without a request the connection is just closed
        else:
            respond = not self.cycle.response_started
        if respond:
            self._refuse("408 Request Timeout", linger=False)
        else:
            self.transport.close()

    def _refuse(self, status: str, *, linger: bool = True) -> None:
        self._stop_timer()
        self.transport.write(
            f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode("ascii")
        )
        self._refused = True
        if linger:
            self.end_connection()
        else:
            self.transport.close()

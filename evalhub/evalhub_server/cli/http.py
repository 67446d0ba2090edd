"""Sockets, and uvicorn as this program runs it."""

from __future__ import annotations

import contextlib
import math
import socket

import uvicorn
from litestar.types import ASGIApp

from evalhub_server.errors import StartupError
from evalhub_server.settings import MIB, ServiceSettings
from evalhub_server.web.uvicorn_protocol import Limits, limited_protocol

DRAIN_S = 1
BACKLOG = 2048


class HttpServer(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process with the signal instead of status 0."""

    @contextlib.contextmanager
    def capture_signals(self):  # pyright: ignore[reportUnknownParameterType]
        yield


def http_server(service: ServiceSettings, app: ASGIApp, *, tls: bool) -> HttpServer:
    """A server for ``app`` with the limits of ``service``; ``tls``: and with its certificate, if it has one."""
    config = uvicorn.Config(
        app,  # pyright: ignore[reportArgumentType]  # Litestar's ASGI types and uvicorn's differ in name only
        loop="none",
        http=limited_protocol(_limits(service)),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=math.ceil(service.idle_timeout or service.read_timeout),
        timeout_graceful_shutdown=DRAIN_S,
        ssl_certfile=(tls and service.tls_cert_file) or None,
        ssl_keyfile=(tls and service.tls_key_file) or None,
    )
    return HttpServer(config)


def listen(host: str, port: int, advice: str) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises :class:`StartupError`, whose text ends with ``advice``."""
    # "localhost" may mean ::1 first; clients that cannot speak IPv6 would then find nobody.
    address = "127.0.0.1" if host == "localhost" else host.strip("[]")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # All addresses are IPv4's, too: adapters are told "localhost", which often means 127.0.0.1.
    both = address == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((address, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        raise StartupError(f"cannot listen on {host}:{port}: {error.strerror or error}. {advice}") from None


def _limits(service: ServiceSettings) -> Limits:
    return Limits(
        head_timeout_s=service.read_header_timeout or service.read_timeout,
        body_timeout_s=service.read_timeout,
        head_bytes=service.max_header_bytes or MIB,
    )

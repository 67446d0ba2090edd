"""Listening sockets, and the HTTP servers on them."""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING

import uvicorn

from evalhub_server.errors import StartupError
from evalhub_server.settings import MIB, ServiceSettings
from evalhub_server.web.uvicorn_protocol import Limits, limited_protocol
from evalhub_server.web.uvicorn_server import HttpServer

if TYPE_CHECKING:
    from litestar.types import ASGIApp

BACKLOG = 2048


def http_server(service: ServiceSettings, app: ASGIApp, *, tls: bool) -> HttpServer:
    """A server for ``app`` with the limits of ``service``, and with its certificate if ``tls`` and one is configured."""
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
        ssl_certfile=(tls and service.tls_cert_file) or None,
        ssl_keyfile=(tls and service.tls_key_file) or None,
    )
    return HttpServer(config)


_ADVICE = (
    "If another server uses this port, stop it, or choose another port with --port, PORT=… or service.port, or "
    "another address with --host, API_HOST=… or service.host."
)


def listen(host: str, port: int, advice: str = _ADVICE) -> socket.socket:
    """Open a listening socket; port 0 selects a free one. Raises :class:`StartupError`, whose text ends with ``advice``."""
    # "localhost" may resolve to ::1 first, where clients without IPv6 cannot connect.
    address = "127.0.0.1" if host == "localhost" else host.strip("[]")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # All addresses include IPv4: adapters connect to "localhost", which often resolves to 127.0.0.1.
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

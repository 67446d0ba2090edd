"""Listening sockets, the HTTP server for the API, and the optional listener for metrics."""

from __future__ import annotations

import asyncio
import math
import socket

import structlog
import uvicorn
from litestar.types import ASGIApp

from evalhub_server.errors import StartupError
from evalhub_server.settings import MIB, ServiceSettings, Settings
from evalhub_server.web.access_policy import scrape_credentials_of
from evalhub_server.web.credentials import Credentials
from evalhub_server.web.metrics import Metrics
from evalhub_server.web.metrics_routes import metrics_app
from evalhub_server.web.origin_policy import OriginPolicy
from evalhub_server.web.uvicorn_protocol import Limits, limited_protocol
from evalhub_server.web.uvicorn_server import HttpServer

BACKLOG = 2048


log = structlog.get_logger()

_METRICS_ADVICE = (
    "Evaluations are not affected, but /metrics is not available there. If another server uses this port, stop it, or "
    "choose another port with METRICS_PORT=… or prometheus.port, or another address with METRICS_HOST=… or "
    "prometheus.host."
)


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


class MetricsListener:
    """Serves ``/metrics`` over plain HTTP in its own task, until :meth:`close`."""

    def __init__(self, http: HttpServer, listening: socket.socket) -> None:
        self._socket = listening
        self._http = http
        self._task = asyncio.create_task(http.serve([listening]), name="metrics-listener")

    @classmethod
    def start(
        cls, settings: Settings, metrics: Metrics, credentials: Credentials | None
    ) -> MetricsListener | None:
        """None, and an error in the log, if it cannot listen: evaluations do not depend on metrics."""
        try:
            listening = listen(settings.metrics_host, settings.prometheus.port, _METRICS_ADVICE)
        except StartupError as error:
            log.error("Metrics listener not started", error=str(error))
            return None
        policy = OriginPolicy(settings, settings.metrics_host)
        app = metrics_app(metrics, policy, credentials, scrape_credentials_of(settings))
        return cls(http_server(settings.service, app, tls=False), listening)

    @property
    def port(self) -> int:
        return self._socket.getsockname()[1]

    async def close(self) -> None:
        self._http.should_exit = True
        (error,) = await asyncio.gather(self._task, return_exceptions=True)
        if isinstance(error, Exception):
            log.error("Metrics listener failed", exc_info=error)
        self._socket.close()

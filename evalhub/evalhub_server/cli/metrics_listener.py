"""The optional listener for metrics."""

from __future__ import annotations

import asyncio
import socket

import structlog

from evalhub_server.cli.listeners import http_server, listen
from evalhub_server.errors import StartupError
from evalhub_server.settings import Settings
from evalhub_server.web.access_policy import scrape_credentials_of
from evalhub_server.web.credentials import Credentials
from evalhub_server.web.metrics import Metrics
from evalhub_server.web.metrics_routes import metrics_app
from evalhub_server.web.origin_policy import OriginPolicy
from evalhub_server.web.uvicorn_server import HttpServer

log = structlog.get_logger()

_METRICS_ADVICE = (
    "Evaluations are not affected, but /metrics is not available there. If another server uses this port, stop it, or "
    "choose another port with METRICS_PORT=… or prometheus.port, or another address with METRICS_HOST=… or "
    "prometheus.host."
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

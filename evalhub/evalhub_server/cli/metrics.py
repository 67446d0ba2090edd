"""The metrics' own listener."""

from __future__ import annotations

import asyncio
import socket

import structlog

from evalhub_server.cli.http import HttpServer, http_server, listen
from evalhub_server.errors import StartupError
from evalhub_server.settings import Settings
from evalhub_server.web.metrics import Metrics
from evalhub_server.web.metrics_routes import metrics_app

log = structlog.get_logger()

_ADVICE = (
    "Evaluations work all the same, but nobody can read /metrics there. Perhaps another server runs on this port: "
    "stop it, or choose another one with METRICS_PORT=… or prometheus.port, another address with METRICS_HOST=… or "
    "prometheus.host."
)


class MetricsListener:
    """Serves ``/metrics`` over plain HTTP in a task of its own, until :meth:`close`."""

    def __init__(self, http: HttpServer, listening: socket.socket) -> None:
        self._socket = listening
        self._http = http
        self._task = asyncio.create_task(http.serve([listening]), name="metrics-listener")

    @classmethod
    def start(cls, settings: Settings, metrics: Metrics) -> MetricsListener | None:
        """None if it cannot listen, which the log says: metrics are no reason to run no evaluations."""
        try:
            listening = listen(settings.metrics_host, settings.prometheus.port, _ADVICE)
        except StartupError as error:
            log.error("Metrics listener not started", error=str(error))
            return None
        return cls(http_server(settings.service, metrics_app(metrics), tls=False), listening)

    @property
    def port(self) -> int:
        return self._socket.getsockname()[1]

    async def close(self) -> None:
        self._http.should_exit = True
        (error,) = await asyncio.gather(self._task, return_exceptions=True)
        if isinstance(error, Exception):
            log.error("Metrics listener failed", exc_info=error)
        self._socket.close()

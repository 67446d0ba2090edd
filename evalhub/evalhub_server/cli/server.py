"""Composition root: builds a running server from settings and plugins."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

import structlog

from evalhub_server import __version__
from evalhub_server.cli.listeners import http_server, listen
from evalhub_server.cli.selection import runtime_name, selection_warnings
from evalhub_server.cli.telemetry import ServerTelemetry
from evalhub_server.engine.server_state import ServerState
from evalhub_server.errors import StorageLost
from evalhub_server.plugins.manager import Plugins
from evalhub_server.settings import Settings
from evalhub_server.web.access_policy import credentials_of
from evalhub_server.web.metrics import HttpMetrics
from evalhub_server.web.middleware import RequestMiddleware, make_middleware
from evalhub_server.web.uvicorn_server import HttpServer

if TYPE_CHECKING:  # imported while health is answered: it takes most of a start
    from litestar.types import ASGIApp, OnAppInitHandler

    from evalhub_server.cli.assembly import Assembly, OpenParts

log = structlog.get_logger()


class Server:
    """A server with all its parts. An async context manager: entering opens them, leaving closes them in reverse order.

    In between, :meth:`serve` answers requests until :meth:`stop` is called; before, only health is answered, and other requests
    wait. If a part cannot be opened, those before it are closed and :class:`StartupError` is raised. ``on_app_init`` are hooks of
    :func:`make_routes`. ``inherited`` is a listening socket to use instead of a new one; its address takes precedence over
    ``service.host`` and ``service.port``. ``url``
    (where adapters on this computer reach the server) is known once it is open. ``state`` is what readiness reports.
    """

    def __init__(
        self,
        settings: Settings,
        plugins: Plugins,
        on_app_init: Sequence[OnAppInitHandler] = (),
        inherited: socket.socket | None = None,
    ) -> None:
        self.settings = settings if inherited is None else settings.bound_to(*inherited.getsockname()[:2])
        self._on_app_init = on_app_init
        self._inherited = inherited
        self.url = ""
        self._plugins = plugins
        self._stack = contextlib.AsyncExitStack()
        self._http: HttpServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self._middleware: RequestMiddleware | None = None
        self._assembly: Assembly | None = None
        self._parts: OpenParts | None = None
        self._socket: socket.socket | None = None
        self._lost: StorageLost | None = None
        self.state = ServerState()

    async def __aenter__(self) -> Self:
        async with self._stack:
            await self._open()
            self._stack = self._stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        log.info("Server stopped")

    async def serve(self, on_started: Callable[[], None] = lambda: None) -> None:
        """Answer requests until :meth:`stop`. Returns at once if that was called during the start.

        ``on_started`` is called when requests are answered. Raises :class:`StorageLost` if the storage was lost, after
        the last answer.
        """
        if self.state.stopping:
            return
        assert self._serving is not None  # noqa: S101  set on entering
        assert self._parts is not None  # noqa: S101
        assert self._middleware is not None  # noqa: S101
        self.state.set_serving()
        self._middleware.open(*self._parts.routes)
        on_started()
        await self._serving
        if self._lost is not None:
            raise self._lost

    def stop(self) -> None:
        """Make :meth:`serve` return; a second call does not wait for open requests."""
        self.state.set_stopping()
        if self._assembly is not None:
            self._assembly.begin_close()
        if self._http is not None:
            self._http.force_exit = self._http.should_exit
            self._http.should_exit = True

    @property
    def has_pages(self) -> bool:
        """Whether there are pages for browsers; known once the server is open."""
        return self._parts is not None and self._parts.routes.pages is not None

    @property
    def pages_url(self) -> str:
        """The address of the pages for a browser on this computer, which it may log in; empty without pages."""
        pages = self._parts.routes.pages if self._parts is not None else None
        return self.url + pages.entry() if pages is not None else ""

    @property
    def durable(self) -> bool:
        """Whether data survive the process; known once the server is open."""
        return self._parts is not None and self._parts.storage.durable

    def _storage_lost(self, error: StorageLost) -> None:
        self._lost = error
        self.state.set_data_directory_lost()
        self.stop()

    async def _open(self) -> None:
        """Open all parts. Each pushes its closing, so that parts are closed in reverse order."""
        settings = self.settings
        for warning in (*settings.warnings, *selection_warnings(settings)):
            log.warning(str(warning))
        for info in self._plugins.broken:
            log.warning(
                "Plugin not loaded", plugin=info.name, distribution=info.distribution, error=info.error
            )
        log.info("End reading configuration", file=str(settings.config_file), config=settings.shown())
        port = self._listen()
        credentials = credentials_of(settings)
        telemetry = ServerTelemetry(settings.otel, runtime_name(settings))
        self._stack.push_async_callback(telemetry.close)
        http_metrics = HttpMetrics("https" if settings.service.tls_cert_file else "http", settings.host, port)
        self._middleware = make_middleware(settings, http_metrics, self.state, credentials)
        await self._start_http(telemetry.wrap(self._middleware, settings.host, port))
        assembly_type = await asyncio.to_thread(_import_assembly)
        assembly = self._assembly = assembly_type(
            self._stack, settings, self._plugins, telemetry, self.url, self.state, http_metrics, credentials
        )
        parts = self._parts = await assembly.open(self._on_app_init, self._storage_lost)
        log.info(
            "API Server starting",
            url=self.url,
            server_port=port,
            metrics_port=parts.metrics_port,
            version=__version__,
            local=settings.local,
            socket_activation=self._inherited is not None,
            storage=parts.storage.description,
            durable=parts.storage.durable,
            runtime=parts.runtime.name,
            role=parts.role,
        )

    def _listen(self) -> int:
        """Open the API's socket, unless one was inherited; returns its port."""
        self._socket = self._inherited or listen(self.settings.host, self.settings.service.port)
        self._stack.callback(self._socket.close)
        port: int = self._socket.getsockname()[1]
        self.url = self.settings.callback_url(port)
        return port

    async def _start_http(self, app: ASGIApp) -> None:
        """Answer health from now on; other requests wait in the middleware."""
        assert self._socket is not None  # noqa: S101  opened before
        http = self._http = http_server(self.settings.service, app, tls=True)
        serving = self._serving = asyncio.create_task(http.serve([self._socket]), name="http-server")
        self._stack.push_async_callback(self._stop_http, http, serving)
        started = asyncio.Event()
        http.on_started = started.set
        serving.add_done_callback(lambda _: started.set())
        await started.wait()
        if serving.done():
            await serving  # raises why it could not start

    async def _stop_http(self, http: HttpServer, serving: asyncio.Task[None]) -> None:
        """After a start that failed, or that was stopped; otherwise :meth:`serve` has waited for it."""
        self.state.set_stopping()
        http.should_exit = http.force_exit = True
        await asyncio.wait([serving])


def _import_assembly() -> type[Assembly]:
    from evalhub_server.cli.assembly import Assembly

    return Assembly

"""Composition root: builds a running server from settings and plugins."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import structlog
from litestar.types import OnAppInitHandler
from msgspec.structs import replace

from evalhub_server import __version__
from evalhub_server.cli.data_dir import prepare_data_dir
from evalhub_server.cli.engine import open_engine, start_engine
from evalhub_server.cli.listeners import MetricsListener, http_server, listen
from evalhub_server.cli.parts import EngineParts, SelectedPlugins
from evalhub_server.cli.selection import (
    exporter_names,
    make_selected,
    observer_names,
    runtime_name,
    selection_warnings,
    storage_name,
    suggest_local,
    tracker_names,
)
from evalhub_server.cli.telemetry import ServerTelemetry
from evalhub_server.cli.viewer import viewer_parts
from evalhub_server.engine.change_feed import ChangeFeed
from evalhub_server.engine.leadership import Leadership, SingleServer
from evalhub_server.engine.loop_watchdog import LoopWatchdog
from evalhub_server.engine.metrics import JobMetrics, job_gauges
from evalhub_server.engine.outbox_metrics import ExportMetrics
from evalhub_server.engine.readiness import ComponentChecks, ServerState
from evalhub_server.engine.storage_watch import StorageWatch
from evalhub_server.errors import StartupError, StorageLost
from evalhub_server.plugins.descriptors import PluginContext
from evalhub_server.plugins.export import Exporter
from evalhub_server.plugins.manager import Plugins
from evalhub_server.plugins.observation import Observer
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.plugins.storage import Storage
from evalhub_server.plugins.tracking import Tracker
from evalhub_server.settings import Settings
from evalhub_server.web.app import make_app
from evalhub_server.web.credentials import Credentials
from evalhub_server.web.metrics import HttpMetrics, Metrics
from evalhub_server.web.pages import Pages
from evalhub_server.web.uvicorn_server import HttpServer

T = TypeVar("T")
P = TypeVar("P", Tracker, Exporter, Observer)

log = structlog.get_logger()


class Server:
    """A server with all its parts. An async context manager: entering opens them, leaving closes them in reverse order.

    In between, :meth:`serve` answers requests until :meth:`stop` is called. If a part cannot be opened, those before it are
    closed and :class:`StartupError` is raised. ``on_app_init`` are hooks of :func:`make_app`. ``inherited`` is a listening
    socket to use instead of a new one; its address takes precedence over ``service.host`` and ``service.port``. ``url``
    (where adapters on this computer reach the server) and ``durable`` (whether data survive the process) are known once it
    is open. ``state`` is what readiness reports.
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
        self.durable = False
        self._plugins = plugins
        self._stack = contextlib.AsyncExitStack()
        self._http: HttpServer | None = None
        self._feed: ChangeFeed | None = None
        self._leadership: Leadership | SingleServer | None = None
        self._socket: socket.socket | None = None
        self._lost: StorageLost | None = None
        self._pages: Pages | None = None
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
        assert self._http is not None  # noqa: S101  set on entering
        assert self._socket is not None  # noqa: S101
        self._http.on_started = on_started
        self.state.set_serving()
        await self._http.serve([self._socket])
        if self._lost is not None:
            raise self._lost

    def stop(self) -> None:
        """Make :meth:`serve` return; a second call does not wait for open requests."""
        self.state.set_stopping()
        if self._feed is not None:
            self._feed.close()
        if self._leadership is not None:
            self._leadership.step_down()
        if self._http is not None:
            self._http.force_exit = self._http.should_exit
            self._http.should_exit = True

    @property
    def pages_url(self) -> str:
        """The address of the pages for a browser on this computer, which it may log in; empty without pages."""
        return self.url + self._pages.entry() if self._pages is not None else ""

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
        telemetry = ServerTelemetry(settings.otel, runtime_name(settings))
        self._stack.push_async_callback(telemetry.close)
        selected = await self._open_plugins(telemetry)
        for distribution, text in self._plugins.warnings:
            log.warning("Plugin warning", distribution=distribution, warning=text)
        engine = await open_engine(
            self._stack, settings, self._plugins, selected, telemetry, self.url, self.state
        )
        self._feed, self._leadership = engine.store.feed, engine.leadership
        metrics = self._metrics(engine, selected, port)
        checks = ComponentChecks(engine.store, engine.supervisor, settings.data_dir)
        self._stack.push_async_callback(checks.close)
        await checks.recent(0.0)  # starts one, whose result the first reader finds
        viewer = viewer_parts(settings, self.url, selected, engine, self.state, checks, self._plugins)
        self._pages = viewer.pages
        app = make_app(
            settings,
            engine.jobs,
            engine.resources,
            engine.samples.files,
            engine.samples.uploads,
            engine.comparisons,
            engine.baselines,
            metrics,
            self.state,
            checks,
            engine.credentials,
            viewer.around_routes,
            [*self._on_app_init, *viewer.on_app_init],
            viewer.pages,
        )
        self._http = http_server(settings.service, telemetry.wrap(app, settings.host, port), tls=True)
        watchdog = LoopWatchdog(self._plugins.packages)
        watchdog.start()
        self._stack.callback(watchdog.stop)
        watch = StorageWatch(selected.storage, self._storage_lost)
        watch.start()
        self._stack.push_async_callback(watch.close)
        await start_engine(self._stack, engine)
        metrics_port = self._listen_for_metrics(metrics, engine.credentials)
        telemetry.push_metrics(metrics)
        log.info(
            "API Server starting",
            url=self.url,
            server_port=port,
            metrics_port=metrics_port,
            version=__version__,
            local=settings.local,
            socket_activation=self._inherited is not None,
            storage=selected.storage.description,
            durable=selected.storage.durable,
            runtime=selected.runtime.name,
            role=engine.leadership.role,
        )

    def _listen(self) -> int:
        """Open the API's socket, unless one was inherited; returns its port."""
        self._socket = self._inherited or listen(self.settings.host, self.settings.service.port)
        self._stack.callback(self._socket.close)
        port: int = self._socket.getsockname()[1]
        self.url = self.settings.callback_url(port)
        return port

    async def _open_plugins(self, telemetry: ServerTelemetry) -> SelectedPlugins:
        settings = self.settings
        context = PluginContext(
            data_dir=settings.data_dir,
            log_max_bytes=settings.retention.log_max_bytes,
            callback_url=self.url,
            secrets=settings.secrets.variables,
            sections=settings.sections,
            runtime=runtime_name(settings),
            trackers=tracker_names(settings),
        )
        runtime = self._make(Runtime, runtime_name(settings), context)
        context = replace(context, shared=not runtime.on_this_host)
        if settings.data_dir is not None:
            prepare_data_dir(settings.data_dir, shared=context.shared)
        storage = self._make(Storage, storage_name(settings), context)
        await storage.open()
        self.durable = storage.durable
        self._stack.push_async_callback(storage.close)
        self._stack.push_async_callback(telemetry.stop_metrics)
        self._stack.push_async_callback(runtime.close)
        self._stack.push_async_callback(telemetry.stop_adapter_logs)
        try:
            await runtime.check()
        except StartupError as error:
            raise suggest_local(settings, error) from error
        log.info("Runtime created", runtime=runtime.name)
        trackers = [await self._checked(Tracker, name, context) for name in tracker_names(settings)]
        context = replace(context, docker_config=runtime.docker_config)
        exporters = [await self._checked(Exporter, name, context) for name in exporter_names(settings)]
        names = observer_names(settings, self._plugins)
        observers = [await self._checked(Observer, name, context) for name in names]
        return SelectedPlugins(storage, runtime, trackers, exporters, observers)

    def _metrics(self, engine: EngineParts, selected: SelectedPlugins, port: int) -> Metrics:
        jobs = JobMetrics(selected.runtime.name)
        engine.store.changes.listen(jobs.on_change, own_only=True)
        scheme = "https" if self.settings.service.tls_cert_file else "http"
        gauges = partial(job_gauges, engine.store, engine.supervisor, engine.stored, self.state)
        return Metrics(
            HttpMetrics(scheme, self.settings.host, port),
            jobs,
            ExportMetrics(engine.outbox),
            engine.observers,
            gauges,
        )

    def _listen_for_metrics(self, metrics: Metrics, credentials: Credentials | None) -> int | None:
        """Start the metrics' own listener if it is enabled; returns its port, or None."""
        listener = None
        if self.settings.prometheus.enabled:
            listener = MetricsListener.start(self.settings, metrics, credentials)
        if listener is None:
            return None
        self._stack.push_async_callback(listener.close)
        return listener.port

    def _make(self, kind: type[T], name: str, context: PluginContext) -> T:
        return make_selected(self._plugins, self.settings, kind, name, context)

    async def _checked(self, kind: type[P], name: str, context: PluginContext) -> P:
        plugin = self._make(kind, name, context)
        self._stack.push_async_callback(plugin.close)
        await plugin.check()
        return plugin

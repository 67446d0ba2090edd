"""Assembly of a server's parts: plugins, engine, metrics and routes.

Importing them takes most of a start, so :class:`~evalhub_server.cli.server.Server` imports this module when it answers health already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import NamedTuple, TypeVar

import structlog
from litestar.types import OnAppInitHandler
from msgspec.structs import replace

from evalhub_server.cli.data_dir import prepare_data_dir
from evalhub_server.cli.engine import open_engine, start_engine
from evalhub_server.cli.metrics_listener import MetricsListener
from evalhub_server.cli.parts import EngineParts, SelectedPlugins
from evalhub_server.cli.selection import (
    exporter_names,
    make_selected,
    observer_names,
    runtime_name,
    storage_name,
    suggest_local,
    tracker_names,
)
from evalhub_server.cli.telemetry import ServerTelemetry
from evalhub_server.cli.viewer import viewer_pages
from evalhub_server.engine.loop_watchdog import LoopWatchdog
from evalhub_server.engine.metrics import JobMetrics, job_gauges
from evalhub_server.engine.outbox_metrics import ExportMetrics
from evalhub_server.engine.readiness import ComponentChecks
from evalhub_server.engine.server_state import Role, ServerState
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
from evalhub_server.web.app import Routes, make_routes
from evalhub_server.web.credentials import Credentials
from evalhub_server.web.metrics import HttpMetrics, Metrics

T = TypeVar("T")
P = TypeVar("P", Tracker, Exporter, Observer)

log = structlog.get_logger()


class OpenParts(NamedTuple):
    """The open parts. ``metrics_port`` is None without a listener for metrics alone."""

    routes: Routes
    storage: Storage
    runtime: Runtime
    role: Role | None
    metrics_port: int | None


class Assembly:
    """Opens the parts of a server. Each pushes its closing on ``stack``, so that they are closed in reverse order.

    ``url`` is where adapters on this computer reach the server. ``http_metrics`` are those of the requests.
    """

    def __init__(
        self,
        stack: AsyncExitStack,
        settings: Settings,
        plugins: Plugins,
        telemetry: ServerTelemetry,
        url: str,
        state: ServerState,
        http_metrics: HttpMetrics,
        credentials: Credentials | None,
    ) -> None:
        self._stack = stack
        self._settings = settings
        self._plugins = plugins
        self._telemetry = telemetry
        self._url = url
        self._state = state
        self._http_metrics = http_metrics
        self._credentials = credentials
        self._engine: EngineParts | None = None

    async def open(
        self, on_app_init: Sequence[OnAppInitHandler], storage_lost: Callable[[StorageLost], None]
    ) -> OpenParts:
        """Open all parts. ``on_app_init`` are hooks of :func:`make_routes`; ``storage_lost`` is called if the storage is lost."""
        settings = self._settings
        selected = await self._open_plugins()
        for distribution, text in self._plugins.warnings:
            log.warning("Plugin warning", distribution=distribution, warning=text)
        engine = self._engine = await open_engine(
            self._stack,
            settings,
            self._plugins,
            selected,
            self._telemetry,
            self._url,
            self._state,
            self._credentials,
        )
        metrics = self._metrics(engine, selected)
        checks = ComponentChecks(engine.store, engine.supervisor, settings.data_dir)
        self._stack.push_async_callback(checks.close)
        await checks.recent(0.0)  # starts one, whose result the first reader finds
        pages = viewer_pages(settings, self._url, selected, engine, self._state, checks, self._plugins)
        routes = make_routes(
            settings,
            engine.jobs,
            engine.resources,
            engine.samples.files,
            engine.samples.uploads,
            engine.comparisons,
            engine.baselines,
            metrics,
            self._state,
            checks,
            on_app_init,
            pages,
        )
        watchdog = LoopWatchdog(self._plugins.packages)
        watchdog.start()
        self._stack.callback(watchdog.stop)
        watch = StorageWatch(selected.storage, storage_lost)
        watch.start()
        self._stack.push_async_callback(watch.close)
        await start_engine(self._stack, engine)
        metrics_port = self._listen_for_metrics(metrics)
        self._telemetry.push_metrics(metrics)
        return OpenParts(routes, selected.storage, selected.runtime, engine.leadership.role, metrics_port)

    def begin_close(self) -> None:
        """End streams of changes and launch nothing more: the server stops."""
        if self._engine is not None:
            self._engine.store.feed.close()
            self._engine.leadership.step_down()

    async def _open_plugins(self) -> SelectedPlugins:
        settings = self._settings
        context = PluginContext(
            data_dir=settings.data_dir,
            log_max_bytes=settings.retention.log_max_bytes,
            callback_url=self._url,
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
        self._stack.push_async_callback(storage.close)
        self._stack.push_async_callback(self._telemetry.stop_metrics)
        self._stack.push_async_callback(runtime.close)
        self._stack.push_async_callback(self._telemetry.stop_adapter_logs)
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

    def _metrics(self, engine: EngineParts, selected: SelectedPlugins) -> Metrics:
        jobs = JobMetrics(selected.runtime.name)
        engine.store.changes.listen(jobs.on_change, own_only=True)
        gauges = partial(job_gauges, engine.store, engine.supervisor, engine.stored, self._state)
        return Metrics(
            self._http_metrics,
            jobs,
            ExportMetrics(engine.outbox),
            engine.observers,
            gauges,
        )

    def _listen_for_metrics(self, metrics: Metrics) -> int | None:
        """Start the metrics' own listener if it is enabled; returns its port, or None."""
        listener = None
        if self._settings.prometheus.enabled:
            listener = MetricsListener.start(self._settings, metrics, self._credentials)
        if listener is None:
            return None
        self._stack.push_async_callback(listener.close)
        return listener.port

    def _make(self, kind: type[T], name: str, context: PluginContext) -> T:
        return make_selected(self._plugins, self._settings, kind, name, context)

    async def _checked(self, kind: type[P], name: str, context: PluginContext) -> P:
        plugin = self._make(kind, name, context)
        self._stack.push_async_callback(plugin.close)
        await plugin.check()
        return plugin

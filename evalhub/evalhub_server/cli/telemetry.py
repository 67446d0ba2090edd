"""Integration of OpenTelemetry into the server, if it is enabled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalhub_server.errors import StartupError
from evalhub_server.settings import OtelSettings

if TYPE_CHECKING:
    from litestar.types import ASGIApp

    from evalhub_server.engine.job_store import JobStore
    from evalhub_server.engine.run_builder import EnvironmentOf
    from evalhub_server.plugins.runtime import Runtime
    from evalhub_server.telemetry.telemetry import Telemetry
    from evalhub_server.web.metrics import Metrics


class ServerTelemetry:
    """OpenTelemetry for the parts of a server; without ``otel.enabled`` every method does nothing.

    Raises :class:`StartupError` if OpenTelemetry is not installed or a certificate cannot be used.
    """

    def __init__(self, otel: OtelSettings, runtime: str) -> None:
        self._telemetry = require_telemetry(otel)(otel, runtime) if otel.enabled else None
        self._requests = self._telemetry.requests if self._telemetry else None
        self._benchmarks = self._telemetry.benchmarks if self._telemetry else None

    def observe(self, store: JobStore, runtime: Runtime) -> None:
        if self._telemetry is not None:
            self._telemetry.observe(store, runtime)

    @property
    def environment_of(self) -> EnvironmentOf | None:
        """Returns the trace context of a benchmark as environment variables for its adapter."""
        return self._benchmarks.environment if self._benchmarks else None

    def wrap(self, app: ASGIApp, address: str, port: int) -> ASGIApp:
        """``app`` with a span for each request, or ``app`` itself without tracing."""
        return self._requests.wrap(app, address, port) if self._requests else app

    def push_metrics(self, metrics: Metrics) -> None:
        """Start to send ``metrics`` periodically."""
        if self._telemetry is not None and self._telemetry.metrics is not None:
            self._telemetry.metrics.start(metrics.snapshot)

    async def stop_adapter_logs(self) -> None:
        """Stop reading logs of adapters. Called while the runtime is open."""
        if self._telemetry is not None:
            await self._telemetry.stop_adapter_logs()

    async def stop_metrics(self) -> None:
        """Collect metrics for the last time. Called while the storage is open."""
        if self._telemetry is not None:
            await self._telemetry.stop_metrics()

    async def close(self) -> None:
        """Send what is left, for a limited time."""
        if self._telemetry is not None:
            await self._telemetry.close()


def require_telemetry(otel: OtelSettings) -> type[Telemetry]:
    """Import OpenTelemetry. Raises :class:`StartupError` if it is not installed."""
    try:
        from evalhub_server.telemetry.exporters import import_exporters
        from evalhub_server.telemetry.telemetry import Telemetry

        import_exporters(otel)
    except ImportError as error:
        raise StartupError(
            f"otel.enabled: OpenTelemetry cannot be imported: {error}. Install it with: "
            "pip install 'eval-hub-server[otel]', or set otel.enabled: false."
        ) from error
    return Telemetry

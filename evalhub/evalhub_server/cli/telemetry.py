"""OpenTelemetry, where it is switched on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from litestar.types import ASGIApp

from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.run_builder import EnvironmentOf
from evalhub_server.errors import StartupError
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.settings import OtelSettings
from evalhub_server.web.metrics import Metrics

if TYPE_CHECKING:
    from evalhub_server.telemetry.telemetry import Telemetry


class ServerTelemetry:
    """Connects the server's parts with OpenTelemetry; without ``otel.enabled`` it does and costs nothing.

    Raises :class:`StartupError` if what it needs is not installed, or a certificate cannot be used.
    """

    def __init__(self, otel: OtelSettings, runtime: str) -> None:
        self._telemetry = require_telemetry(otel)(otel, runtime) if otel.enabled else None
        self._requests = self._telemetry.requests if self._telemetry else None
        self._benchmarks = self._telemetry.benchmarks if self._telemetry else None

    def listen(self, store: JobStore, runtime: Runtime) -> None:
        if self._telemetry is not None:
            self._telemetry.listen(store, runtime)

    @property
    def environment_of(self) -> EnvironmentOf | None:
        """What the adapter of a benchmark is told, beside the address of the collector."""
        return self._benchmarks.environment if self._benchmarks else None

    @property
    def around_routes(self) -> Callable[[ASGIApp], ASGIApp] | None:
        return self._requests.around_routes if self._requests else None

    def around(self, app: ASGIApp, address: str, port: int) -> ASGIApp:
        """``app`` with a span for each request; the very same if there are none."""
        return self._requests.around(app, address, port) if self._requests else app

    def push(self, metrics: Metrics) -> None:
        """Send these from now on."""
        if self._telemetry is not None and self._telemetry.metrics is not None:
            self._telemetry.metrics.start(metrics.snapshot)

    async def stop_reading(self) -> None:
        """Read no logs of adapters any more; the runtime is still open."""
        if self._telemetry is not None:
            await self._telemetry.stop_reading()

    async def stop_looking(self) -> None:
        """Take the last figures; the storage is still open."""
        if self._telemetry is not None:
            await self._telemetry.stop_looking()

    async def close(self) -> None:
        """Send what is left. Waits for a bounded time only."""
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

"""Real OTLP receivers, over HTTP and gRPC, which record what they receive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import grpc
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from harness.answering import AnsweringServer, Reply, Request
from harness.certificates import Certificate
from harness.config import Config
from harness.running import Started
from harness.waiting import wait_until

T = TypeVar("T")
SIGNALS: Mapping[str, type[Message]] = {
    "traces": trace_service_pb2.ExportTraceServiceRequest,
    "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
}


def sending_config(folder: Path, endpoint: str, **otel: Any) -> Config:
    """A configuration below ``folder`` of a server that exports every signal to ``endpoint``, with short intervals."""
    section = {
        "enabled": True,
        "exporter_type": "otlp-http",
        "exporter_endpoint": endpoint,
        "exporter_insecure": True,
        "enable_tracing": True,
        "tracer_batch_interval": "50ms",
        "enable_metrics": True,
        "metric_export_interval": "100ms",
        "enable_logs": True,
        **otel,
    }
    config = Config(folder / "config", otel=section)
    config.scripted("running", "completed")
    return config


class Received(NamedTuple):
    """A span, a metric or a log record, with the attributes of its resource."""

    item: Any
    resource: dict[str, Any]

    @property
    def attributes(self) -> dict[str, Any]:
        return plain(self.item.attributes)

    @property
    def trace_id(self) -> str:
        return self.item.trace_id.hex()

    @property
    def span_id(self) -> str:
        return self.item.span_id.hex()


def plain(attributes: Iterable[Any]) -> dict[str, Any]:
    return {item.key: _value(item.value) for item in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None


class Collected:
    """Everything received so far."""

    def __init__(self) -> None:
        self.exports: list[tuple[str, Any]] = []
        """(signal, request) in the order of their arrival."""

    def _all(self, signal: str, scopes: str, inner: str, items: str) -> list[Received]:
        found: list[Received] = []
        for name, export in list(self.exports):
            for of_resource in getattr(export, scopes) if name == signal else ():
                resource = plain(of_resource.resource.attributes)
                for scope in getattr(of_resource, inner):
                    found += [Received(item, resource) for item in getattr(scope, items)]
        return found

    def spans(self) -> list[Received]:
        return self._all("traces", "resource_spans", "scope_spans", "spans")

    def metrics(self) -> list[Received]:
        return self._all("metrics", "resource_metrics", "scope_metrics", "metrics")

    def logs(self) -> list[Received]:
        return self._all("logs", "resource_logs", "scope_logs", "log_records")

    def span(self, name: str, **attributes: Any) -> Received:
        """Wait for a span with this name and these attributes (``__`` stands for a dot); returns the first."""
        return _first(self.spans, lambda span: span.item.name == name, attributes, f"span {name}")

    def log(self, body: str, **attributes: Any) -> Received:
        """Like :meth:`span`, for a log record."""
        return _first(self.logs, lambda log: log.item.body.string_value == body, attributes, f"log {body}")


def _first(
    found: Callable[[], list[Received]], fits: Callable[[Received], bool], wanted: dict[str, Any], what: str
) -> Received:
    items = {key.replace("__", "."): value for key, value in wanted.items()}.items()
    return wait_until(
        lambda: next((one for one in found() if fits(one) and items <= one.attributes.items()), None), what
    )


class HttpCollector(AnsweringServer, Collected):
    """OTLP over HTTP; ``tls`` is its certificate. While :attr:`status` is not 200, it accepts nothing."""

    def __init__(self, *, tls: Certificate | None = None) -> None:
        AnsweringServer.__init__(self, self._take, tls=tls)
        Collected.__init__(self)
        self.status = 200
        self._held: threading.Event | None = None

    def hold(self) -> threading.Event:
        """Delay every response until the event is set."""
        self._held = threading.Event()
        return self._held

    def _take(self, request: Request) -> Reply:
        if self._held is not None:
            self._held.wait(60)
        signal = request.path.removeprefix("/v1/")
        if request.method != "POST" or signal not in SIGNALS:
            return Reply(404)
        if self.status == 200:
            assert request.headers["content-type"] == "application/x-protobuf"
            self.exports.append((signal, SIGNALS[signal].FromString(request.body)))
        return Reply(self.status)


class GrpcCollector(Started, Collected):
    """OTLP over gRPC; ``tls`` is its certificate."""

    def __init__(self, *, tls: Certificate | None = None) -> None:
        Collected.__init__(self)
        self._tls = tls
        self._server: grpc.Server | None = None
        self.metadata: list[dict[str, str]] = []
        self.port = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server = server = grpc.server(futures.ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self._taking("traces"), server)
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(self._taking("metrics"), server)
        logs_service_pb2_grpc.add_LogsServiceServicer_to_server(self._taking("logs"), server)
        address = f"127.0.0.1:{self.port}"
        if self._tls:
            crt, key = (file.read_bytes() for file in self._tls)
            self.port = server.add_secure_port(address, grpc.ssl_server_credentials([(key, crt)]))
        else:
            self.port = server.add_insecure_port(address)
        server.start()

    def leave(self) -> None:
        assert self._server is not None
        self._server.stop(None).wait(10)

    def _taking(self, signal: str) -> Any:
        collector = self

        class Servicer:
            def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  the protocol's name
                collector.metadata.append(
                    {item.key: str(item.value) for item in context.invocation_metadata()}
                )
                collector.exports.append((signal, request))
                module = {
                    "traces": trace_service_pb2,
                    "metrics": metrics_service_pb2,
                    "logs": logs_service_pb2,
                }
                return getattr(module[signal], type(request).__name__.replace("Request", "Response"))()

        return Servicer()

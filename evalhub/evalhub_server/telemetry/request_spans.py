"""Server spans of HTTP requests."""

from __future__ import annotations

from collections.abc import Iterable

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from evalhub_common.callback_tokens import redact_callback_path
from evalhub_server.web.metrics import OTHER_METHOD, known_method
from evalhub_server.web.request_context import TRACE_HEADER

_PROPAGATION = {b"traceparent": "traceparent", b"tracestate": "tracestate"}
_propagator = TraceContextTextMapPropagator()


class RequestSpans:
    """A server span for each request, following OpenTelemetry's stable semantic conventions for HTTP.

    https://opentelemetry.io/docs/specs/semconv/http/http-spans/.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def wrap(self, app: ASGIApp, address: str, port: int) -> ASGIApp:
        """``app`` with a span for each request. The server listens on ``address`` and ``port``."""
        server: dict[str, AttributeValue] = {"server.address": address, "server.port": port}

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            name = _name(known_method(scope["method"]))
            span = self._tracer.start_span(name, _parent(scope["headers"]), SpanKind.SERVER, server)
            exchange = _Exchange(send)
            with use_span(span, end_on_exit=True):
                try:
                    await app(scope, receive, exchange.send if span.is_recording() else send)
                finally:
                    if span.is_recording():
                        exchange.describe(span, scope)

        return traced


class _Exchange:
    """Facts about a request and its response that are known after the start of the span."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._status = 0
        self._request_id = ""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            found = (value for name, value in message["headers"] if name == TRACE_HEADER)
            self._request_id = next(found, b"").decode("latin-1")
        await self._send(message)

    def describe(self, span: Span, scope: HTTPScope) -> None:
        """Set the attributes that are known at the end, when tokens have been removed from the path."""
        method = known_method(scope["method"])
        if "path_template" in scope:  # a request without a route has none
            route = scope["path_template"]
            span.update_name(f"{_name(method)} {route}")
            span.set_attribute("http.route", route)
        span.set_attributes(_request_attributes(scope, method))
        if self._request_id:
            span.set_attribute(f"http.response.header.{TRACE_HEADER.decode()}", [self._request_id])
        if self._status:
            span.set_attribute("http.response.status_code", self._status)
        if self._status >= 500:
            span.set_attribute("error.type", str(self._status))
            span.set_status(Status(StatusCode.ERROR))


def _name(method: str) -> str:
    """Name of a span without a route; ``HTTP`` for an unknown method, as the conventions prescribe."""
    return "HTTP" if method == OTHER_METHOD else method


def _parent(headers: Iterable[tuple[bytes, bytes]]) -> Context:
    """Context of the caller's W3C trace headers (https://www.w3.org/TR/trace-context/); empty without valid ones."""
    carrier: dict[str, list[str]] = {}
    for name, value in headers:
        if name in _PROPAGATION:
            carrier.setdefault(_PROPAGATION[name], []).append(value.decode("latin-1"))
    if len(carrier.get("traceparent", ())) != 1:
        return Context()
    return _propagator.extract(carrier, Context())


def _request_attributes(scope: HTTPScope, method: str) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "http.request.method": method,
        "network.protocol.version": scope["http_version"],
        "url.path": redact_callback_path(scope["raw_path"].decode("latin-1")),
        "url.scheme": scope["scheme"],
    }
    if method == OTHER_METHOD:
        attributes["http.request.method_original"] = scope["method"]
    if scope["query_string"]:
        attributes["url.query"] = redact_callback_path(scope["query_string"].decode("latin-1"))
    if scope["client"]:
        attributes["client.address"], attributes["client.port"] = scope["client"]
    agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
    if agent:
        attributes["user_agent.original"] = agent.decode("latin-1")
    return attributes

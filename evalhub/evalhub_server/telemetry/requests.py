"""Server spans of requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from evalhub_server.web.metrics import OTHER_METHOD, known_method
from evalhub_server.web.request_context import TRACE_HEADER

_KEY = "evalhub_server.telemetry"
_PROPAGATION = {b"traceparent": "traceparent", b"tracestate": "tracestate"}
_propagator = TraceContextTextMapPropagator()


class RequestSpans:
    """A server span for each request, after OpenTelemetry's stable conventions for HTTP.

    https://opentelemetry.io/docs/specs/semconv/http/http-spans/. :meth:`around` goes around everything, and
    :meth:`around_routes` around the routes alone: only these know the pattern of their path.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def around(self, app: ASGIApp, address: str, port: int) -> ASGIApp:
        """``address`` and ``port`` are where the server listens."""
        server: dict[str, AttributeValue] = {"server.address": address, "server.port": port}

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            name = _name(known_method(scope["method"]))
            span = self._tracer.start_span(name, _parent(scope["headers"]), SpanKind.SERVER, server)
            exchange = _Exchange(send)
            cast("dict[str, Any]", scope)[_KEY] = exchange
            with use_span(span, end_on_exit=True):
                try:
                    await app(scope, receive, exchange.send if span.is_recording() else send)
                finally:
                    if span.is_recording():
                        exchange.describe(span, scope)

        return traced

    def around_routes(self, app: ASGIApp) -> ASGIApp:
        async def noted(scope: Scope, receive: Receive, send: Send) -> None:
            items = cast("dict[str, Any]", scope)
            try:
                await app(scope, receive, send)
            finally:
                items[_KEY].route = items.get("path_template", "")

        return noted


class _Exchange:
    """A request and its answer."""

    def __init__(self, send: Send) -> None:
        self.route = ""
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
        """Say of the span what is known at the end: by then the path has no token in it any more."""
        method = known_method(scope["method"])
        if self.route:
            span.update_name(f"{_name(method)} {self.route}")
            span.set_attribute("http.route", self.route)
        span.set_attributes(_request_attributes(scope, method))
        if self._request_id:
            span.set_attribute(f"http.response.header.{TRACE_HEADER.decode()}", [self._request_id])
        if self._status:
            span.set_attribute("http.response.status_code", self._status)
        if self._status >= 500:
            span.set_attribute("error.type", str(self._status))
            span.set_status(Status(StatusCode.ERROR))


def _name(method: str) -> str:
    """Of a span whose route is not known. The conventions have a word for methods that a client has invented."""
    return "HTTP" if method == OTHER_METHOD else method


def _parent(headers: Iterable[tuple[bytes, bytes]]) -> Context:
    """The caller's trace, if it names one in the W3C's way (https://www.w3.org/TR/trace-context/)."""
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
        "url.path": scope["raw_path"].decode("latin-1"),
        "url.scheme": scope["scheme"],
    }
    if method == OTHER_METHOD:
        attributes["http.request.method_original"] = scope["method"]
    if scope["query_string"]:
        attributes["url.query"] = scope["query_string"].decode("latin-1")
    if scope["client"]:
        attributes["client.address"], attributes["client.port"] = scope["client"]
    agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
    if agent:
        attributes["user_agent.original"] = agent.decode("latin-1")
    return attributes

"""Everything that each request passes, in one pass around the application.

In this order: request id, host and origin, the answer to a preflight, token, path, identity; then the routes; then
the access log. What is refused has touched nothing: not even its body was read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import structlog
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from evalhub_server.domain import problems
from evalhub_server.errors import ApiError
from evalhub_server.settings import Settings
from evalhub_server.web.credentials import CALLBACK, Credentials, split_callback
from evalhub_server.web.metrics import HttpMetrics
from evalhub_server.web.origin_policy import Guard
from evalhub_server.web.paths import LONGEST_BYTES, cleaned, is_clean, redirect_page, routed
from evalhub_server.web.request_context import (
    KEY,
    NOBODY,
    TRACE_HEADER,
    Identities,
    RequestContext,
    refuse_repeated,
    trace_of,
)
from evalhub_server.web.responses import JSON, Header, Reply, error_body, reply

HEALTH = "/api/v1/health"
DOCS = "/docs/"
# What needs no token: it says nothing about anybody, and a browser that opens a page cannot send one.
OPEN = frozenset({HEALTH, "/docs", "/openapi.yaml", "/openapi.json"})
PLAIN_NOT_FOUND = b"404 page not found\n"
# On every answer: a log is whatever an adapter prints, and no browser shall guess that it is a page or a script.
NOSNIFF: Header = (b"x-content-type-options", b"nosniff")
# Litestar answers OPTIONS by itself and knows no HEAD; the text of a 405 names what was really sent.
ROUTED_METHODS = {"HEAD": "GET", "OPTIONS": "TRACE"}


class Gateway:
    """The outermost ASGI application. Without ``credentials`` nobody is asked for a token."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        metrics: HttpMetrics,
        credentials: Credentials | None = None,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._guard = Guard(settings)
        self._identities = Identities(required=not settings.local)
        self._credentials = credentials
        self._log = structlog.get_logger().bind()  # the lazy one would be bound anew for every line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # nothing else is served
        started = time.perf_counter()
        headers = list(scope["headers"])
        fields: dict[bytes, bytes] = dict(reversed(headers))  # of repeated ones the first counts
        trace = trace_of(fields.get(TRACE_HEADER))
        own: list[Header] = [(TRACE_HEADER, trace.encode("ascii")), NOSNIFF]
        status, size_bytes = 500, 0

        async def answer(message: Message) -> None:
            nonlocal status, size_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *own]}
            elif message["type"] == "http.response.body":
                size_bytes += len(message.get("body", b""))
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=trace)
        token = b""
        if scope["raw_path"].startswith(CALLBACK):
            # Before anything is refused: neither a log nor an answer shows the token.
            token, scope["raw_path"] = split_callback(scope["raw_path"])
        error, routed_scope = "", scope
        self._metrics.started(scope["method"])
        try:
            try:
                if len(fields) != len(headers):
                    refuse_repeated(headers)
                entered = self._enter(scope, fields, trace, own, token)
            except ApiError as refusal:
                error = refusal.message
                entered = _refused(refusal, trace)
            if isinstance(entered, Reply):
                await entered(scope, receive, answer)
            else:
                routed_scope = entered
                await self._app(entered, receive, answer)
        finally:
            duration_s = time.perf_counter() - started
            self._metrics.ended(
                scope["method"],
                routed_scope.get("path_template", ""),
                status,
                scope["http_version"],
                duration_s,
                fields.get(b"content-length", b""),
                size_bytes,
            )
        self._log_request(scope, status, duration_s, error)

    def _enter(
        self,
        scope: HTTPScope,
        fields: Mapping[bytes, bytes],
        trace: str,
        own: list[Header],
        callback_token: bytes,
    ) -> HTTPScope | Reply:
        """Check the request; returns the scope for the routes. Raises :class:`ApiError`.

        ``own`` are the headers of the answer, whichever it will be. ``callback_token`` is what the path had before its
        own.
        """
        method: Any = scope["method"]
        path: str = scope["path"]
        raw_path: bytes = scope["raw_path"]
        own += self._guard.admit(method, scope["scheme"], scope["http_version"], fields)
        if method == "OPTIONS" and self._guard.cors:
            return Reply(204)
        if len(raw_path) > LONGEST_BYTES:
            raise problems.uri_too_long(LONGEST_BYTES)
        if callback_token or b"%" in raw_path or raw_path.startswith(CALLBACK):
            path = routed(raw_path)
        reports = False
        if self._credentials is not None and path not in OPEN and not path.startswith(DOCS):
            reports = self._authenticate(
                self._credentials, method, path, fields.get(b"authorization", b""), callback_token
            )
        if not is_clean(raw_path):
            location = cleaned(raw_path)
            if location.encode() != raw_path:
                return _redirect(location, scope["query_string"])
        if path.endswith("/") and path != "/":
            # Contract: a trailing slash is another path; Litestar would be kinder.
            return reply(PLAIN_NOT_FOUND, "text/plain; charset=utf-8", 404)
        # The token of a job's own address says more than a tenant, and no proxy has named a user.
        identity = NOBODY if reports else self._identities.of(path, fields)
        context = RequestContext(trace=trace, identity=identity, method=method, preflights=self._guard.cors)
        return {**scope, "method": ROUTED_METHODS.get(method, method), "path": path, KEY: context}  # type: ignore[typeddict-item,return-value]

    def _authenticate(
        self, credentials: Credentials, method: str, path: str, authorization: bytes, callback_token: bytes
    ) -> bool:
        """Is it a report of the job whose own address this is? Raises :class:`ApiError` for who has no token at all."""
        if callback_token and method == "POST" and credentials.admit_report(callback_token, path):
            return True
        if not credentials.admit(authorization):
            raise problems.unauthorized()
        return False

    def _log_request(self, scope: HTTPScope, status: int, duration_s: float, error: str) -> None:
        # Probes ask for health all the time; nobody wants to read that.
        level = logging.DEBUG if scope["path"] == HEALTH else logging.INFO
        if not self._log.is_enabled_for(level):
            return
        self._log.log(
            level,
            "Request successful" if status < 400 else "Request failed",
            method=scope["method"],
            uri=request_uri(scope),
            code=status,
            duration=round(duration_s, 6),
            remote_addr=scope["client"][0] if scope["client"] else "",
            **({"error": error} if error else {}),
        )


def _refused(error: ApiError, trace: str) -> Reply:
    headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    return reply(error_body(error, trace), JSON, error.status, *headers)


def _redirect(location: str, query: bytes) -> Reply:
    target = location.encode() + (b"?" + query if query else b"")
    return reply(redirect_page(location), "text/html; charset=utf-8", 307, (b"location", target))


def request_uri(scope: Any) -> str:
    """Path and query exactly as they were sent."""
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")

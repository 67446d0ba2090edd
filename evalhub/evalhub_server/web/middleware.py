"""Request id, identity and access log in one pass around the application."""

from __future__ import annotations

import logging
import time
import uuid
from typing import Any

import structlog
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from evalhub_server.domain import problems
from evalhub_server.engine.jobs import Identity
from evalhub_server.errors import ApiError
from evalhub_server.models.provider import SYSTEM_OWNER
from evalhub_server.web.context import KEY, RequestContext
from evalhub_server.web.responses import JSON, error_body

log = structlog.get_logger()

TRACE_HEADER = b"x-global-transaction-id"
API_PREFIX = "/api/v1/evaluations"
HEALTH = "/api/v1/health"
PLAIN_NOT_FOUND = b"404 page not found\n"


class Gateway:
    """The outermost ASGI application."""

    def __init__(self, app: ASGIApp, *, local: bool) -> None:
        self._app = app
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        path: str = scope["path"]
        headers = scope["headers"]
        trace = _header(headers, TRACE_HEADER) or str(uuid.uuid4())
        method: str = scope["method"]
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(TRACE_HEADER, trace.encode("latin-1"))]
                if status >= 400:
                    own.append((b"x-content-type-options", b"nosniff"))
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=trace)
        if method == "HEAD":
            # Litestar has no HEAD for GET routes; the server below leaves the body out, since it knows the method.
            scope = {**scope, "method": "GET"}  # type: ignore[assignment]
        try:
            scope[KEY] = RequestContext(trace=trace, identity=self._identity(headers, path))  # type: ignore[literal-required]
        except ApiError as error:
            await _refuse(answer, error, trace)
        else:
            if path.endswith("/") and path != "/":
                # Contract: a trailing slash is another path; Litestar would be kinder.
                await _plain_not_found(send)
                status = 404
            else:
                await self._app(scope, receive, answer)
        _log_request(method, scope, path, status, time.perf_counter() - started)

    def _identity(self, headers: list[tuple[bytes, bytes]], path: str) -> Identity:
        if not path.startswith(API_PREFIX):
            return Identity()
        tenant, user = _single(headers, "X-Tenant"), _single(headers, "X-User")
        if not self._local:
            if not tenant:
                raise problems.missing_header("missing_tenant_header", "X-Tenant")
            if not user:
                raise problems.missing_header("missing_user_header", "X-User")
        if user == SYSTEM_OWNER:
            raise problems.invalid_header(
                "X-User", f"must not be '{SYSTEM_OWNER}', the owner of built-in resources"
            )
        return Identity(tenant=tenant, user=user)


def _single(headers: list[tuple[bytes, bytes]], name: str) -> str:
    key = name.lower().encode()
    values = [value for header, value in headers if header == key]
    if len(values) > 1:
        raise problems.invalid_header(name, "was sent more than once")
    return values[0].decode("latin-1").strip() if values else ""


def _header(headers: list[tuple[bytes, bytes]], key: bytes) -> str:
    return next((value.decode("latin-1") for name, value in headers if name == key), "")


async def _refuse(send: Any, error: ApiError, trace: str) -> None:
    body = error_body(error, trace)
    headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _plain_not_found(send: Send) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-length", str(len(PLAIN_NOT_FOUND)).encode()),
    ]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": PLAIN_NOT_FOUND, "more_body": False})


def _log_request(method: str, scope: HTTPScope, path: str, status: int, duration_s: float) -> None:
    # Probes ask for health all the time; nobody wants to read that.
    level = logging.DEBUG if path == HEALTH else logging.INFO
    if not log.is_enabled_for(level):
        return
    log.log(
        level,
        "Request successful" if status < 400 else "Request failed",
        method=method,
        uri=request_uri(scope),
        code=status,
        duration=round(duration_s, 6),
        remote_addr=scope["client"][0] if scope["client"] else "",
    )


def request_uri(scope: Any) -> str:
    """Path and query exactly as they were sent."""
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")

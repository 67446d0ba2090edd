"""Whatever goes wrong becomes the contract's error body."""

from __future__ import annotations

from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException

from evalhub_server.domain import problems
from evalhub_server.errors import ApiError
from evalhub_server.web.middleware import PLAIN_NOT_FOUND, request_uri
from evalhub_server.web.request_context import context
from evalhub_server.web.responses import JSON, error_body

log = structlog.get_logger()

AnyRequest = Request[Any, Any, Any]
Answer = Response[bytes]


def _answer(request: AnyRequest, error: ApiError) -> Answer:
    body = error_body(error, context(request).trace)
    return Response(body, status_code=error.status, media_type=JSON, headers=error.headers)


def on_api_error(request: AnyRequest, error: ApiError) -> Answer:
    if error.status >= 500:
        log.error("Request failed", error=error.message, exc_info=error)
    return _answer(request, error)


def on_not_found(_request: AnyRequest, _error: NotFoundException) -> Answer:
    return Response(PLAIN_NOT_FOUND, status_code=404, media_type="text/plain")


def on_method_not_allowed(request: AnyRequest, error: MethodNotAllowedException) -> Answer:
    allowed = set((error.headers or {}).get("allow", "").split(", "))
    if "GET" in allowed:
        allowed.add("HEAD")
    sent = context(request)
    if not sent.preflights:
        allowed.discard("OPTIONS")  # Litestar would answer it, and the middleware does not let it
    uri = request_uri(request.scope)
    return _answer(request, problems.method_not_allowed(sent.method, uri, sorted(allowed)))


def on_http_error(request: AnyRequest, error: HTTPException) -> Answer:
    if error.status_code < 500:
        return _answer(request, problems.invalid_json(error.detail))
    return on_unexpected(request, error)


def on_unexpected(request: AnyRequest, error: Exception) -> Answer:
    log.error("Request failed", error=str(error), exc_info=error)
    return _answer(request, problems.internal_error(f"{type(error).__name__}; see the server's log"))


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    ApiError: on_api_error,
    NotFoundException: on_not_found,
    MethodNotAllowedException: on_method_not_allowed,
    HTTPException: on_http_error,
    Exception: on_unexpected,
}
"""Litestar picks the nearest class."""

"""Exception handlers: every error becomes the contract's error body."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException

from evalhub_server.domain import problems
from evalhub_server.errors import ApiError, SampleStoreUnavailable
from evalhub_server.plugins.calls import call_fields
from evalhub_server.web.pages import Pages, is_page
from evalhub_server.web.paths import shown_uri
from evalhub_server.web.request import ApiRequest
from evalhub_server.web.request_context import REFUSAL_KEY
from evalhub_server.web.responses import NOT_FOUND, RawResponse, error_response, raw_response

log = structlog.get_logger()

CORS_KEY = "cors"
"""The key in the application's state that tells whether CORS is enabled, and with it OPTIONS."""


PAGES_KEY = "pages"
"""The key in the application's state of the pages for people, or None."""


def on_api_error(request: ApiRequest, error: ApiError) -> Response[bytes]:
    if error.status >= 500 and "Retry-After" not in error.headers:
        log.error("Request failed", error=error.message, exc_info=error)
    else:
        request.scope[REFUSAL_KEY] = error.message  # type: ignore[literal-required]  # ours, for the access log
    return _response(request, error)


def on_not_found(request: ApiRequest, _error: NotFoundException) -> Response[bytes]:
    pages: Pages | None = request.app.state[PAGES_KEY]
    if pages is not None and is_page(request.scope["path"]):
        missing = problems.not_found("page", shown_uri(request.scope))
        return EncodedResponse(pages.refusal(request.scope, missing, request.trace_id))
    return EncodedResponse(raw_response(NOT_FOUND, "text/plain; charset=utf-8", 404))


def on_method_not_allowed(request: ApiRequest, error: MethodNotAllowedException) -> Response[bytes]:
    allowed = set((error.headers or {})["allow"].split(", "))
    if not request.app.state[CORS_KEY]:
        allowed.discard("OPTIONS")
    uri = shown_uri(request.scope)
    return _response(request, problems.method_not_allowed(request.method, uri, sorted(allowed)))


async def refuse_options(request: Request[Any, Any, Any]) -> None:
    """A ``before_request`` hook: Litestar adds OPTIONS to every route, which the contract has only with CORS."""
    if request.method == "OPTIONS":
        path = request.scope["path_template"]
        methods = next(route.methods for route in request.app.routes if route.path_format == path)
        raise MethodNotAllowedException(headers={"allow": ", ".join(methods)})


def on_http_error(request: ApiRequest, error: HTTPException) -> Response[bytes]:
    """Litestar's own exceptions, for example from guards."""
    if error.status_code >= 500:
        return on_unexpected(request, error)
    if error.status_code == 400:
        return _response(request, problems.invalid_json(error.detail))
    code = HTTPStatus(error.status_code).name.lower()
    return _response(request, ApiError(error.status_code, code, error.detail, headers=error.headers or {}))


def on_sample_store_unavailable(request: ApiRequest, error: SampleStoreUnavailable) -> Response[bytes]:
    log.warning("Store of samples unavailable", error=str(error))
    return on_api_error(request, problems.sample_store_unavailable(str(error)))


def on_unexpected(request: ApiRequest, error: Exception) -> Response[bytes]:
    log.error("Request failed", error=str(error), exc_info=error, **call_fields(error))
    return _response(request, problems.internal_error(f"{type(error).__name__}; see the server's log"))


class EncodedResponse(Response[bytes]):
    """A response as the type that Litestar requires from exception handlers, without its steps to encode one."""

    def __init__(self, raw: RawResponse) -> None:
        super().__init__(raw.body, status_code=raw.status)
        self._raw = raw

    def to_asgi_response(self, *_args: Any, **_options: Any) -> Any:
        return self._raw


def _response(request: ApiRequest, error: ApiError) -> Response[bytes]:
    return EncodedResponse(error_response(error, request.trace_id))


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    ApiError: on_api_error,
    NotFoundException: on_not_found,
    MethodNotAllowedException: on_method_not_allowed,
    HTTPException: on_http_error,
    SampleStoreUnavailable: on_sample_store_unavailable,
    Exception: on_unexpected,
}
"""Litestar picks the nearest class."""

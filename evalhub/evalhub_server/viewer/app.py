"""The viewer as part of the server: its routes, and the pages of its errors."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from litestar import Response, Router, route
from litestar.config.app import AppConfig
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath

from evalhub_server.domain import problems
from evalhub_server.errors import ApiError, SampleStoreUnavailable
from evalhub_server.viewer.assets import asset_file
from evalhub_server.viewer.jobs_page import jobs_page
from evalhub_server.viewer.page import error_page
from evalhub_server.viewer.samples_page import samples_page
from evalhub_server.web.paths import shown_uri, url_prefix
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.request_context import REFUSAL_KEY
from evalhub_server.web.responses import RawResponse

log = structlog.get_logger()

PAGES = (jobs_page, samples_page)


def add_viewer(config: AppConfig) -> AppConfig:
    """Litestar's ``on_app_init`` hook that adds the pages."""
    config.route_handlers += [home, viewer_router]
    return config


@route(["/", "/ui"], http_method=READ_METHODS, include_in_schema=False)
async def home(request: ApiRequest) -> RawResponse:
    """Redirect to the first page."""
    location = f"{url_prefix(request.scope)}/ui/jobs"
    return RawResponse(303, ((b"location", location.encode()), (b"content-length", b"0")))


@route("/{path:path}", http_method=READ_METHODS, include_in_schema=False)
async def no_page(request: ApiRequest, path: FromPath[str]) -> RawResponse:
    """The page of an address below ``/ui`` that is none."""
    raise NotFoundException(f"no page {path}")


def _on_api_error(request: ApiRequest, error: ApiError) -> Response[bytes]:
    if error.status >= 500 and "Retry-After" not in error.headers:
        log.error("Page failed", error=error.message, exc_info=error)
    else:
        request.scope[REFUSAL_KEY] = error.message  # type: ignore[literal-required]  # ours, for the access log
    return _response(request, error)


def _on_not_found(request: ApiRequest, _error: NotFoundException) -> Response[bytes]:
    return _on_api_error(request, problems.not_found("page", shown_uri(request.scope)))


def _on_http_error(request: ApiRequest, error: HTTPException) -> Response[bytes]:
    code = HTTPStatus(error.status_code).name.lower()
    return _on_api_error(request, ApiError(error.status_code, code, error.detail))


def _on_sample_store_unavailable(request: ApiRequest, error: SampleStoreUnavailable) -> Response[bytes]:
    return _on_api_error(request, problems.sample_store_unavailable(str(error)))


def _on_unexpected(request: ApiRequest, error: Exception) -> Response[bytes]:
    log.error("Page failed", error=str(error), exc_info=error)
    return _response(request, problems.internal_error(f"{type(error).__name__}; see the server's log"))


def _response(request: ApiRequest, error: ApiError) -> Response[bytes]:
    """The page of an error, as the type that Litestar wants from exception handlers."""
    page = error_page(request, error)
    headers = {name.decode(): value.decode() for name, value in page.headers}
    del headers["content-length"]
    media_type = headers.pop("content-type").partition(";")[0]  # Litestar adds the character set
    return Response(page.body, status_code=page.status, media_type=media_type, headers=headers)


_EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    ApiError: _on_api_error,
    NotFoundException: _on_not_found,
    HTTPException: _on_http_error,
    SampleStoreUnavailable: _on_sample_store_unavailable,
    Exception: _on_unexpected,
}

viewer_router = Router(
    "/ui", route_handlers=[*PAGES, asset_file, no_page], exception_handlers=_EXCEPTION_HANDLERS
)

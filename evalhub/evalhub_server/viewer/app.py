"""The viewer as part of the server: its routes, and the pages of its errors."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from litestar import Litestar, Response, Router, route
from litestar.exceptions import HTTPException, NotFoundException
from litestar.types import ASGIApp, HTTPScope

from evalhub_server.domain import problems, request_problems
from evalhub_server.errors import ApiError, SampleStoreUnavailable
from evalhub_server.settings import Settings
from evalhub_server.viewer.assets import asset_file
from evalhub_server.viewer.forms import check_form_origin
from evalhub_server.viewer.health_page import ServerParts
from evalhub_server.viewer.login_page import LOGIN_ROUTES, entry
from evalhub_server.viewer.page import API_OF_PAGES, SUFFIXES, PagePaths, error_page, redirect
from evalhub_server.viewer.page_query import with_query
from evalhub_server.viewer.pages import PAGES
from evalhub_server.viewer.sessions import Sessions
from evalhub_server.viewer.shared_pages import SharedPages
from evalhub_server.web.credentials import Credentials
from evalhub_server.web.errors import EncodedResponse
from evalhub_server.web.origin_policy import SAFE_METHODS
from evalhub_server.web.own_origin import OwnOrigins
from evalhub_server.web.pages import LOGIN, is_public
from evalhub_server.web.paths import request_uri, shown_uri, url_prefix
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.request_context import REFUSAL_KEY
from evalhub_server.web.responses import RawResponse, error_response

log = structlog.get_logger()


class Viewer:
    """The pages of one server: their routes, their login, and the pages of refused requests; see :class:`~evalhub_server.web.pages.Pages`."""

    def __init__(self, settings: Settings, credentials: Credentials | None, parts: ServerParts) -> None:
        self.parts = parts
        self.shared = SharedPages()
        self.rendering = asyncio.Semaphore(1)  # another request waits for a step of one page
        self.read_only = settings.viewer.read_only
        self.origins = OwnOrigins(settings.service)
        self.sessions = Sessions(credentials) if credentials is not None else None

    def around(self, app: Litestar) -> ASGIApp:
        """Add the pages to the routes of ``app``."""
        app.state["viewer"] = self
        app.register(home)
        app.register(viewer_router)
        return PagePaths(app)

    def address(self, request: ApiRequest) -> str:
        """The origin of the server for links in files and commands: that of ``service.root_url``, or that of the request."""
        return self.origins.shown(request.scope, request.fields)

    def entry(self) -> str:
        return entry(self.sessions)

    def authenticate(
        self, scope: HTTPScope, path: str, fields: Mapping[bytes, bytes], credentials: Credentials
    ) -> RawResponse | None:
        if is_public(path) or credentials.is_valid(fields.get(b"authorization", b"")):
            return None
        if self.sessions is not None and self.sessions.is_valid(fields):
            return None
        # A script or a download gets an error that it can report.
        navigates = fields.get(b"sec-fetch-mode", b"navigate") == b"navigate"
        if scope["method"] in SAFE_METHODS and navigates and not path.startswith(API_OF_PAGES):
            return redirect(with_query(url_prefix(scope) + LOGIN, {"next": [request_uri(scope)]}))
        raise request_problems.unauthorized()

    def refusal(self, scope: HTTPScope, error: ApiError, trace_id: str) -> RawResponse:
        if scope["path"].startswith(API_OF_PAGES) or scope["path"].endswith(SUFFIXES):
            return error_response(error, trace_id)
        return error_page(ApiRequest(scope), error, trace_id)


@route(["/", "/ui"], http_method=READ_METHODS, include_in_schema=False)
async def home(request: ApiRequest) -> RawResponse:
    """Redirect to the first page."""
    return redirect(f"{url_prefix(request.scope)}/ui/jobs")


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
    return EncodedResponse(error_page(request, error, request.trace_id))


_EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    ApiError: _on_api_error,
    NotFoundException: _on_not_found,
    HTTPException: _on_http_error,
    SampleStoreUnavailable: _on_sample_store_unavailable,
    Exception: _on_unexpected,
}

viewer_router = Router(
    "/ui",
    route_handlers=[*PAGES, *LOGIN_ROUTES, asset_file],
    guards=[check_form_origin],
    exception_handlers=_EXCEPTION_HANDLERS,
)

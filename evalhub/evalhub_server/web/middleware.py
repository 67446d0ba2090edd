"""The middleware of the API, one pass around Litestar's routes.

In this order: request id, host and origin, the response to a preflight, authentication, path, identity; then the routes;
then metrics and the access log. A request that is refused has had no effect: not even its body was read.

The contract needs these from the paths of requests, and Litestar's router has them otherwise: a redirect from ``//`` and
dot segments to the clean path, 404 for a trailing slash, encoded slashes as part of an id, and a limit of length. OPTIONS
is answered here, since a preflight is for any path and carries no token.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from evalhub_server.domain import problems, request_problems
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.server_state import ServerState
from evalhub_server.errors import ApiError
from evalhub_server.logs import REQUEST_ID, is_written, write_request
from evalhub_server.settings import Settings
from evalhub_server.web.access_policy import scrape_credentials_of
from evalhub_server.web.body_memory import BodyMemory
from evalhub_server.web.credentials import CALLBACK, Credentials, split_callback
from evalhub_server.web.liveness import HEALTH_PATH, health_response
from evalhub_server.web.metrics import HttpMetrics
from evalhub_server.web.origin_policy import OriginPolicy
from evalhub_server.web.pages import Pages, is_page, is_public
from evalhub_server.web.path_prefix import PathPrefix
from evalhub_server.web.paths import (
    MAX_PATH_BYTES,
    METRICS_PATH,
    clean,
    is_clean,
    redirect_page,
    routing_path,
    shown_uri,
    url_prefix,
)
from evalhub_server.web.request_context import (
    ANONYMOUS,
    CONTEXT_KEY,
    PREFIX,
    REFUSAL_KEY,
    TRACE_HEADER,
    IdentityReader,
    RequestContext,
    refuse_repeated,
    trace_id_of,
)
from evalhub_server.web.responses import (
    BODY,
    NOSNIFF,
    NOT_FOUND,
    Header,
    RawResponse,
    error_response,
    raw_response,
)

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

READY = "/api/v1/ready"
PROBES = frozenset({HEALTH_PATH, READY})
READS = frozenset({"GET", "HEAD"})
DOCS = "/docs/"
PUBLIC_PATHS = frozenset({HEALTH_PATH, READY, "/docs", "/openapi.yaml", "/openapi.json"})
"""Paths without authentication: they tell nothing of any job, and a browser that opens a page cannot send a token."""


class RequestMiddleware:
    """The outermost ASGI application. Without ``credentials`` clients are not authenticated.

    Until :meth:`open` it answers health, and all other requests wait.
    """

    def __init__(
        self,
        policy: OriginPolicy,
        metrics: HttpMetrics,
        state: ServerState,
        body_memory: BodyMemory,
        prefix: PathPrefix,
        credentials: Credentials | None = None,
        scrape_credentials: Credentials | None = None,
        *,
        identity_required: bool = False,
    ) -> None:
        self._app: ASGIApp = self._route_when_open
        self._opened = asyncio.Event()
        self._metrics = metrics
        self._policy = policy
        self._state = state
        self._body_memory = body_memory
        self._prefix = prefix
        self._identities = IdentityReader(required=identity_required)
        self._credentials = credentials
        self._scrape_credentials = scrape_credentials
        self._pages: Pages | None = None

    def open(self, app: ASGIApp, prefix: PathPrefix, pages: Pages | None) -> None:
        """Pass requests to ``app`` from now on, first those that wait. ``prefix`` knows all routes."""
        self._app, self._prefix, self._pages = app, prefix, pages
        self._opened.set()

    async def _route_when_open(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._opened.wait()
        await self._app(scope, receive, send)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # nothing else is served
        started = time.perf_counter()
        fields = dict(reversed(scope["headers"]))  # the first of repeated ones counts
        trace_id = trace_id_of(fields.get(TRACE_HEADER))
        response_headers: list[Header] = [(TRACE_HEADER, trace_id.encode("ascii")), NOSNIFF]
        status, size_bytes = 500, 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status, size_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                size_bytes = len(message.get(BODY, b""))
                message["headers"] = [*message["headers"], *response_headers]
            elif message["type"] == "http.response.body":
                size_bytes += len(message.get("body", b""))
            await send(message)

        REQUEST_ID.set(trace_id)
        callback_token = b""
        if self._prefix.is_used:
            self._prefix.apply(scope, fields)
        if scope["raw_path"].startswith(CALLBACK):
            # Before anything can be refused: neither a log line nor a response shows the token.
            callback_token, scope["raw_path"] = split_callback(scope["raw_path"])
        error, method = "", scope["method"]
        self._metrics.started(method)
        try:
            try:
                if not self._opened.is_set() and scope["path"] != HEALTH_PATH:
                    await self._opened.wait()
                    if self._prefix.is_used:
                        self._prefix.apply(scope, fields)  # which knows all routes now
                response = self._check(scope, fields, trace_id, response_headers, callback_token)
            except ApiError as refusal:
                error = refusal.message
                if self._pages is not None and is_page(scope["path"]):
                    response = self._pages.refusal(scope, refusal, trace_id)
                else:
                    response = error_response(refusal, trace_id)
            await (response or self._app)(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            if not self._state.stopping:
                raise
            # The stop does not wait longer for this request. A response whose body has begun is cut short.
            refusal = request_problems.server_stopping()
            error = refusal.message
            if not size_bytes:
                await error_response(refusal, trace_id)(scope, receive, send_with_headers)
        finally:
            self._body_memory.release(scope)
            duration_s = time.perf_counter() - started
            self._metrics.ended(
                method,
                scope.get("path_template", ""),
                status,
                scope["http_version"],
                duration_s,
                fields.get(b"content-length", b""),
                size_bytes,
            )
        self._log_request(scope, trace_id, status, duration_s, error or scope.get(REFUSAL_KEY, ""))

    def _check(
        self,
        scope: HTTPScope,
        fields: Mapping[bytes, bytes],
        trace_id: str,
        response_headers: list[Header],
        callback_token: bytes,
    ) -> RawResponse | None:
        """Check a request and prepare its scope for the routes. Raises :class:`ApiError`.

        Returns a response that needs no route, or None. Adds the CORS headers to ``response_headers``.
        ``callback_token`` is the token that preceded the path.
        """
        if len(fields) != len(scope["headers"]):  # pyright: ignore[reportArgumentType]  # uvicorn's is a list
            refuse_repeated(scope["headers"])
        response_headers += self._policy.cors_headers(scope, fields)
        if scope["method"] == "OPTIONS" and self._policy.cors:
            return RawResponse(204)
        path, raw_path = scope["path"], scope["raw_path"]
        if len(raw_path) > MAX_PATH_BYTES:
            raise request_problems.uri_too_long(MAX_PATH_BYTES)
        if callback_token or b"%" in raw_path or raw_path.startswith(CALLBACK):
            path = scope["path"] = routing_path(raw_path)
        is_report = False
        if self._scrape_credentials is not None and path == METRICS_PATH:
            check_scrape(self._scrape_credentials, self._credentials, fields.get(b"authorization", b""))
        elif self._credentials is None or path in PUBLIC_PATHS or path.startswith(DOCS):
            pass
        elif self._pages is not None and is_page(path):
            login = self._pages.authenticate(scope, path, fields, self._credentials)
            if login is not None:
                return login
        else:
            is_report = _authenticate(
                self._credentials, scope["method"], path, fields.get(b"authorization", b""), callback_token
            )
        if path == HEALTH_PATH and scope["method"] in READS:
            scope["path_template"] = path
            return health_response(self._state.role)
        if not is_clean(raw_path):
            location = clean(raw_path)
            if location.encode() != raw_path:
                if prefix := url_prefix(scope):
                    location = prefix + self._prefix.without(prefix, location.encode()).decode()
                return _redirect(location, scope["query_string"])
        if path.endswith("/") and path != "/":
            if self._pages is not None and is_page(path):
                raise problems.not_found("page", shown_uri(scope))
            return raw_response(NOT_FOUND, "text/plain; charset=utf-8", 404)
        # The token of a job's callback path is stricter than a tenant, and no proxy has added a user.
        identity = ANONYMOUS if is_report else self._identity(path, fields)
        context = RequestContext(
            trace_id=trace_id, identity=identity, fields=fields, body_memory=self._body_memory
        )
        scope[CONTEXT_KEY] = context  # type: ignore[typeddict-unknown-key]
        return None

    def _identity(self, path: str, fields: Mapping[bytes, bytes]) -> Identity:
        if self._pages is not None and is_page(path) and not is_public(path):
            path = PREFIX
        return self._identities.read(path, fields)

    def _log_request(
        self, scope: HTTPScope, trace_id: str, status: int, duration_s: float, error: str
    ) -> None:
        # Probes request these all the time.
        level, name = (logging.DEBUG, "debug") if scope["path"] in PROBES else (logging.INFO, "info")
        if not is_written(level):
            return
        fields: dict[str, str | float] = {
            "request_id": trace_id,
            "method": scope["method"],
            "uri": shown_uri(scope),
            "code": status,
            "duration": round(duration_s, 6),
            "remote_addr": scope["client"][0] if scope["client"] else "",
        }
        if error:
            fields["error"] = error
        write_request(name, "Request successful" if status < 400 else "Request failed", fields)


def make_middleware(
    settings: Settings, metrics: HttpMetrics, state: ServerState, credentials: Credentials | None
) -> RequestMiddleware:
    """The middleware of a server with these settings, without its routes."""
    return RequestMiddleware(
        OriginPolicy(settings, settings.host),
        metrics,
        state,
        BodyMemory(settings.service.inflight_body_limit_bytes),
        PathPrefix(settings.service, [HEALTH_PATH]),
        credentials,
        scrape_credentials_of(settings),
        identity_required=not settings.local,
    )


def check_scrape(
    scrape_credentials: Credentials | None, credentials: Credentials | None, authorization: bytes
) -> None:
    """Raise ``unauthorized`` unless metrics may be read: with the token for scrapes, or with the API's token."""
    given = [each for each in (scrape_credentials, credentials) if each is not None]
    if given and not any(each.is_valid(authorization) for each in given):
        raise request_problems.unauthorized()


def _authenticate(
    credentials: Credentials, method: str, path: str, authorization: bytes, callback_token: bytes
) -> bool:
    """Whether the request is a report with the token of its job. Raises :class:`ApiError` without any valid token."""
    if callback_token and credentials.is_report_token(callback_token, method, path):
        return True
    if not credentials.is_valid(authorization):
        raise request_problems.unauthorized()
    return False


def _redirect(location: str, query: bytes) -> RawResponse:
    target = location.encode() + (b"?" + query if query else b"")
    return raw_response(redirect_page(location), "text/html; charset=utf-8", 307, (b"location", target))

"""Responses of pages: rendered from a template, or the page's data in another format at the same URL and query.

``/ui/jobs`` is HTML, ``/ui/jobs.html`` the same as one file to keep, ``/ui/jobs.json`` its data, ``/ui/jobs.csv`` and ``/ui/jobs.md`` the rows of its table, and ``part=live`` the part
that changes while a job runs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send
from markupsafe import Markup
from msgspec import Struct

from evalhub_common.addresses import is_loopback
from evalhub_common.urls import host_of
from evalhub_server import __version__
from evalhub_server.domain import problems
from evalhub_server.domain.table_formats import FORMATS
from evalhub_server.errors import ApiError
from evalhub_server.viewer.assets import ASSETS, asset_path
from evalhub_server.viewer.markdown_table import markdown_table
from evalhub_server.viewer.page_query import COMMON, PageQuery, look_of, with_query
from evalhub_server.viewer.saved_page import saved_page, saved_styles
from evalhub_server.viewer.shared_pages import SharedPages, release
from evalhub_server.viewer.templating import TEMPLATES, render, render_in_steps
from evalhub_server.web.compression import accepts_gzip, negotiated
from evalhub_server.web.conditional import ListState
from evalhub_server.web.file_response import content_disposition
from evalhub_server.web.origin_policy import SAFE_METHODS
from evalhub_server.web.paths import url_prefix
from evalhub_server.web.query import Query
from evalhub_server.web.request import ApiRequest
from evalhub_server.web.responses import Header, RawResponse, encode_present, error_response, raw_response
from evalhub_server.web.services import Services

HTML = "text/html; charset=utf-8"
FORMAT_KEY = "evalhub.page_format"
"""The key of the format that a request for a page wants, in the ASGI scope: ``json``, ``csv`` or ``md``; absent for HTML."""

TABLE_FORMATS = ("csv", "md")
SUFFIXES = (".json", ".csv", ".md", ".html")
API_OF_PAGES = "/ui/api/v1/"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types evalhub"
)
# With no-referrer, browsers would send the origin of a form as "null".
SECURITY: tuple[Header, ...] = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

# Browsers ignore it, with a message in their console, where they do not trust the connection.
_OPENER: Header = (b"cross-origin-opener-policy", b"same-origin")

SECTIONS = (
    ("Jobs", "/ui/jobs"),
    ("Leaderboards", "/ui/leaderboards"),
    ("Trend", "/ui/trend"),
    ("Catalogue", "/ui/catalog"),
    ("Health", "/ui/health"),
)
"""Names and paths of the navigation."""


class Table(Struct, kw_only=True, frozen=True):
    """The rows of a page, for ``.csv`` and ``.md``: values, not text for people."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]


class Page(Struct, kw_only=True, frozen=True):
    """What a page shows.

    ``name`` is that of its template: ``{name}.html``, which includes ``{name}_live.html``, the part that changes while a job runs, if
    it has one. ``title`` names the view in words, most particular first, without the product's name. ``section`` is a path of
    :data:`SECTIONS`. ``values`` are the variables of the template; ``data`` is the same for ``.json``, or a function that returns it.
    ``refresh_s`` is how often an open tab requests the part ``live``; 0 for a page that does not change.
    """

    name: str
    title: str
    section: str
    values: Mapping[str, Any]
    data: Any
    table: Table | None = None
    refresh_s: int = 0


class Site(Struct, frozen=True):
    """What the layout of every page needs."""

    prefix: str
    query: PageQuery
    request_id: str
    formats: Sequence[str] = ()
    read_only: bool = True
    has_login: bool = False
    saved: bool = False
    address: str = ""
    """The origin of the server for commands."""
    sections: Sequence[tuple[str, str]] = SECTIONS
    version: str = __version__

    def url(self, path: str) -> str:
        """A path of this server as the browser reaches it."""
        return self.prefix + path

    def api(self, path: str) -> str:
        """A path of the API for a download or the script of a page: GET only, with the login of the pages."""
        return f"{self.prefix}/ui{path}"

    def link(self, path: str, *pairs: tuple[str, str]) -> str:
        """The URL of a path with a query."""
        return with_query(self.prefix + path, {name: [text] for name, text in pairs})

    def styles(self) -> Markup:
        """The element with the style sheet: a link or, in a saved page, the style sheet itself and a policy that allows no more."""
        if not self.saved:
            return Markup('<link rel="stylesheet" href="{}">').format(self.asset("viewer.css"))
        return saved_styles()

    def asset(self, name: str) -> str:
        return self.prefix + asset_path(name)


class PagePaths:
    """ASGI middleware: rewrites paths of pages for the routes.

    The format in the last segment (``/ui/jobs.csv``) becomes part of the scope. ``/ui/api/v1/…`` is the API for scripts and
    downloads of pages, which have the login of the pages: GET and HEAD alone. A request that fails lets equal ones build the page.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if not path.startswith("/ui"):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http" and path.startswith(API_OF_PAGES) and scope["method"] in SAFE_METHODS:
            scope["path"] = path.removeprefix("/ui")
        elif path.startswith("/ui/") and not path.endswith(tuple(ASSETS)):
            for suffix in SUFFIXES:
                if scope["raw_path"].endswith(suffix.encode()):
                    scope["path"] = path.removesuffix(suffix)
                    scope[FORMAT_KEY] = suffix[1:]  # type: ignore[typeddict-unknown-key]  # ours, beside ASGI's own keys
        try:
            await self._app(scope, receive, send)
        finally:
            release(scope)


def format_of(request: ApiRequest) -> str:
    """The format that a request for a page wants; empty for HTML."""
    scope: Any = request.scope
    return scope.get(FORMAT_KEY, "")


class PageState:
    """The state of the data of a page before they are read. ``other`` is the state of anything that the page shows beside jobs."""

    def __init__(self, request: ApiRequest, query: PageQuery, services: Services, other: str = "") -> None:
        look = f"{query.theme} {query.density} {asset_path('viewer.css')} {other}"
        self.list = ListState(request, services.feed.epoch, services.feed.position, look)
        self._request = request
        self._shared: SharedPages = request.app.state.viewer.shared

    async def known_response(self) -> RawResponse | None:
        """The response that needs no query and no rendering: to a browser that has this state, or one that was just built.

        It is decided by the number of changes of jobs. None: the caller builds the response.
        """
        return self.list.not_modified or await self._shared.find(self._key, self._request.scope)

    async def share(self, response: RawResponse) -> RawResponse:
        """Keep the response for equal requests. Returns it, compressed if the client accepts that."""
        headers, body = response.headers, response.body
        if self._accepts_gzip:
            headers, body = await negotiated(self._request.scope["headers"], headers, body)
        shared = RawResponse(response.status, headers, body)
        self._shared.put(self._key, shared, self._request.scope)
        return shared

    @property
    def _accepts_gzip(self) -> bool:
        return accepts_gzip(self._request.scope["headers"])

    @property
    def _key(self) -> Hashable:
        request, scope = self._request, self._request.scope
        view = scope["raw_path"], scope["query_string"], url_prefix(scope)
        origin = scope["scheme"], request.field(b"host")
        return self.list.tag, request.identity, *view, *origin, self._accepts_gzip


async def page_response(
    request: ApiRequest, query: PageQuery, page: Page, state: PageState | None = None
) -> RawResponse:
    """The response with a page in the format of the request. ``state`` gives it an entity tag."""
    response = await _response(request, query, page, state)
    return response if state is None else await state.share(response)


async def _response(
    request: ApiRequest, query: PageQuery, page: Page, state: PageState | None
) -> RawResponse:
    headers = state.list.headers if state is not None else ((b"cache-control", b"private, no-cache"),)
    match format_of(request):
        case "json":
            body = encode_present(page.data() if callable(page.data) else page.data)
            return raw_response(body + b"\n", "application/json", 200, *headers)
        case ("csv" | "md") as name if page.table is not None:
            media_type, lines = FORMATS[name]
            lines = markdown_table if name == "md" else lines
            body = b"".join(lines(page.table.columns, page.table.rows))
            return raw_response(
                body, media_type, 200, *headers, content_disposition(_file_name(request, name), "inline")
            )
        case "":
            formats = ("json", *(TABLE_FORMATS if page.table is not None else ()))
            if request.method == "POST":  # its address does not show the same
                formats = ()
            viewer = request.app.state.viewer
            site = Site(
                url_prefix(request.scope),
                query,
                request.trace_id,
                formats,
                viewer.read_only,
                viewer.sessions is not None,
                address=viewer.address(request),
            )
            template = f"{page.name}_live.html" if query.part else f"{page.name}.html"
            if query.part and not (TEMPLATES / template).exists():
                raise problems.query_bad_parameter("part", [name for name in COMMON if name != "part"])
            body = await _rendered(request, template, site, page)
            return raw_response(body, HTML, 200, *headers, *_security(request))
        case "html":
            address = request.app.state.viewer.address(request)
            site = Site(url_prefix(request.scope), query, request.trace_id, saved=True, address=address)
            body = await _rendered(request, f"{page.name}.html", site, page)
            saved = saved_page(body, address)
            return raw_response(
                saved,
                HTML,
                200,
                *headers,
                content_disposition(_file_name(request, "html")),
                *_security(request),
            )
        case name:
            raise problems.not_found("page", f"{request.scope['path']}.{name}")


async def _rendered(request: ApiRequest, template: str, site: Site, page: Page) -> bytes:
    values = {"site": site, "page": page, "now": datetime.now(UTC), **page.values}
    async with request.app.state.viewer.rendering:
        return await render_in_steps(template, values)


def redirect(location: str, *headers: Header) -> RawResponse:
    """See Other: the browser requests the location with GET."""
    return RawResponse(303, ((b"location", location.encode()), (b"content-length", b"0"), NO_STORE, *headers))


def error_page(request: ApiRequest, error: ApiError, request_id: str) -> RawResponse:
    """The page of an error; in other formats than HTML, the error body of the API.

    Of a malformed query it shows all parameters in a form, with the wrong ones marked, and no rows.
    """
    if format_of(request):
        return error_response(error, request_id)
    values = {
        "site": Site(url_prefix(request.scope), _Unchecked(request), request_id),
        "error": error,
        "status": HTTPStatus(error.status),
        "fields": {fault.path: fault.message for fault in error.errors},
    }
    headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    return raw_response(
        render("error.html", values), HTML, error.status, NO_STORE, *headers, *_security(request)
    )


NO_STORE: Header = (b"cache-control", b"no-store")


def _security(request: ApiRequest) -> Sequence[Header]:
    host = host_of(request.headers.get("host", ""))  # also of a request that the middleware refuses
    trusted = request.scope["scheme"] == "https" or (host is not None and is_loopback(host))
    return (*SECURITY, _OPENER) if trusted else SECURITY


class _Unchecked(PageQuery):
    """The query of a page that refused it."""

    def __init__(self, request: ApiRequest) -> None:
        Query.__init__(self, request.scope)
        self.part, self.live = "", False
        self.theme, self.density = look_of(request)
        self.path = url_prefix(request.scope) + request.scope["path"]
        self._urls = {}

    @property
    def given_values(self) -> dict[str, list[str]]:
        return {name: texts for name, texts in super().given_values.items() if name not in COMMON}


def _file_name(request: ApiRequest, suffix: str) -> str:
    """The name of a page that is saved: its path below ``/ui``."""
    return f"{request.scope['path'].removeprefix('/ui/').replace('/', '-')}.{suffix}"

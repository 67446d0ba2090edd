"""The pages of the server's own state: ``/ui/health`` and ``/ui/plugins``."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from litestar import route
from litestar.di import NamedDependency
from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.engine.server_health import ServerHealth
from evalhub_server.plugins.manager import PluginInfo
from evalhub_server.viewer.health_rows import health_rows, sentence
from evalhub_server.viewer.page import Page, PageState, Table, page_response
from evalhub_server.viewer.page_query import PageQuery
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse
from evalhub_server.web.services import Services

SECTION = "/ui/health"
REFRESH_S = 10
HIDDEN_ERROR = "It could not be loaded; see the server's log"


class ServerParts(Struct, frozen=True):
    """What the pages show of the server itself. ``selected`` has kind and name of the plugins that the configuration selects."""

    health: ServerHealth
    plugins: Sequence[PluginInfo]
    selected: Collection[tuple[str, str]]


@route("/health", http_method=READ_METHODS, include_in_schema=False)
async def health_page(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """The parts of the server with their state. Nothing that it shows is waited for."""
    query = PageQuery(request)
    parts: ServerParts = request.app.state.viewer.parts
    report = await parts.health.read()
    rows = health_rows(report, list(parts.plugins), show_errors=request.identity.scope is None)
    encoded = msgspec.json.encode(rows).hex()
    state = PageState(request, query, services, encoded)
    if (known := await state.known_response()) is not None:
        return known
    page = Page(
        name="health",
        title="Health",
        section=SECTION,
        values={"rows": rows, "sentence": sentence(rows)},
        data={"summary": sentence(rows), "items": rows},
        table=Table(
            columns=("name", "state", "value", "hint", "at"),
            rows=[
                (row.name, row.state, row.value, row.hint, row.at.isoformat() if row.at else None)
                for row in rows
            ],
        ),
        refresh_s=REFRESH_S,
    )
    return await page_response(request, query, page, state)


@route("/plugins", http_method=READ_METHODS, include_in_schema=False)
async def plugins_page(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """The installed plugins: which are selected, and why others could not be loaded.

    Errors and warnings may have paths and settings of the server: they are not for the tenants of a shared one.
    """
    query = PageQuery(request)
    parts: ServerParts = request.app.state.viewer.parts
    state = PageState(request, query, services)
    if (known := await state.known_response()) is not None:
        return known
    plugins = sorted(parts.plugins, key=lambda info: (info.kind, info.name))
    if request.identity.scope is not None:
        plugins = [replace(info, error=HIDDEN_ERROR if info.error else "", warnings=[]) for info in plugins]
    rows = [
        (info, (info.kind, info.name) in parts.selected, info.error.partition("\n")[0]) for info in plugins
    ]
    page = Page(
        name="plugins",
        title="Plugins",
        section=SECTION,
        values={"rows": rows},
        data={"items": [{"plugin": info, "selected": selected} for info, selected, _ in rows]},
        table=Table(
            columns=("kind", "name", "distribution", "version", "api", "state", "selected", "error"),
            rows=[
                (info.kind, info.name, info.distribution, info.version, info.api, info.state, selected, error)
                for info, selected, error in rows
            ],
        ),
    )
    return await page_response(request, query, page, state)


HEALTH_PAGES = (health_page, plugins_page)

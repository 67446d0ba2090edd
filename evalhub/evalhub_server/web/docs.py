"""The API description: ``/openapi.yaml``, ``/openapi.json`` and ``/docs``, which load nothing from other servers."""

from __future__ import annotations

import asyncio
from importlib import resources
from typing import TYPE_CHECKING, Any

from litestar import route
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from evalhub_server.web.openapi.operation import JSON, Operation, Success
from evalhub_server.web.openapi.parameters import NO_STORE
from evalhub_server.web.paths import url_prefix
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import Header, RawResponse, raw_response

if TYPE_CHECKING:
    from evalhub_server.web.openapi.document import Rendered

YAML, HTML = "application/yaml", "text/html; charset=utf-8"

ASSETS = {
    "docs.js": "text/javascript; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
"""The files of the page, with their media types."""

# Nothing but the files of this server: the page works offline, and no other site is contacted.
POLICY: Header = (
    b"content-security-policy",
    (
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
)
OBJECT: dict[str, Any] = {"type": "object"}
DOCUMENT_KEY = "openapi"
_NO_STORE: list[Header] = [(name.lower().encode(), value.encode()) for name, value in NO_STORE.items()]


OPENAPI_YAML = Operation(
    success=Success(
        description="The document.", media_types=(YAML, JSON), schema=OBJECT, headers=(*NO_STORE,)
    )
)


@route("/openapi.yaml", http_method=READ_METHODS, operation=OPENAPI_YAML)
async def openapi_yaml(request: ApiRequest) -> RawResponse:
    """Get this document as YAML or, if `Accept` contains JSON, as JSON."""
    document = await _document(request)
    if JSON in request.headers.get("accept", ""):
        return _no_store(document.json, JSON)
    return _no_store(document.yaml, YAML)


OPENAPI_JSON = Operation(success=Success(description="The document.", schema=OBJECT, headers=(*NO_STORE,)))


@route("/openapi.json", http_method=READ_METHODS, operation=OPENAPI_JSON)
async def openapi_json(request: ApiRequest) -> RawResponse:
    """Get this document as JSON."""
    return _no_store((await _document(request)).json, JSON)


async def _document(request: ApiRequest) -> Rendered:
    """The OpenAPI document of the application, generated on the first request for it; requests meanwhile wait for the same one."""
    state = request.app.state
    if DOCUMENT_KEY not in state:
        from evalhub_server.web.openapi.document import render

        state[DOCUMENT_KEY] = asyncio.create_task(
            asyncio.to_thread(render, request.app.routes), name="openapi"
        )
    rendered: Rendered = await asyncio.shield(state[DOCUMENT_KEY])
    return rendered.under(url_prefix(request.scope))


DOCS = Operation(
    success=Success(
        description="The page.", media_types=("text/html",), schema={"type": "string"}, headers=(*NO_STORE,)
    )
)


@route("/docs", http_method=READ_METHODS, operation=DOCS)
async def docs() -> RawResponse:
    """Browse and try the API."""
    page = await asyncio.to_thread(_read, "docs.html")
    return _no_store(page, HTML, POLICY)


@route("/docs/{name:str}", http_method=READ_METHODS, include_in_schema=False)
async def docs_asset(name: FromPath[str]) -> RawResponse:
    """A file of the page."""
    if name not in ASSETS:
        raise NotFoundException
    body = await asyncio.to_thread(_read, name)
    return raw_response(body, ASSETS[name], 200, (b"cache-control", b"max-age=3600"))


def _no_store(body: bytes, media_type: str, *headers: Header) -> RawResponse:
    return raw_response(body, media_type, 200, *_NO_STORE, *headers)


def _read(name: str) -> bytes:
    """A file of the page, from this package or from Swagger UI."""
    own = resources.files("evalhub_server.web.openapi") / "static" / name
    if own.is_file():
        return own.read_bytes()
    from swagger_ui_bundle import swagger_ui_path  # pyright: ignore[reportMissingTypeStubs]

    return (swagger_ui_path / name).read_bytes()

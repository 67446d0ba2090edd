"""``/openapi.yaml``, ``/openapi.json`` and ``/docs``. Nothing that they need comes from elsewhere."""

from __future__ import annotations

import asyncio
from importlib import resources
from typing import TYPE_CHECKING, Any

from litestar import Request, get
from litestar.exceptions import NotFoundException
from litestar.types import ControllerRouterHandler

from evalhub_server.web.openapi.operation import JSON, Answer, Operation
from evalhub_server.web.openapi.parameters import NOT_KEPT
from evalhub_server.web.responses import Header, Reply, reply

if TYPE_CHECKING:
    from evalhub_server.web.openapi.rendering import Rendered

AnyRequest = Request[Any, Any, Any]
YAML, HTML = "application/yaml", "text/html; charset=utf-8"

ASSETS = {
    "docs.js": "text/javascript; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
"""The files of the page, and what they are."""

# What this server serves, and nothing else: the page works without a network, and no other site learns of it.
POLICY: Header = (
    b"content-security-policy",
    (
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
)
OBJECT: dict[str, Any] = {"type": "object"}
_NOT_KEPT: list[Header] = [(name.lower().encode(), value.encode()) for name, value in NOT_KEPT.items()]


def document_routes() -> list[ControllerRouterHandler]:
    """The handlers. The document is made at the first request for it."""
    document = _Document()
    kept_by_nobody = (*NOT_KEPT,)

    @get(
        "/openapi.yaml",
        operation=Operation(
            answer=Answer(
                text="The document.", media_types=(YAML, JSON), schema=OBJECT, headers=kept_by_nobody
            )
        ),
    )
    async def openapi_yaml(request: AnyRequest) -> Reply:
        """Read this document, as YAML or, if `Accept` names it, as JSON."""
        if JSON in request.headers.get("accept", ""):
            return _answer((await document.of(request)).json, JSON)
        return _answer((await document.of(request)).yaml, YAML)

    @get(
        "/openapi.json",
        operation=Operation(answer=Answer(text="The document.", schema=OBJECT, headers=kept_by_nobody)),
    )
    async def openapi_json(request: AnyRequest) -> Reply:
        """Read this document as JSON."""
        return _answer((await document.of(request)).json, JSON)

    @get(
        "/docs",
        operation=Operation(
            answer=Answer(
                text="The page.",
                media_types=("text/html",),
                schema={"type": "string"},
                headers=kept_by_nobody,
            )
        ),
    )
    async def docs(request: AnyRequest) -> Reply:
        """Read and try this document in a browser."""
        page = await asyncio.to_thread(_read, "docs.html")
        return _answer(page, HTML, POLICY)

    @get("/docs/{name:str}", include_in_schema=False)
    async def docs_asset(request: AnyRequest, name: str) -> Reply:
        if name not in ASSETS:
            raise NotFoundException
        body = await asyncio.to_thread(_read, name)
        return reply(body, ASSETS[name], 200, (b"cache-control", b"max-age=3600"))

    return [openapi_yaml, openapi_json, docs, docs_asset]


class _Document:
    """The rendered document of the application, once it is asked for."""

    def __init__(self) -> None:
        self._rendered: Rendered | None = None

    async def of(self, request: AnyRequest) -> Rendered:
        if self._rendered is None:
            from evalhub_server.web.openapi.rendering import render

            self._rendered = await asyncio.to_thread(render, request.app.routes)
        return self._rendered


def _answer(body: bytes, media_type: str, *headers: Header) -> Reply:
    return reply(body, media_type, 200, *_NOT_KEPT, *headers)


def _read(name: str) -> bytes:
    """A file of the page: ours, or the UI's."""
    own = resources.files("evalhub_server.web.openapi") / "static" / name
    if own.is_file():
        return own.read_bytes()
    from swagger_ui_bundle import swagger_ui_path  # pyright: ignore[reportMissingTypeStubs]

    return (swagger_ui_path / name).read_bytes()

"""Style sheet, script and icon of the pages, at addresses that change with their content: ``/ui/assets/{digest}/{name}``."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from importlib import resources
from typing import NamedTuple

from litestar import route
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from evalhub_server.web.request import READ_METHODS
from evalhub_server.web.responses import RawResponse, raw_response

ASSETS = {
    "viewer.css": "text/css; charset=utf-8",
    "viewer.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The files, with their media types."""

FOR_EVER = (b"cache-control", b"public, max-age=31536000, immutable")


class Asset(NamedTuple):
    """A file of the pages. ``digest`` identifies its content."""

    digest: str
    body: bytes


@lru_cache(len(ASSETS))
def asset(name: str) -> Asset:
    """A file of :data:`ASSETS`, read once."""
    body = resources.files("evalhub_server.viewer").joinpath("static", name).read_bytes()
    return Asset(blake2b(body, digest_size=8).hexdigest(), body)


def asset_path(name: str) -> str:
    """The path of a file, without the prefix of a proxy."""
    return f"/ui/assets/{asset(name).digest}/{name}"


@route("/assets/{digest:str}/{name:str}", http_method=READ_METHODS, include_in_schema=False)
async def asset_file(digest: FromPath[str], name: FromPath[str]) -> RawResponse:
    """A file of the pages."""
    if name not in ASSETS or digest != asset(name).digest:
        raise NotFoundException
    return raw_response(asset(name).body, ASSETS[name], 200, FOR_EVER)

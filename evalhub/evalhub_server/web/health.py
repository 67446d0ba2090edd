"""``/api/v1/health``."""

from __future__ import annotations

from datetime import UTC, datetime

from litestar import get
from litestar.response.base import ASGIResponse
from msgspec import Struct

from evalhub_server import __version__
from evalhub_server.web.responses import encode, json_response


class Health(Struct, kw_only=True, frozen=True):
    """``build`` is what ``evalhub server status`` prints."""

    status: str
    timestamp: datetime
    build: str


@get("/api/v1/health")
async def health() -> ASGIResponse:
    """The server answers; nothing else is asked."""
    return json_response(encode(Health(status="healthy", timestamp=datetime.now(UTC), build=__version__)))

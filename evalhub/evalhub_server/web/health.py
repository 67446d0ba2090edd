"""Liveness: ``/api/v1/health``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from litestar import route
from msgspec import Struct

from evalhub_server import __version__
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.operation import Operation, Success
from evalhub_server.web.request import READ_METHODS
from evalhub_server.web.responses import RawResponse, encode, json_response


class Health(Struct, kw_only=True, frozen=True):
    """``build`` is the server's version."""

    status: Literal["healthy"]
    timestamp: datetime
    build: str


def _health(now: datetime) -> Health:
    return Health(status="healthy", timestamp=now, build=__version__)


HEALTH = Operation(
    success=Success(
        description="The server is alive.", type=Health, example=lambda: _health(examples.CREATED)
    )
)


@route("/api/v1/health", http_method=READ_METHODS, operation=HEALTH)
async def health() -> RawResponse:
    """Check whether the server responds. Storage and runtime are not checked."""
    return json_response(encode(_health(datetime.now(UTC))))

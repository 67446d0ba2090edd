"""The response of ``/api/v1/health``, which the middleware sends without a route: probes request it all the time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from evalhub_server import __version__
from evalhub_server.engine.server_state import Role
from evalhub_server.web.responses import RawResponse, encode, json_response

HEALTH_PATH = "/api/v1/health"


class Health(Struct, kw_only=True, frozen=True):
    """``build`` is the server's version. ``role`` is present if several servers can share the database, once this one has opened it."""

    status: Literal["healthy"]
    timestamp: datetime
    build: str
    role: Role | UnsetType = UNSET


def health_at(now: datetime, role: Role | None = None) -> Health:
    return Health(status="healthy", timestamp=now, build=__version__, role=role or UNSET)


def health_response(role: Role | None) -> RawResponse:
    """The response at this moment."""
    return json_response(encode(health_at(datetime.now(UTC), role)))

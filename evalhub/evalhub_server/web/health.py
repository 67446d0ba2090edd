"""Liveness and readiness: ``/api/v1/health`` and ``/api/v1/ready``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from litestar import route
from litestar.di import NamedDependency
from msgspec import Struct

from evalhub_server import __version__
from evalhub_server.domain import request_problems
from evalhub_server.engine.readiness import Components, ComponentStatus
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.operation import Operation, Success
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse, encode, error_response, json_response
from evalhub_server.web.services import Services


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


class Readiness(Struct, kw_only=True, frozen=True):
    """``components`` are reported for information: while one of them fails, the other requests still work."""

    status: Literal["ready"]
    timestamp: datetime
    components: Components


def _readiness(components: Components, now: datetime) -> Readiness:
    return Readiness(status="ready", timestamp=now, components=components)


_EXAMPLE = Components(storage=ComponentStatus.OK, runtime=ComponentStatus.OK, disk=ComponentStatus.OK)

READY = Operation(
    success=Success(
        description="The server is ready.",
        type=Readiness,
        example=lambda: _readiness(_EXAMPLE, examples.CREATED),
    ),
    errors=(request_problems.server_starting(), request_problems.data_directory_lost()),
)


@route("/api/v1/ready", http_method=READ_METHODS, operation=READY)
async def ready(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """Check whether the server accepts work.

    It does not while it starts or stops, or after it has lost its data directory. An unavailable storage or runtime and a
    full disk are reported as components and do not make it unready: reads go on, and events are kept.
    """
    if refusal := services.state.refusal:
        return error_response(refusal, request.trace_id)
    return json_response(encode(_readiness(await services.components(), datetime.now(UTC))))

"""Liveness and readiness: ``/api/v1/health`` and ``/api/v1/ready``.

GET and HEAD of the former do not reach its route here, which documents it and refuses other methods; see
:mod:`evalhub_server.web.liveness`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from litestar import route
from litestar.di import NamedDependency
from msgspec import UNSET, Struct, UnsetType

from evalhub_server.domain import request_problems
from evalhub_server.engine.readiness import Components, ComponentStatus
from evalhub_server.engine.server_state import Role
from evalhub_server.web.liveness import HEALTH_PATH, Health, health_at, health_response
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.operation import Operation, Success
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse, encode, error_response, json_response
from evalhub_server.web.services import Services

HEALTH = Operation(
    success=Success(
        description="The server is alive.", type=Health, example=lambda: health_at(examples.CREATED)
    )
)


@route(HEALTH_PATH, http_method=READ_METHODS, operation=HEALTH)
async def health(services: NamedDependency[Services]) -> RawResponse:
    """Check whether the server responds. Storage and runtime are not checked."""
    return health_response(services.state.role)


class Readiness(Struct, kw_only=True, frozen=True):
    """``components`` are reported for information: while one of them fails, the other requests still work.

    ``role`` is present if several servers can share the database: the leader supervises the jobs, followers serve requests.
    """

    status: Literal["ready"]
    timestamp: datetime
    components: Components
    role: Role | UnsetType = UNSET


def _readiness(components: Components, now: datetime, role: Role | None = None) -> Readiness:
    return Readiness(status="ready", timestamp=now, components=components, role=role or UNSET)


_EXAMPLE = Components(storage=ComponentStatus.OK, runtime=ComponentStatus.OK, disk=ComponentStatus.OK)

READY = Operation(
    success=Success(
        description="The server is ready.",
        type=Readiness,
        example=lambda: _readiness(_EXAMPLE, examples.CREATED),
    ),
    errors=(
        request_problems.server_starting(),
        request_problems.server_ousted(),
        request_problems.data_directory_lost(),
    ),
)


@route("/api/v1/ready", http_method=READ_METHODS, operation=READY)
async def ready(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """Check whether the server accepts work.

    It does not while it starts or stops, after it has lost its data directory, or while it has lost the lead among several
    servers of one database and has not found the new leader. An unavailable storage or runtime and a
    full disk are reported as components and do not make it unready: reads go on, and events are kept.
    """
    if refusal := services.state.refusal:
        return error_response(refusal, request.trace_id)
    return json_response(
        encode(_readiness(await services.components(), datetime.now(UTC), services.state.role))
    )

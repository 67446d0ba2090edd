"""Refusals that many operations share, each by an example."""

from __future__ import annotations

from evalhub_server.domain import problems
from evalhub_server.domain.json_patch import OPERATIONS
from evalhub_server.errors import ApiError, StorageError, StorageUnavailable
from evalhub_server.web.openapi.operation import Operation

ID = "0e0ef8f5-2a37-4a4c-a8f0-5a4c1b3d2f10"

_BROKEN = StorageError("database disk image is malformed")
_AWAY = StorageUnavailable("database or disk is full. Free disk space and try again.")

EVERY = (
    problems.invalid_header("Authorization", "was sent more than once"),
    problems.host_not_allowed("evalhub.example"),
    problems.uri_too_long(16 * 1024),
    problems.internal_error("RuntimeError; see the server's log"),
)
"""Of every operation."""

CHANGING = (problems.origin_not_allowed("https://somewhere.example"),)
"""Of every operation that is no GET."""

WITH_BODY = (
    problems.invalid_json("unexpected end of JSON input"),
    problems.body_too_large(10 * 1024 * 1024),
)

CLOSED = (problems.unauthorized(),)
"""Of every operation that asks for the token, where one is configured."""

IDENTIFIED = (
    problems.missing_header("missing_tenant_header", "X-Tenant"),
    problems.missing_header("missing_user_header", "X-User"),
    problems.from_storage("evaluation job", ID, _BROKEN),
    problems.from_storage("evaluation job", ID, _AWAY),
)
"""Of every operation on jobs, collections and providers."""

LIST = (
    problems.query_parameter_invalid("limit", "integer", "ten"),
    problems.query_bad_parameter("colour", ("limit", "offset", "name", "tags", "owner")),
    problems.query_failed("evaluation jobs", _BROKEN),
    problems.query_failed("evaluation jobs", _AWAY),
)
"""Of every list."""

SCOPED = (
    problems.query_parameter_value_invalid("scope", "system|tenant"),
    problems.query_parameter_mismatch(("owner", "scope")),
)
"""Of lists that have ``scope``."""

PATCH = (
    problems.invalid_patch_operation("move", OPERATIONS),
    problems.unallowed_patch("remove", "/name"),
)


def not_found(kind: str) -> ApiError:
    return problems.not_found(kind, ID)


def broken_rule(path: str, rule: str) -> ApiError:
    field = path.rpartition(".")[2]
    return problems.validation_failed(
        f"Key: '{path}' Error:Field validation for '{field}' failed on the '{rule}' tag"
    )


def errors_of(
    operation: Operation, *, closed: bool, identified: bool, changing: bool
) -> tuple[ApiError, ...]:
    """Its own, and those that come with what it is."""
    return (
        *(WITH_BODY if operation.body is not None else ()),
        *operation.errors,
        *(CLOSED if closed else ()),
        *(IDENTIFIED if identified else ()),
        *(CHANGING if changing else ()),
        *EVERY,
    )

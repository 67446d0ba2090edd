"""Examples of the error responses that operations share."""

from __future__ import annotations

from evalhub_server.domain import problems, request_problems
from evalhub_server.domain.json_patch import OPERATIONS
from evalhub_server.errors import ApiError, StorageError, StorageUnavailable
from evalhub_server.web.openapi.operation import JSON, Operation

ID = "0e0ef8f5-2a37-4a4c-a8f0-5a4c1b3d2f10"

_STORAGE_ERROR = StorageError("database disk image is malformed")
_STORAGE_UNAVAILABLE = StorageUnavailable("database or disk is full. Free disk space and try again.")

STORE_UNAVAILABLE = problems.sample_store_unavailable(
    "https://minio.example.org:9000 cannot be reached for s3://evaluations/samples (Connection refused)"
)
"""Of operations that read or write samples."""

RUNTIME_UNAVAILABLE = problems.runtime_unavailable(
    f"the job {ID} is cancelled, but some of its workloads are not stopped yet: the Kubernetes API at "
    "https://10.96.0.1:443 is unavailable: Connection refused. The server keeps trying"
)
"""Of operations that wait for the runtime."""

COMMON = (
    request_problems.invalid_header("Authorization", "was sent more than once"),
    request_problems.host_not_allowed("evalhub.example"),
    request_problems.uri_too_long(16 * 1024),
    problems.internal_error("RuntimeError; see the server's log"),
    request_problems.server_stopping(),
)
"""Errors of every operation."""

UNSAFE = (request_problems.origin_not_allowed("https://somewhere.example"),)
"""Errors of every operation except GET."""

WITH_BODY = (
    problems.invalid_json("unexpected end of JSON input"),
    problems.body_too_large(10 * 1024 * 1024),
    problems.too_many_request_bodies(128 * 1024 * 1024),
)

AUTHENTICATED = (request_problems.unauthorized(),)
"""Errors of every operation that requires the token, if one is configured."""

RESOURCES = (
    request_problems.missing_header("missing_tenant_header", "X-Tenant"),
    request_problems.missing_header("missing_user_header", "X-User"),
    problems.from_storage("evaluation job", ID, _STORAGE_ERROR),
    problems.from_storage("evaluation job", ID, _STORAGE_UNAVAILABLE),
)
"""Errors of every operation on jobs, collections and providers."""

LIST = (
    problems.query_parameter_invalid("limit", "integer", "ten"),
    problems.query_bad_parameter("colour", ("limit", "offset", "name", "tags", "owner")),
    problems.query_failed("evaluation jobs", _STORAGE_ERROR),
    problems.query_failed("evaluation jobs", _STORAGE_UNAVAILABLE),
)
"""Errors of every list."""

SCOPED = (
    problems.query_parameter_value_invalid("scope", "system|tenant"),
    problems.query_parameter_mismatch(("owner", "scope")),
)
"""Errors of lists with the parameter ``scope``."""

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
    operation: Operation, *, authenticated: bool, resources: bool, unsafe: bool
) -> tuple[ApiError, ...]:
    """The errors of an operation: its own and the shared ones."""
    return (
        *(WITH_BODY if operation.body is not None and operation.body.media_type == JSON else ()),
        *operation.errors,
        *(AUTHENTICATED if authenticated else ()),
        *(RESOURCES if resources else ()),
        *(UNSAFE if unsafe else ()),
        *COMMON,
    )

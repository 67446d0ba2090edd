"""Query parameters that operations share, path parameters, and the headers of requests and responses."""

from __future__ import annotations

import re
from collections.abc import Iterable

from evalhub_server.models.common import Json
from evalhub_server.web.openapi.operation import Parameter

_LARGEST = 10**18 - 1

NO_STORE = {"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache", "Expires": "0"}
"""Headers of responses that change with the server's version."""


def terms(name: str, description: str, *, negatable: bool = False) -> Parameter:
    """A filter of a list, in the grammar that the document's introduction explains."""
    return Parameter(
        name=name,
        description=f"{description} `!` before a value negates it." if negatable else description,
        schema={"type": "string"},
    )


def boolean(name: str, description: str, *, default: bool) -> Parameter:
    return Parameter(name=name, description=description, schema={"type": "boolean", "default": default})


def optional_boolean(name: str, description: str) -> Parameter:
    return Parameter(name=name, description=description, schema={"type": "boolean"})


def separated(names: Iterable[str], separator: str) -> str:
    """A pattern for one or several of the names."""
    name = f"({'|'.join(names)})"
    return f"{name}({re.escape(separator)}{name})*"


def choices(name: str, description: str, names: Iterable[str]) -> Parameter:
    """Several of the names, separated by commas."""
    return Parameter(
        name=name,
        description=description,
        schema={"type": "string", "pattern": f"^({separated(names, ',')})?$"},
    )


LIMIT = Parameter(
    name="limit",
    description="Maximum number of items on a page; 0 and values above 1000 mean 1000.",
    schema={"type": "integer", "minimum": 0, "maximum": _LARGEST, "default": 50},
)
OFFSET = Parameter(
    name="offset",
    description="Number of items to skip.",
    schema={"type": "integer", "minimum": 0, "maximum": _LARGEST, "default": 0},
)
NAME = terms("name", "Exact name.")
TAGS = terms("tags", "Tags of the item.")
OWNER = terms("owner", "The user that created the item.", negatable=True)
CATEGORY = terms("category", "Exact category.")
SCOPE = Parameter(
    name="scope",
    description="Only items from the server's configuration (`system`), or only the others (`tenant`). Not together with `owner`.",
    schema={"type": "string", "enum": ["system", "tenant"]},
)

TAGGED = ("ETag",)
"""Headers of responses with an entity tag."""

PATH: dict[str, Json] = {
    "job_id": {
        "description": "The job's id, `resource.id`.",
        "schema": {"type": "string", "minLength": 1},
    },
    "benchmark_index": {
        "description": "Position of the benchmark in the job, from 0: `benchmark_index` in its status.",
        "schema": {"type": "integer", "minimum": 0, "maximum": _LARGEST},
    },
    "provider_id": {
        "description": "The provider's id, `resource.id`.",
        "schema": {"type": "string", "minLength": 1},
    },
    "baseline_name": {
        "description": "The baseline's name: 1 to 100 letters, digits, `.`, `_` or `-`, the first a letter or digit.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"},
    },
    "collection_id": {
        "description": "The collection's id, `resource.id`.",
        "schema": {"type": "string", "minLength": 1},
    },
}
"""Path parameters by name."""

_PRINTABLE: Json = {"type": "string", "maxLength": 253, "pattern": "^[ -~]*$"}

HEADER_PARAMETERS: dict[str, Json] = {
    "Tenant": {
        "name": "X-Tenant",
        "in": "header",
        "description": (
            "The tenant of the client; resources of other tenants are invisible. Required in a cluster, where it is a namespace. "
            "In local mode it is optional; without it, all resources are visible."
        ),
        "schema": _PRINTABLE,
    },
    "User": {
        "name": "X-User",
        "in": "header",
        "description": "The user; the owner of created resources. Required in a cluster.",
        "schema": {**_PRINTABLE, "not": {"const": "system"}},
    },
    "Trace": {
        "name": "X-Global-Transaction-Id",
        "in": "header",
        "description": "The request id, up to 256 printable characters; the server generates one if it is absent or invalid.",
        "schema": {"type": "string"},
    },
}
"""Header parameters by component name."""

CONDITIONAL: dict[str, Json] = {
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "An earlier `ETag`: if nothing has changed, the response is 304 without a body.",
        "schema": {"type": "string"},
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "The `ETag` of the version that is to be changed: after another change, the response is 412.",
        "schema": {"type": "string"},
    },
}
"""Header parameters of conditional requests by component name."""

OPTIONAL_HEADERS: dict[str, Json] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": (
            "A text of the client's choice, such as a random UUID. For a day, a further request of the tenant with the same key "
            "and the same content returns the job that the first one created, in its current state, and one with another content "
            "is refused with 422. A key of a job that was deleted creates a new job."
        ),
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    },
}
"""Header parameters of single operations by component name."""

HEADERS: dict[str, Json] = {
    "X-Global-Transaction-Id": {
        "description": "The request id: the one of the request, or a generated one.",
        "schema": {"type": "string"},
        "required": True,
    },
    "X-Content-Type-Options": {
        "description": "Always `nosniff`.",
        "schema": {"const": "nosniff"},
        "required": True,
    },
    "WWW-Authenticate": {
        "description": "The required authentication scheme.",
        "schema": {"const": 'Bearer realm="evalhub"'},
        "required": True,
    },
    "Retry-After": {
        "description": "Seconds after which the request may succeed.",
        "schema": {"type": "integer", "minimum": 1},
        "required": True,
    },
    "Warning": {
        "description": (
            'Only if something of the job may be left, or is still being removed: `299 - "TEXT"`, with a text that names it.'
        ),
        "schema": {"type": "string"},
        "required": False,
    },
    "Content-Disposition": {
        "description": "An attachment, with a file name.",
        "schema": {"type": "string"},
        "required": True,
    },
    "Content-Security-Policy": {
        "description": "Always `sandbox`: the content is not the server's.",
        "schema": {"const": "sandbox"},
        "required": True,
    },
    "Trailer": {
        "description": (
            "Announces the trailer `X-Log-Truncated`, which follows the body: `true` if the log was truncated. The last line of "
            "the body reports it, too."
        ),
        "schema": {"const": "X-Log-Truncated"},
        "required": True,
    },
    "ETag": {
        "description": "Identifies this version of the response, for `If-None-Match`, `If-Match` and `since`.",
        "schema": {"type": "string"},
        "required": True,
    },
    **{
        name: {
            "description": "Not to be cached: the content changes with the server's version.",
            "schema": {"const": value},
            "required": True,
        }
        for name, value in NO_STORE.items()
    },
}
"""Response headers by name."""

"""Parameters that more than one operation has, and what every request and answer carries in its head."""

from __future__ import annotations

from evalhub_server.models.common import Json
from evalhub_server.web.openapi.operation import Parameter

_LARGEST = 10**18 - 1

NO_STORE = {"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache", "Expires": "0"}
"""Headers of answers that change with the server's version."""


def terms(name: str, text: str, *, negatable: bool = False) -> Parameter:
    """A filter of a list, in the grammar that the document's introduction explains."""
    return Parameter(
        name=name,
        text=f"{text} `!` in front of a value: any other." if negatable else text,
        schema={"type": "string"},
    )


def boolean(name: str, text: str, *, default: bool) -> Parameter:
    return Parameter(name=name, text=text, schema={"type": "boolean", "default": default})


LIMIT = Parameter(
    name="limit",
    text="The number of items on a page; 0 and all above 1000 mean 1000.",
    schema={"type": "integer", "minimum": 0, "maximum": _LARGEST, "default": 50},
)
OFFSET = Parameter(
    name="offset",
    text="The number of items before the page.",
    schema={"type": "integer", "minimum": 0, "maximum": _LARGEST, "default": 0},
)
NAME = terms("name", "The name, exactly.")
TAGS = terms("tags", "Tags that an item has.")
OWNER = terms("owner", "The user that created it.", negatable=True)
CATEGORY = terms("category", "The category, exactly.")
SCOPE = Parameter(
    name="scope",
    text="Only what comes with the server (`system`), or only the rest (`tenant`). Not together with `owner`.",
    schema={"type": "string", "enum": ["system", "tenant"]},
)

PATH: dict[str, Json] = {
    "job_id": {
        "description": "The job's id, `resource.id`.",
        "schema": {"type": "string", "minLength": 1},
    },
    "benchmark_index": {
        "description": "The benchmark's place in the job, from 0: `benchmark_index` in its status.",
        "schema": {"type": "integer", "minimum": 0, "maximum": _LARGEST},
    },
    "provider_id": {
        "description": "The provider's id, `resource.id`.",
        "schema": {"type": "string", "minLength": 1},
    },
    "collection_id": {
        "description": "The collection's id, `resource.id`.",
        "schema": {"type": "string", "minLength": 1},
    },
}
"""By the names that paths have them under."""

_SHOWN: Json = {"type": "string", "maxLength": 253, "pattern": "^[ -~]*$"}

HEADER_PARAMETERS: dict[str, Json] = {
    "Tenant": {
        "name": "X-Tenant",
        "in": "header",
        "description": (
            "The tenant that asks; nothing of another is visible. Needed in a cluster, where it is a namespace. Locally it may "
            "be left out, which makes everything visible."
        ),
        "schema": _SHOWN,
    },
    "User": {
        "name": "X-User",
        "in": "header",
        "description": "The user that asks; owns what is created. Needed in a cluster.",
        "schema": {**_SHOWN, "not": {"const": "system"}},
    },
    "Trace": {
        "name": "X-Global-Transaction-Id",
        "in": "header",
        "description": "The id of the request; one is made if there is none of up to 256 printable characters.",
        "schema": {"type": "string"},
    },
}
"""Header parameters by the names of their components."""

HEADERS: dict[str, Json] = {
    "X-Global-Transaction-Id": {
        "description": "The id of the request: the one that was sent, or a new one.",
        "schema": {"type": "string"},
        "required": True,
    },
    "X-Content-Type-Options": {
        "description": "Always `nosniff`.",
        "schema": {"const": "nosniff"},
        "required": True,
    },
    "WWW-Authenticate": {
        "description": "What the server asks for.",
        "schema": {"const": 'Bearer realm="evalhub"'},
        "required": True,
    },
    "Trailer": {
        "description": (
            "Announces `X-Log-Truncated`, which comes after the text to clients that ask for trailers: `true` if the log was "
            "cut. The last line of the text says so, too."
        ),
        "schema": {"const": "X-Log-Truncated"},
        "required": True,
    },
    **{
        name: {
            "description": "Nobody keeps a copy: after an update it is another.",
            "schema": {"const": value},
            "required": True,
        }
        for name, value in NO_STORE.items()
    },
}
"""Headers of answers by their names."""

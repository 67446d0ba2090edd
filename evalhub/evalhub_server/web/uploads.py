"""Request bodies that are streamed to a file instead of being held in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from evalhub_server.domain import problems
from evalhub_server.web.openapi.operation import Parameter
from evalhub_server.web.query import Query
from evalhub_server.web.request import ApiRequest

OCTETS = "application/octet-stream"
"""The content type of uploads in the OpenAPI document: generators of clients know no other one for bytes."""

ATTEMPT = Parameter(
    name="attempt",
    description="The attempt of the benchmark that the upload belongs to, from 1. Default: the current one.",
    schema={"type": "integer", "minimum": 1, "maximum": 10**18 - 1},
)


def attempt_of(query: Query) -> int | None:
    """The attempt, or None for the current one. Raises :class:`ApiError`."""
    if not query.text("attempt"):
        return None
    attempt = query.integer("attempt", 1)
    if attempt < 1:
        raise problems.query_parameter_invalid("attempt", "positive integer", str(attempt))
    return attempt


async def body_chunks(request: ApiRequest) -> AsyncIterator[bytes]:
    """The pieces of a request body as they arrive. Raises :class:`ApiError` if the connection is closed before its end."""
    more = True
    while more:
        message: Any = await request.receive()
        if message["type"] == "http.disconnect":
            raise problems.invalid_json("the connection was closed before the whole body had come")
        more = message.get("more_body", False)
        if chunk := message.get("body", b""):
            yield chunk

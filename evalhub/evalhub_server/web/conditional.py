"""Responses with entity tags, conditional requests, and the long poll of a resource."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import datetime

from evalhub_common.durations import Duration
from evalhub_server.domain import problems
from evalhub_server.domain.entity_tags import (
    Tagged,
    Tags,
    list_tag,
    plain_tag,
    read_tags,
    tagged,
)
from evalhub_server.engine.change_feed import ChangeFeed
from evalhub_server.web.disconnect import disconnected
from evalhub_server.web.openapi.operation import Parameter
from evalhub_server.web.query import Query
from evalhub_server.web.request import ApiRequest
from evalhub_server.web.responses import Header, RawResponse, json_response

MAX_WAIT_S = 60.0
CACHE: Header = (b"cache-control", b"private, no-cache")
"""A cache may keep the response for its user, and must ask the server with the tag before it uses it."""

_NUMBER = r"[0-9]{1,9}(\.[0-9]{0,9})?"

WAIT = Parameter(
    name="wait",
    description=(
        "Delays the response until the job changes, at most this long: `30s`, or a number of seconds. More than `60s` is "
        "shortened to that. "
        "Without `since` and `If-None-Match`, a job that has ended is returned at once."
    ),
    schema={"type": "string", "pattern": rf"^({_NUMBER}|({_NUMBER}(ms|s|m|h))*)$"},
)
SINCE = Parameter(
    name="since",
    description="With `wait`: the `ETag` that the client has; the response is immediate if the job has another one.",
    schema={"type": "string"},
)
_SECONDS = re.compile(_NUMBER)


def if_match(request: ApiRequest) -> Tags | None:
    """The precondition of a change; None without one."""
    return read_tags(request.field(b"if-match"))


def resource_response(
    request: ApiRequest, body: bytes, updated_at: datetime | None = None, status: int = 200
) -> RawResponse:
    """The response with one resource. ``updated_at`` is that of a resource that clients can edit."""
    resource = tagged(body)
    return tagged_response(request, resource if updated_at is None else resource.edited(updated_at), status)


def tagged_response(request: ApiRequest, resource: Tagged, status: int = 200) -> RawResponse:
    """The response with one resource, whose tag is known."""
    if status == 200 and request.method in ("GET", "HEAD"):
        current = _not_modified(request, resource.tag)
        if current is not None:
            return current
    return json_response(resource.body, status, *_headers(resource.tag))


class ListState:
    """The state of a list before it is read: its tag, and the response if the client has that state."""

    def __init__(self, request: ApiRequest, epoch: str, changes: int, state: str = "") -> None:
        self.tag = list_tag(epoch, changes, request.identity.scope, state)
        self.not_modified = _not_modified(request, self.tag)

    @property
    def headers(self) -> tuple[Header, Header]:
        """The headers of a response with that state."""
        return _headers(self.tag)

    def response(self, body: bytes) -> RawResponse:
        return json_response(body, 200, *self.headers)


def _not_modified(request: ApiRequest, tag: str) -> RawResponse | None:
    if not request.has_field(b"if-none-match"):
        return None
    tags = read_tags(request.field(b"if-none-match"))
    if tags is None or not tags.matches(tag):
        return None
    return RawResponse(304, _headers(tag))


def _headers(tag: str) -> tuple[Header, Header]:
    return (b"etag", f'"{tag}"'.encode()), CACHE


async def long_poll(
    request: ApiRequest, feed: ChangeFeed, job_id: str, read: Callable[[], Awaitable[tuple[Tagged, bool]]]
) -> Tagged:
    """A job, delayed until it changes if the request has ``wait``.

    ``read`` returns the job and whether the job has ended. The time limit, the client's disconnection and the end of the
    server end the delay, too.
    """
    query = Query(request.scope)
    wait_s = _wait_s(query.text("wait"))
    since = _since(request, query)
    deadline = asyncio.get_running_loop().time() + wait_s
    with feed.wait_for(job_id) as waiter:
        gone = asyncio.create_task(disconnected(request.receive), name="long-poll-disconnect")
        try:
            while True:
                waiter.wake.clear()
                job, ended = await read()
                if since is None and not ended:
                    since = job.tag
                left_s = deadline - asyncio.get_running_loop().time()
                if since != job.tag or left_s <= 0 or feed.closed or gone.done():
                    return job
                await _first(waiter.wake, gone, left_s)
        finally:
            gone.cancel()


async def _first(changed: asyncio.Event, gone: asyncio.Task[None], left_s: float) -> None:
    waiting = asyncio.create_task(changed.wait(), name="long-poll")
    try:
        await asyncio.wait((waiting, gone), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


def _wait_s(text: str) -> float:
    if not text:
        return 0.0
    try:
        seconds = float(text) if _SECONDS.fullmatch(text) else float(Duration.parse(text))
    except ValueError:
        raise problems.query_parameter_invalid("wait", "duration such as 30s", text) from None
    return min(seconds, MAX_WAIT_S)


def _since(request: ApiRequest, query: Query) -> str | None:
    """The tag that the client has; None if it names none."""
    if text := query.text("since"):
        return plain_tag(text)
    tags = read_tags(request.field(b"if-none-match"))
    return next(iter(tags.tags | tags.weak), None) if tags is not None else None

"""Status events of adapters: received, stored in the spool, and sent to the server."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from evalhub_sidecar.errors import Refused
from evalhub_sidecar.event_files import Event
from evalhub_sidecar.headers import TRANSACTION_ID, forwarded_headers
from evalhub_sidecar.paths import Target
from evalhub_sidecar.responses import json_response
from evalhub_sidecar.server import EVALUATIONS
from evalhub_sidecar.server_client import ServerClient, plain_headers
from evalhub_sidecar.spool import Answer, Spool

MAX_EVENT_BYTES = 10 << 20
"""The server's default limit."""
_EVENTS = re.compile(rf"(?:/callback/[^/]+)?{EVALUATIONS}/jobs/(?P<job>[^/]+)/events")
"""A server with a bearer token has a callback URL for each job."""
_UPLOADS = re.compile(
    rf"(?:/callback/[^/]+)?{EVALUATIONS}/jobs/(?P<job>[^/]+)/benchmarks/[0-9]+/(?:samples|artifacts)"
)

ChangeBody = Callable[[bytes], bytes]


def job_of_events(target: Target) -> str | None:
    """The job whose events are posted to the target; None for any other path."""
    match = _EVENTS.fullmatch(target.path)
    return unquote(match["job"]) if match else None


def job_of_upload(target: Target) -> str | None:
    """The job whose samples or artifacts are uploaded to the target; None for any other path."""
    match = _UPLOADS.fullmatch(target.path)
    return unquote(match["job"]) if match else None


class EventSender:
    """The spool's :data:`~evalhub_sidecar.spool.Send`: sends an event to the server, once."""

    def __init__(self, client: ServerClient) -> None:
        self._client = client

    async def __call__(self, event: Event) -> Answer | None:
        """The answer; None if the server could not be reached."""
        return await self._client("POST", event.target, event.headers, lambda: event.body)


class EventProxy:
    """Reads an event, passes it to the spool, and returns the server's response, or 202 if the event is stored."""

    def __init__(self, spool: Spool, change_body: ChangeBody = lambda body: body) -> None:
        self._spool = spool
        self._change_body = change_body

    async def __call__(self, request: web.BaseRequest, target: Target, trace: str) -> web.StreamResponse:
        """Handle the POST of an event. Raises :class:`Refused`."""
        body = self._change_body(await _read(request))
        headers = forwarded_headers(request.headers, without=("content-length",))
        headers.setdefault(TRANSACTION_ID, trace)
        event = Event(target=str(target), headers=plain_headers(headers), body=body)
        answer = await self._spool.deliver(event)
        if answer is None:
            text = "The server cannot take the event now; the sidecar keeps it and delivers it."
            return json_response(202, trace, message_code="event_kept", message=text)
        kept = CIMultiDict(answer.headers)
        kept.setdefault(TRANSACTION_ID, trace)
        return web.Response(status=answer.status, headers=kept, body=answer.body)


def with_revision(revision: str) -> ChangeBody:
    """Adds the commit of the test data to events, in place of the adapter's value."""

    def change(body: bytes) -> bytes:
        try:
            document: Any = msgspec.json.decode(body)
            event = document["benchmark_status_event"]
            meta: dict[str, Any] = dict(event.get("job_meta") or {})
            meta.pop("resolved_sha", None)
            if revision:
                meta["resolved_sha"] = revision
            event["job_meta"] = meta
            return msgspec.json.encode(document)
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError):
            return body  # the server reports what is wrong with it

    return change


async def _read(request: web.BaseRequest) -> bytes:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_EVENT_BYTES:
            text = f"The request body exceeds the maximum allowed size of {MAX_EVENT_BYTES} bytes."
            raise Refused(413, "request_body_too_large", text)
    return bytes(body)

"""Status events of adapters: received, stored in the spool, and sent to the server."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import ClientError, ClientSession, web
from multidict import CIMultiDict

from evalhub_common.backoff import retry_after_s
from evalhub_sidecar.errors import Refused
from evalhub_sidecar.event_files import Event
from evalhub_sidecar.headers import TRANSACTION_ID, forwarded_headers
from evalhub_sidecar.paths import Target
from evalhub_sidecar.responses import json_response
from evalhub_sidecar.server import EVALUATIONS, Server
from evalhub_sidecar.spool import Answer, Spool

MAX_EVENT_BYTES = 10 << 20
"""The server's default limit."""
UNAUTHORIZED = 401
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

    def __init__(self, session: ClientSession, server: Server) -> None:
        self._session = session
        self._server = server

    async def __call__(self, event: Event) -> Answer | None:
        """The answer; None if the server could not be reached. A token that is refused is read again, once."""
        answer = await self._send(event)
        if answer is not None and answer.status == UNAUTHORIZED and self._server.forget_credentials():
            answer = await self._send(event)
        return answer

    async def _send(self, event: Event) -> Answer | None:
        headers = CIMultiDict(event.headers)
        authorization = await self._server.authorization()
        if authorization is not None:
            headers.popall("Authorization", None)
            headers["Authorization"] = authorization
        upstream = self._server.upstream
        try:
            async with self._session.post(
                upstream.url(self._server.target(event.target)),
                data=event.body,
                allow_redirects=False,
                **upstream.options(headers),
            ) as answer:
                kept = forwarded_headers(answer.headers, without=("content-length",))
                return Answer(
                    status=answer.status,
                    headers=_plain(kept),
                    body=await answer.read(),
                    retry_after_s=retry_after_s(answer.headers.get("Retry-After")) or 0.0,
                )
        except (ClientError, TimeoutError, OSError, ValueError):
            return None


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
        event = Event(target=str(target), headers=_plain(headers), body=body)
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


def _plain(headers: CIMultiDict[str]) -> tuple[tuple[str, str], ...]:
    """Names as ``str``, which a multidict's are not always, for the file of a stored event."""
    return tuple((str(name), value) for name, value in headers.items())

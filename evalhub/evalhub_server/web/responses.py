"""Responses with bodies that are already encoded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec
from msgspec import Struct

from evalhub_server.domain.plain_text import plain_text
from evalhub_server.errors import ApiError
from evalhub_server.models.common import ErrorBody
from evalhub_server.web.compression import MIN_BYTES, negotiated

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

JSON = "application/json"
_JSON_CONTENT = b"content-type", JSON.encode()
NOT_FOUND = b"404 page not found\n"
"""The body of the response to a path without a route."""

Header = tuple[bytes, bytes]
NOSNIFF: Header = (b"x-content-type-options", b"nosniff")
"""On every response: a log is any text that an adapter prints, and a browser must not take it for a page or a script."""

_encoder = msgspec.json.Encoder()


class SelfSending(Protocol):
    """A response that sends itself. Litestar recognizes one by the annotation of its handler, which must not be a union."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


BODY = "evalhub.response.body"
"""An ASGI extension: the message ``http.response.start`` of a response that is complete has its body under this key.

Each message passes four layers between a handler and the connection.
"""


class RawResponse(Struct, frozen=True):
    """A response with an encoded body, compressed if it is large and the client accepts it. Like every response of Litestar it is an ASGI application that sends itself.

    ``headers`` have the length of the body, unless the status is one without a body. ``negotiated``: it has been compressed
    already if that is possible.
    """

    status: int
    headers: Sequence[Header] = ()
    body: bytes = b""
    negotiated: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, body = self.headers, self.body
        if len(body) >= MIN_BYTES and not self.negotiated:
            headers, body = await negotiated(scope["headers"], headers, body)  # type: ignore[typeddict-item]
        start: Any = {"type": "http.response.start", "status": self.status, "headers": headers}
        extensions: Any = scope.get("extensions")  # pyright: ignore[reportUnknownMemberType]  # Litestar types it loosely
        if extensions and BODY in extensions:
            start[BODY] = body
            await send(start)
            return
        await send(start)
        await send({"type": "http.response.body", "body": body, "more_body": False})


def raw_response(body: bytes, media_type: str, status: int = 200, *headers: Header) -> RawResponse:
    """A response with content type, length and further headers."""
    length = b"%d" % len(body)
    content = (b"content-type", media_type.encode("latin-1")), (b"content-length", length)
    return RawResponse(status, (*content, *headers), body)


def json_response(body: bytes, status: int = 200, *headers: Header) -> RawResponse:
    """A response with the JSON ``body``; a line feed is added, as in the contract."""
    body += b"\n"
    return RawResponse(status, (_JSON_CONTENT, (b"content-length", b"%d" % len(body)), *headers), body)


# The contract has a media type even without a body.
NO_CONTENT = RawResponse(204, (_JSON_CONTENT,))


def no_content(warning: str) -> RawResponse:
    """204, with a sentence as the header ``Warning`` unless it is empty."""
    if not warning:
        return NO_CONTENT
    text = plain_text(warning).replace("\n", " ").replace("\\", "\\\\").replace('"', '\\"')
    return RawResponse(204, (*NO_CONTENT.headers, (b"warning", f'299 - "{text}"'.encode("ascii", "replace"))))


def encode(value: object) -> bytes:
    return _encoder.encode(value)


def encode_present(value: object) -> bytes:
    """JSON without the members that are None or not finite, also of models that write their defaults."""
    return _encoder.encode(_present(msgspec.to_builtins(value)))


def _is_present(value: object) -> bool:
    """JSON has neither None here nor numbers that are not finite."""
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _present(value: Any) -> Any:
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {key: _present(item) for key, item in members.items() if _is_present(item)}
    if isinstance(value, list | tuple):
        return [_present(item) for item in cast("list[Any]", value)]
    return value


def error_body(error: ApiError, trace_id: str) -> bytes:
    """The contract's error body, with a line feed."""
    body = ErrorBody(
        message_code=error.code,
        message=error.message,
        detail=error.message,
        trace=trace_id,
        errors=error.errors,
    )
    return encode(body) + b"\n"


def error_response(error: ApiError, trace_id: str, *headers: Header) -> RawResponse:
    """The response to a refused request, with the headers of ``error`` and further ones."""
    own = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    return raw_response(error_body(error, trace_id), JSON, error.status, *own, *headers)

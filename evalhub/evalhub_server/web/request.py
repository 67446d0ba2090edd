"""The request class of the API: identity, request id, and a body up to the configured limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from litestar import HttpMethod, Request
from litestar.datastructures import State
from litestar.types import Empty

from evalhub_server.domain import problems
from evalhub_server.engine.identity import Identity
from evalhub_server.web.paths import SLASH, restore_slashes
from evalhub_server.web.request_context import CONTEXT_KEY, RequestContext

if TYPE_CHECKING:
    from evalhub_server.web.services import Services

SERVICES_KEY = "services"
"""The key of the services in the application's state."""
READ_METHODS = (HttpMethod.GET, HttpMethod.HEAD)
"""Methods of routes that read: Litestar routes HEAD only where it is declared."""


class ApiRequest(Request[Any, Any, State]):
    """A request that has passed the middleware."""

    __slots__ = ()

    @property
    def services(self) -> Services:
        """The dependency ``services``, for handlers that are called often: Litestar resolves it in a tenth of the time of a read."""
        return self.app.state[SERVICES_KEY]

    @property
    def identity(self) -> Identity:
        return self._context.identity

    @property
    def trace_id(self) -> str:
        return self._context.trace_id

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """The headers by lower-case name, the first of repeated ones."""
        return self._context.fields

    def field(self, name: bytes) -> str:
        """The value of a header by its lower-case name, or an empty string."""
        return self._context.fields.get(name, b"").decode("latin-1")

    def has_field(self, name: bytes) -> bool:
        """Whether the request has a header, even if it is empty."""
        return name in self._context.fields

    @property
    def _context(self) -> RequestContext:
        return self.scope[CONTEXT_KEY]  # type: ignore[literal-required]  # ours, beside ASGI's own keys

    @property
    def path_params(self) -> dict[str, Any]:
        """Path parameters; an encoded slash is part of the value, as in the contract."""
        parameters = self.scope["path_params"]
        return restore_slashes(parameters) if SLASH in self.scope["path"] else parameters

    async def body(self) -> bytes:
        """The whole body.

        Raises :class:`ApiError` ``request_body_too_large`` (413) above Litestar's ``request_max_body_size``, before the body is
        read if its length is announced, and ``too_many_request_bodies`` (503) if those of all requests need too much memory.
        Litestar's own method takes twice as many steps.
        """
        if self._body is Empty:
            limit_bytes = self.route_handler.resolve_request_max_body_size()
            fields = self._context.fields
            if limit_bytes is not None and int(fields.get(b"content-length", b"0")) > limit_bytes:
                raise problems.body_too_large(limit_bytes)
            self._body = await self._read_body(limit_bytes)
        return self._body  # pyright: ignore[reportReturnType]

    async def _read_body(self, limit_bytes: int | None) -> bytes:
        memory, scope = self._context.body_memory, self.scope
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message: Any = await self.receive()
            if message["type"] == "http.disconnect":
                raise problems.invalid_json("the connection was closed before the whole body had come")
            chunk: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(chunk)
            if limit_bytes is not None and size > limit_bytes:
                raise problems.body_too_large(limit_bytes)
            memory.reserve(scope, len(chunk))
            chunks.append(chunk)
        return b"".join(chunks)

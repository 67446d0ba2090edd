"""What the middleware learns about a request and handlers need."""

from __future__ import annotations

from typing import Any

from litestar import Request
from msgspec import Struct

from evalhub_server.engine.identity import Identity

KEY = "evalhub"


class RequestContext(Struct, kw_only=True, frozen=True):
    """``trace`` is the request id; it comes back in the header and in error bodies.

    ``method`` is what was really sent; ``preflights`` says whether OPTIONS is answered.
    """

    trace: str
    identity: Identity
    method: str
    preflights: bool


def context(request: Request[Any, Any, Any]) -> RequestContext:
    return request.scope[KEY]  # type: ignore[literal-required]  # ours, beside ASGI's own keys

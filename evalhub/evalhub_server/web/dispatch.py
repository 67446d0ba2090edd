"""From a route to its handler."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.types import ASGIApp, Receive, Scope, Send

from evalhub_server.web.paths import SLASH, restored


class Dispatch:
    """Calls the handler of a route with the request and the parameters of its path, and sends what it returns.

    Handlers here are coroutine functions that return an ASGI application. Litestar's own way to them, which comes after its
    middleware, also looks for guards, dependencies, hooks, caches and types to convert, for every request.
    """

    def __init__(self, app: ASGIApp) -> None:
        """``app`` is that way."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        parameters = scope["path_params"]
        if SLASH in scope["path"]:
            parameters = restored(parameters)
        answer: ASGIApp = await scope["route_handler"].fn(request, **parameters)
        await answer(scope, receive, send)

"""Request handling around the routes: transaction id, path, health check, and error responses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from evalhub_common.callback_tokens import redact_callback_path
from evalhub_sidecar.errors import Refused
from evalhub_sidecar.headers import TRANSACTION_ID, transaction_id
from evalhub_sidecar.paths import Target, target_of
from evalhub_sidecar.responses import error_response

Route = Callable[[web.BaseRequest, Target, str], Awaitable[web.StreamResponse]]
"""(request, its target, the transaction id) → the response. May raise :class:`Refused` before anything was sent."""
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def handler(route: Route) -> Handler:
    """The handler of aiohttp's server."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        trace = transaction_id(request.headers)
        try:
            target = target_of(request.raw_path)
            if target.path == "/health":
                return _health(request, trace)
            return await route(request, target, trace)
        except Refused as refused:
            return error_response(refused, trace)

    return handle


def no_route(target: Target) -> Refused:
    """The error for a target without a route."""
    path = redact_callback_path(target.path)
    return Refused(400, "no_route", f"The sidecar has no route for '{path}'.")


def _health(request: web.BaseRequest, trace: str) -> web.Response:
    if request.method not in ("GET", "HEAD"):
        text = f"The HTTP method {request.method} is not allowed for the API /health."
        raise Refused(405, "method_not_allowed", text)
    return web.Response(headers={TRANSACTION_ID: trace})

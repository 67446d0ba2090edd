"""The application behind the metrics' own listener: ``/metrics`` and nothing else."""

from __future__ import annotations

from litestar.types import ASGIApp, Receive, Scope, Send

from evalhub_server.web.metrics import CONTENT_TYPE, PATH, Metrics
from evalhub_server.web.middleware import NOSNIFF, PLAIN_NOT_FOUND
from evalhub_server.web.request_context import TRACE_HEADER, trace_of


def metrics_app(metrics: Metrics) -> ASGIApp:
    """Any method is answered, as in the contract, with the caller's request id or a new one."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        given = next((value for name, value in scope["headers"] if name == TRACE_HEADER), None)
        trace = (TRACE_HEADER, trace_of(given).encode("ascii"))
        status, media_type, body = 404, b"text/plain; charset=utf-8", PLAIN_NOT_FOUND
        if scope["path"] == PATH:
            status, media_type, body = 200, CONTENT_TYPE.encode(), await metrics.text()
        headers = [
            (b"content-type", media_type),
            (b"content-length", str(len(body)).encode()),
            NOSNIFF,
            trace,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return app

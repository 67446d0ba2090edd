"""``/metrics``: a route of the API in local mode, an application with a listener of its own in a cluster."""

from __future__ import annotations

from litestar import route
from litestar.di import NamedDependency
from litestar.types import ASGIApp, Receive, Scope, Send

from evalhub_server.web.metrics import Metrics
from evalhub_server.web.openapi.operation import Operation, Success
from evalhub_server.web.request import READ_METHODS
from evalhub_server.web.request_context import TRACE_HEADER, trace_id_of
from evalhub_server.web.responses import NOSNIFF, NOT_FOUND, RawResponse, raw_response
from evalhub_server.web.services import Services

PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"

SHOW_METRICS = Operation(
    success=Success(description="All metrics.", media_types=(CONTENT_TYPE,), schema={"type": "string"})
)


@route(PATH, http_method=READ_METHODS, operation=SHOW_METRICS)
async def show_metrics(services: NamedDependency[Services]) -> RawResponse:
    """Get the metrics of the server, in Prometheus's text format.

    Only in local mode; in a cluster metrics have a port of their own.
    """
    return raw_response(await services.metrics.text(), CONTENT_TYPE)


def metrics_app(metrics: Metrics) -> ASGIApp:
    """The application of the metrics listener. As in the contract it answers any method, with a request id."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        sent = next((value for name, value in scope["headers"] if name == TRACE_HEADER), None)
        headers = NOSNIFF, (TRACE_HEADER, trace_id_of(sent).encode("ascii"))
        response = raw_response(NOT_FOUND, "text/plain; charset=utf-8", 404, *headers)
        if scope["path"] == PATH:
            response = raw_response(await metrics.text(), CONTENT_TYPE, 200, *headers)
        await response(scope, receive, send)

    return app

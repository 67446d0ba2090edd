"""``/metrics``: a route of the API in local mode, an application with a listener of its own in a cluster."""

from __future__ import annotations

from litestar import route
from litestar.di import NamedDependency
from litestar.types import ASGIApp, Receive, Scope, Send

from evalhub_server.errors import ApiError
from evalhub_server.web.credentials import Credentials
from evalhub_server.web.metrics import Metrics
from evalhub_server.web.middleware import check_scrape
from evalhub_server.web.openapi.operation import Operation, Success
from evalhub_server.web.origin_policy import OriginPolicy
from evalhub_server.web.paths import METRICS_PATH
from evalhub_server.web.request import READ_METHODS
from evalhub_server.web.request_context import TRACE_HEADER, refuse_repeated, trace_id_of
from evalhub_server.web.responses import NOSNIFF, NOT_FOUND, RawResponse, error_response, raw_response
from evalhub_server.web.services import Services

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"

SHOW_METRICS = Operation(
    success=Success(description="All metrics.", media_types=(CONTENT_TYPE,), schema={"type": "string"})
)


@route(METRICS_PATH, http_method=READ_METHODS, operation=SHOW_METRICS)
async def show_metrics(services: NamedDependency[Services]) -> RawResponse:
    """Get the metrics of the server, in Prometheus's text format.

    Only in local mode; in a cluster metrics have a port of their own.
    """
    return raw_response(await services.metrics.text(), CONTENT_TYPE)


def metrics_app(
    metrics: Metrics,
    policy: OriginPolicy,
    credentials: Credentials | None,
    scrape_credentials: Credentials | None = None,
) -> ASGIApp:
    """The application of the metrics listener, with the API's rules for ``Host`` and the tokens.

    As in the contract it answers any method, with a request id.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        fields: dict[bytes, bytes] = dict(reversed(list(scope["headers"])))  # the first of repeated ones
        trace_id = trace_id_of(fields.get(TRACE_HEADER))
        headers = NOSNIFF, (TRACE_HEADER, trace_id.encode("ascii"))
        try:
            if len(fields) != len(list(scope["headers"])):
                refuse_repeated(scope["headers"])
            policy.check_host(scope["http_version"], fields)
            check_scrape(scrape_credentials, credentials, fields.get(b"authorization", b""))
        except ApiError as error:
            response = error_response(error, trace_id, *headers)
        else:
            response = raw_response(NOT_FOUND, "text/plain; charset=utf-8", 404, *headers)
            if scope["path"] == METRICS_PATH:
                response = raw_response(await metrics.text(), CONTENT_TYPE, 200, *headers)
        await response(scope, receive, send)

    return app

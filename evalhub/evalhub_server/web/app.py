"""The ASGI application, made from the services it serves."""

from __future__ import annotations

from collections.abc import Callable

from litestar import Litestar
from litestar.plugins import PluginProtocol
from litestar.types import ASGIApp

from evalhub_server.engine.jobs import JobService
from evalhub_server.engine.resources import ResourceService
from evalhub_server.settings import Settings
from evalhub_server.web.collections import collection_routes
from evalhub_server.web.credentials import Credentials
from evalhub_server.web.dispatch import Dispatch
from evalhub_server.web.docs import document_routes
from evalhub_server.web.errors import EXCEPTION_HANDLERS
from evalhub_server.web.health import health
from evalhub_server.web.jobs import job_routes
from evalhub_server.web.log_routes import log_routes
from evalhub_server.web.metrics import Metrics, metrics_route
from evalhub_server.web.middleware import Gateway
from evalhub_server.web.providers import provider_routes


def make_app(
    settings: Settings,
    jobs: JobService,
    resources: ResourceService,
    metrics: Metrics,
    credentials: Credentials | None = None,
    around_routes: Callable[[ASGIApp], ASGIApp] | None = None,
) -> ASGIApp:
    """Routes inside, one middleware around them.

    ``metrics`` are among the routes in local mode only. Without ``credentials`` nobody is asked for a token.
    ``around_routes`` wraps the routes inside the middleware.
    """
    service = settings.service
    body_limit_bytes = service.body_limit_bytes
    app = _Application(
        route_handlers=[
            health,
            *job_routes(jobs, body_limit_bytes),
            *log_routes(jobs, service.max_log_response_bytes, service.log_stream_timeout),
            *provider_routes(resources, body_limit_bytes),
            *collection_routes(resources, body_limit_bytes),
            *document_routes(),
            *([metrics_route(metrics)] if settings.local else []),
        ],
        middleware=[Dispatch],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,  # read_body has the contract's answer
    )
    routes = around_routes(app) if around_routes else app
    return Gateway(routes, settings, metrics.http, credentials)


class _Application(Litestar):
    """Litestar without its plugins for other libraries' models: they import pydantic wherever that is installed, beside the
    SDK for example, which takes as long as everything else of a start.
    """

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return plugins

"""The routes of the API on Litestar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.plugins import PluginProtocol
from litestar.types import ASGIApp, OnAppInitHandler

from evalhub_server.engine.baselines import BaselineService
from evalhub_server.engine.comparisons import ComparisonService
from evalhub_server.engine.jobs import JobService
from evalhub_server.engine.readiness import ComponentChecks
from evalhub_server.engine.resources import ResourceService
from evalhub_server.engine.sample_store import SampleStore
from evalhub_server.engine.sample_uploads import SampleUploads
from evalhub_server.engine.server_state import ServerState
from evalhub_server.settings import Settings
from evalhub_server.web.artifact_routes import artifact_router
from evalhub_server.web.baselines import baseline_router, pin_router
from evalhub_server.web.collections import collection_router
from evalhub_server.web.comparison_groups import group_comparison_router
from evalhub_server.web.comparison_samples import sample_comparison_router
from evalhub_server.web.comparisons import comparison_router, score_router
from evalhub_server.web.docs import docs, docs_asset, openapi_json, openapi_yaml
from evalhub_server.web.errors import CORS_KEY, EXCEPTION_HANDLERS, PAGES_KEY, refuse_options
from evalhub_server.web.estimates import estimate_router
from evalhub_server.web.export_routes import export_router
from evalhub_server.web.export_table import table_router
from evalhub_server.web.health import health, ready
from evalhub_server.web.job_checks import job_check_router
from evalhub_server.web.jobs import job_router
from evalhub_server.web.leaderboards import leaderboard_router
from evalhub_server.web.log_routes import log_router
from evalhub_server.web.metrics import Metrics
from evalhub_server.web.metrics_routes import show_metrics
from evalhub_server.web.origin_policy import OriginPolicy
from evalhub_server.web.pages import ROOT, Pages
from evalhub_server.web.path_prefix import PathPrefix
from evalhub_server.web.providers import provider_router
from evalhub_server.web.request import SERVICES_KEY, ApiRequest
from evalhub_server.web.reruns import rerun_router
from evalhub_server.web.sample_routes import sample_router
from evalhub_server.web.services import Services
from evalhub_server.web.streams import stream_router
from evalhub_server.web.trends import trend_router

HANDLERS = (
    health,
    ready,
    job_router,
    export_router,
    log_router,
    sample_router,
    artifact_router,
    stream_router,
    rerun_router,
    table_router,
    job_check_router,
    trend_router,
    estimate_router,
    provider_router,
    collection_router,
    comparison_router,
    sample_comparison_router,
    group_comparison_router,
    score_router,
    leaderboard_router,
    baseline_router,
    pin_router,
    openapi_yaml,
    openapi_json,
    docs,
    docs_asset,
)


class Routes(NamedTuple):
    """The routes of the API and of the pages, as :meth:`RequestMiddleware.open` takes them."""

    app: ASGIApp
    prefix: PathPrefix
    pages: Pages | None


def make_routes(
    settings: Settings,
    jobs: JobService,
    resources: ResourceService,
    files: SampleStore,
    uploads: SampleUploads,
    comparisons: ComparisonService,
    baselines: BaselineService,
    metrics: Metrics,
    state: ServerState,
    components: ComponentChecks,
    on_app_init: Sequence[OnAppInitHandler] = (),
    pages: Pages | None = None,
) -> Routes:
    """Build the routes.

    ``on_app_init`` are Litestar's hooks, which may add routes, guards, dependencies and plugins. ``pages`` are pages for people.
    """
    services = Services(
        settings.service, jobs, resources, files, uploads, comparisons, baselines, metrics, state, components
    )
    cors = OriginPolicy(settings, settings.host).cors
    limit_bytes = settings.service.body_limit_bytes  # -1: no limit
    litestar = _Litestar(
        route_handlers=[*HANDLERS, *([show_metrics] if settings.local else [])],
        request_class=ApiRequest,
        dependencies={"services": Provide(lambda: services, use_cache=True, sync_to_thread=False)},
        exception_handlers=EXCEPTION_HANDLERS,
        before_request=None if cors else refuse_options,
        request_max_body_size=None if limit_bytes < 0 else limit_bytes,
        state=State({CORS_KEY: cors, PAGES_KEY: pages, SERVICES_KEY: services}),
        on_app_init=[*on_app_init],
        openapi_config=None,
        logging_config=None,
    )
    paths = [route.path for route in litestar.routes]
    if pages is None:
        return Routes(litestar, PathPrefix(settings.service, paths), None)
    return Routes(pages.around(litestar), PathPrefix(settings.service, [*paths, ROOT]), pages)


class _Litestar(Litestar):
    """Litestar without its default plugins.

    They import pydantic wherever it is installed, for example beside the SDK, which doubles the start-up time.
    """

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return plugins

"""The viewer as a part of a server, imported only if it is enabled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog
from litestar.types import ASGIApp, OnAppInitHandler

from evalhub_server import __version__
from evalhub_server.cli.parts import EngineParts, SelectedPlugins
from evalhub_server.cli.selection import (
    exporter_names,
    observer_names,
    runtime_name,
    selection_warnings,
    storage_name,
    tracker_names,
)
from evalhub_server.engine.readiness import ComponentChecks
from evalhub_server.engine.server_health import ServerFacts, ServerHealth
from evalhub_server.engine.server_state import ServerState
from evalhub_server.plugins.manager import Plugins
from evalhub_server.settings import Settings
from evalhub_server.web.access_policy import is_exposed
from evalhub_server.web.pages import Pages

log = structlog.get_logger()


class ViewerParts(NamedTuple):
    """Arguments of :func:`~evalhub_server.web.app.make_routes`; empty without the viewer."""

    on_app_init: Sequence[OnAppInitHandler] = ()
    around_routes: Sequence[Callable[[ASGIApp], ASGIApp]] = ()
    pages: Pages | None = None


def viewer_parts(
    settings: Settings,
    url: str,
    selected: SelectedPlugins,
    engine: EngineParts,
    state: ServerState,
    checks: ComponentChecks,
    plugins: Plugins,
) -> ViewerParts:
    """The viewer's routes, the middleware around them, and its login. ``url`` is the address of the server."""
    credentials = engine.credentials
    enabled = settings.viewer.enabled
    if enabled is None:
        enabled = settings.local
        if enabled and credentials is None and is_exposed(settings):
            log.warning(
                "Pages are off, because other computers can reach this server and it has no token. Set "
                "service.auth_token_file, or viewer.enabled",
                host=settings.host,
            )
            enabled = False
    if not enabled:
        return ViewerParts()
    from evalhub_server.viewer.app import Viewer
    from evalhub_server.viewer.health_page import ServerParts
    from evalhub_server.viewer.page import PagePaths

    health = ServerHealth(
        _facts(settings, url, selected, engine),
        state,
        checks,
        engine.supervisor,
        engine.outbox,
        engine.targets.keys,
        engine.stored,
    )
    names = {
        ("storage", storage_name(settings)),
        ("runtime", runtime_name(settings)),
        *(("tracker", name) for name in tracker_names(settings)),
        *(("exporter", name) for name in exporter_names(settings)),
        *(("observer", name) for name in observer_names(settings, plugins)),
    }
    viewer = Viewer(settings, credentials, ServerParts(health, plugins.infos, names))
    return ViewerParts((viewer.add_to,), (PagePaths,), viewer)


def _facts(settings: Settings, url: str, selected: SelectedPlugins, engine: EngineParts) -> ServerFacts:
    redact = settings.secrets.redact
    if settings.samples_in_bucket:
        samples = settings.samples.url
    else:
        samples = (
            f"in {settings.samples_dir}" if settings.samples_dir is not None else "in a temporary directory"
        )
    warnings = (*settings.warnings, *selection_warnings(settings))
    return ServerFacts(
        version=__version__,
        url=url,
        local=settings.local,
        exposed=is_exposed(settings),
        authenticated=engine.credentials is not None,
        storage=redact(selected.storage.description),
        durable=selected.storage.durable,
        runtime=selected.runtime.name,
        limits=selected.runtime.limits,
        samples=redact(samples),
        not_kept=engine.samples.files.not_kept,
        data_dir=str(settings.data_dir or ""),
        warnings=[redact(str(warning)) for warning in warnings],
    )

"""The viewer as a part of a server, imported only if it is enabled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog
from litestar.types import ASGIApp, OnAppInitHandler

from evalhub_server.settings import Settings
from evalhub_server.web.access_policy import is_exposed
from evalhub_server.web.credentials import Credentials
from evalhub_server.web.pages import Pages

log = structlog.get_logger()


class ViewerParts(NamedTuple):
    """Arguments of :func:`~evalhub_server.web.app.make_app`; empty without the viewer."""

    on_app_init: Sequence[OnAppInitHandler] = ()
    around_routes: Sequence[Callable[[ASGIApp], ASGIApp]] = ()
    pages: Pages | None = None


def viewer_parts(settings: Settings, credentials: Credentials | None) -> ViewerParts:
    """The viewer's routes, the middleware around them, and its login."""
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
    from evalhub_server.viewer.page import PagePaths

    viewer = Viewer(settings, credentials)
    return ViewerParts((viewer.add_to,), (PagePaths,), viewer)

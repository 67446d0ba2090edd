"""The viewer as a part of a server, imported only if it is enabled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from litestar.types import ASGIApp, OnAppInitHandler

from evalhub_server.settings import Settings


class ViewerParts(NamedTuple):
    """Arguments of :func:`~evalhub_server.web.app.make_app`; empty without the viewer."""

    on_app_init: Sequence[OnAppInitHandler] = ()
    around_routes: Sequence[Callable[[ASGIApp], ASGIApp]] = ()


def viewer_parts(settings: Settings) -> ViewerParts:
    """The viewer's routes, and the middleware around them."""
    if not settings.has_viewer:
        return ViewerParts()
    from evalhub_server.viewer.app import add_viewer
    from evalhub_server.viewer.page import PageFormats

    return ViewerParts((add_viewer,), (PageFormats,))

"""The viewer as a part of a server, imported on the first request for a page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

import structlog
from litestar import Litestar
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

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
from evalhub_server.engine.server_state import ServerState
from evalhub_server.errors import ApiError
from evalhub_server.plugins.manager import Plugins
from evalhub_server.settings import Settings
from evalhub_server.web.access_policy import is_exposed
from evalhub_server.web.credentials import Credentials
from evalhub_server.web.pages import Pages, is_page
from evalhub_server.web.responses import RawResponse

if TYPE_CHECKING:
    from evalhub_server.engine.server_health import ServerFacts
    from evalhub_server.viewer.app import Viewer

log = structlog.get_logger()


class LatePages:
    """The pages of a server, added to its routes on the first request for one; ``build`` imports and returns them.

    Their import and their routes take 45 ms of CPU time and 3 MiB, which a server without visitors saves.
    """

    def __init__(self, build: Callable[[], Viewer]) -> None:
        self._build = build
        self._lock = asyncio.Lock()
        self._api: Litestar | None = None
        self._app: ASGIApp | None = None

    @cached_property
    def _viewer(self) -> Viewer:
        return self._build()

    def around(self, app: Litestar) -> ASGIApp:
        self._api = app
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._api is not None  # noqa: S101  see around
        app: ASGIApp = self._api
        if is_page(scope["path"]):
            app = self._app or await self._open(self._api)
        await app(scope, receive, send)

    async def _open(self, api: Litestar) -> ASGIApp:
        async with self._lock:
            if self._app is None:
                await asyncio.to_thread(import_module, "evalhub_server.viewer.app")
                self._app = self._viewer.around(api)
            return self._app

    def entry(self) -> str:
        return self._viewer.entry()

    def authenticate(
        self, scope: HTTPScope, path: str, fields: Mapping[bytes, bytes], credentials: Credentials
    ) -> RawResponse | None:
        return self._viewer.authenticate(scope, path, fields, credentials)

    def refusal(self, scope: HTTPScope, error: ApiError, trace_id: str) -> RawResponse:
        return self._viewer.refusal(scope, error, trace_id)


def viewer_pages(
    settings: Settings,
    url: str,
    selected: SelectedPlugins,
    engine: EngineParts,
    state: ServerState,
    checks: ComponentChecks,
    plugins: Plugins,
) -> Pages | None:
    """The pages of the viewer; None if it is not enabled. ``url`` is the address of the server."""
    if not _is_enabled(settings, engine.credentials):
        return None

    def build() -> Viewer:
        from evalhub_server.engine.server_health import ServerHealth
        from evalhub_server.viewer.app import Viewer
        from evalhub_server.viewer.health_page import ServerParts

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
        return Viewer(settings, engine.credentials, ServerParts(health, plugins.infos, names))

    return LatePages(build)


def _is_enabled(settings: Settings, credentials: Credentials | None) -> bool:
    """Whether the pages are shown: as configured; by default in local mode, unless other computers can reach a server without a token."""
    enabled = settings.viewer.enabled
    if enabled is not None:
        return enabled
    if settings.local and credentials is None and is_exposed(settings):
        log.warning(
            "Pages are off, because other computers can reach this server and it has no token. Set "
            "service.auth_token_file, or viewer.enabled",
            host=settings.host,
        )
        return False
    return settings.local


def _facts(settings: Settings, url: str, selected: SelectedPlugins, engine: EngineParts) -> ServerFacts:
    from evalhub_server.engine.server_health import ServerFacts

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

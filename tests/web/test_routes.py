"""Litestar's guards, dependencies and hooks on our routes; every route is registered and described."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar, Request, Response, get
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import NotAuthorizedException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.plugins import ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import OnAppInitHandler

from evalhub_server import web
from evalhub_server.cli.server import Server
from evalhub_server.engine.identity import Identity
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.settings import load_settings
from evalhub_server.web.jobs import create_job, get_job, list_jobs, report_event
from evalhub_server.web.openapi.document import make_document
from evalhub_server.web.openapi.operation import Operation
from evalhub_server.web.providers import list_providers
from evalhub_server.web.request import ApiRequest
from harness import Config
from harness.imports import loaded_by
from harness.raw import Answer, raw_request
from harness.server import API


@asynccontextmanager
async def served(folder: Path, *hooks: OnAppInitHandler) -> AsyncGenerator[Server]:
    """The whole server in this process, with ``on_app_init`` hooks."""
    config = Config(folder / "config")
    settings = load_settings(local=True, configdir=config.folder, environ={"PORT": "0"})
    async with Server(settings, load_plugins(), hooks) as server:
        serving = asyncio.create_task(server.serve(), name="server")
        try:
            yield server
        finally:
            server.stop()
            await serving


class RouteCollector(ReceiveRoutePlugin):
    """The handlers that an application registers."""

    def __init__(self) -> None:
        self.handlers: list[HTTPRouteHandler] = []

    def receive_route(self, route: BaseRoute) -> None:
        if isinstance(route, HTTPRoute):
            self.handlers += route.route_handlers


async def request(server: Server, method: str, path: str, *fields: str) -> Answer:
    port = int(server.url.rpartition(":")[2])
    return await asyncio.to_thread(raw_request, port, method, path, *fields)


async def test_the_first_requests_for_pages_add_their_routes_once(tmp_path: Path):
    collector = RouteCollector()

    def collect(config: AppConfig) -> AppConfig:
        config.plugins.append(collector)
        return config

    def pages() -> list[str]:
        return [path for each in collector.handlers for path in each.paths if path == "/jobs"]

    async with served(tmp_path, collect) as server:
        assert (await request(server, "GET", f"{API}/jobs")).status == 200
        without = pages()
        answers = await asyncio.gather(*(request(server, "GET", "/ui/jobs") for _ in range(4)))
        assert [each.status for each in answers] == [200] * 4
        assert len(pages()) == len(without) + 1
        assert (await request(server, "GET", "/ui/no-such-page")).status == 404
        assert (await request(server, "GET", "/ui/api/v1/evaluations/jobs")).status == 200


async def test_a_guard_acts_on_every_route(tmp_path: Path):
    def deny_mallory(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        if isinstance(connection, ApiRequest) and connection.identity.user == "mallory":
            raise NotAuthorizedException("mallory is not allowed")

    def add_guard(config: AppConfig) -> AppConfig:
        config.guards = [deny_mallory]
        return config

    async with served(tmp_path, add_guard) as server:
        for path in ("jobs", "providers", "collections", "jobs/no-such-job", "jobs/no-such-job/logs"):
            denied = await request(server, "GET", f"{API}/{path}", "X-User: mallory")
            assert (denied.status, denied.body["message_code"]) == (401, "unauthorized"), path
            assert "mallory is not allowed" in denied.body["message"]
            allowed = await request(server, "GET", f"{API}/{path}", "X-User: ada")
            assert allowed.status in (200, 404), path


async def test_exception_handlers_act_on_every_route_and_frequent_ones_collect_them_once(tmp_path: Path):
    class Teapot(Exception):
        pass

    def refuse(_connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        raise Teapot

    def brew(_request: Request[Any, Any, Any], _error: Exception) -> Response[dict[str, str]]:
        return Response({"shape": "short and stout"}, status_code=418)

    collector = RouteCollector()

    def configure(config: AppConfig) -> AppConfig:
        config.guards = [refuse]
        config.exception_handlers[Teapot] = brew
        config.plugins.append(collector)
        return config

    async with served(tmp_path, configure) as server:
        for path in ("jobs", "jobs/no-such-job", "providers", "collections"):
            answer = await request(server, "GET", f"{API}/{path}")
            assert (answer.status, answer.body) == (418, {"shape": "short and stout"}), path
    frequent = (list_jobs, get_job, create_job, report_event, list_providers)
    handlers = [each for each in collector.handlers if each.fn in {route.fn for route in frequent}]
    assert len(handlers) == len(frequent)
    for handler in handlers:
        assert handler.resolve_exception_handlers() is handler.resolve_exception_handlers()


async def test_a_dependency_reaches_a_handler(tmp_path: Path):
    async def user(request: ApiRequest) -> str:
        return request.identity.user

    @get(f"{API}/greeting", include_in_schema=False)
    async def greeting(user: NamedDependency[str]) -> dict[str, str]:
        return {"hello": user}

    def add_route(config: AppConfig) -> AppConfig:
        config.route_handlers.append(greeting)
        config.dependencies["user"] = Provide(user)
        return config

    async with served(tmp_path, add_route) as server:
        answer = await request(server, "GET", f"{API}/greeting", "X-User: ada")
        assert (answer.status, answer.body) == (200, {"hello": "ada"})


async def test_an_after_response_hook_is_called(tmp_path: Path):
    seen: list[tuple[str, Identity]] = []

    async def note(request: Request[Any, Any, Any]) -> None:
        assert isinstance(request, ApiRequest)
        seen.append((request.url.path, request.identity))

    def add_hook(config: AppConfig) -> AppConfig:
        config.after_response = note
        return config

    async with served(tmp_path, add_hook) as server:
        await request(server, "GET", "/api/v1/ready")
        await request(server, "HEAD", f"{API}/jobs", "X-Tenant: t")
    assert seen == [("/api/v1/ready", Identity()), (f"{API}/jobs", Identity(tenant="t"))]


async def test_health_is_answered_without_a_route(tmp_path: Path):
    seen: list[str] = []

    async def note(request: Request[Any, Any, Any]) -> None:
        seen.append(request.method)

    def add_hook(config: AppConfig) -> AppConfig:
        config.before_request = note
        return config

    async with served(tmp_path, add_hook) as server:
        answer = await request(server, "GET", "/api/v1/health")
        assert (answer.status, answer.body["status"]) == (200, "healthy")
        assert (await request(server, "HEAD", "/api/v1/health")).status == 200
        assert seen == []
        assert (await request(server, "POST", "/api/v1/health")).status == 405
        exposition = await request(server, "GET", "/metrics")
    labels = 'http_request_method="GET",http_response_status_code="200",http_route="/api/v1/health"'
    assert f"http_server_request_count_total{{{labels}}} 1.0" in exposition.body


async def test_every_handler_is_registered_and_described(tmp_path: Path):
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(web.__path__, f"{web.__name__}.")
    ]
    handlers = {
        value.fn
        for module in modules
        for value in vars(module).values()
        if isinstance(value, HTTPRouteHandler)
    }
    collector = RouteCollector()

    def add_plugin(config: AppConfig) -> AppConfig:
        config.plugins.append(collector)
        return config

    async with served(tmp_path, add_plugin):
        pass
    assert len(handlers) > 20
    assert handlers - {handler.fn for handler in collector.handlers} == set()
    for handler in collector.handlers:
        if handler.resolve_include_in_schema():
            assert isinstance(handler.opt.get("operation"), Operation), handler


def test_a_route_without_openapi_data_is_an_error():
    @get("/new")
    async def new() -> None: ...

    with pytest.raises(LookupError, match="GET /new: new has no operation"):
        make_document(Litestar([new], openapi_config=None).routes)


def test_litestars_default_plugins_still_import_pydantic():
    """The reason for the override in ``web/app.py``; without it, the override can go."""
    assert "pydantic" in loaded_by("from litestar import Litestar\nLitestar([], openapi_config=None)")

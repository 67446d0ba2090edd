"""Requests while the server starts: health is answered, and the others wait for their routes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

from evalhub_server.cli.server import Server
from evalhub_server.errors import StartupError
from evalhub_server.plugins import Descriptor, JobChanged, NoSettings, Observer, hookimpl
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.settings import load_settings
from harness import Config
from harness.raw import Answer, raw_request
from harness.server import API
from harness.waiting import free_port

HEALTH = "/api/v1/health"
OTHERS = (
    "/api/v1/ready",
    f"{API}/jobs",
    f"{API}/providers",
    "/docs",
    "/metrics",
    "/ui/jobs",
    "/proxied/ui/jobs",
)


_clients = ThreadPoolExecutor(16, "client")


class Checks:
    """The state of the observer's check, which holds the start."""

    def __init__(self) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None


checks: Checks


class HeldObserver(Observer):
    name = "held"

    async def check(self) -> None:
        checks.begun.set()
        await checks.go_on.wait()
        if checks.error is not None:
            raise checks.error

    def job_changed(self, change: JobChanged) -> None:
        pass


@hookimpl
def evalhub_observers() -> Sequence[Descriptor[Observer, Any]]:
    return [Descriptor(api=1, name="held", factory=lambda *_: HeldObserver(), settings=NoSettings)]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """One that is not open yet, with the observer."""
    global checks  # noqa: PLW0603  the plugin is a module
    checks = Checks()
    monkeypatch.setitem(sys.modules, "held_observer", sys.modules[__name__])
    group = "evalhub.plugins"
    plugins = load_plugins([*entry_points(group=group), EntryPoint("held", "held_observer", group)])
    config = Config(tmp_path / "config", service={"port": free_port(), "root_path": "/proxied"})
    settings = load_settings(local=True, configdir=config.folder, environ={})
    assert not plugins.broken
    return Server(settings, plugins)


async def request(server: Server, path: str, method: str = "GET", *fields: str) -> Answer:
    port = server.settings.service.port
    return await asyncio.get_running_loop().run_in_executor(
        _clients, raw_request, port, method, path, *fields
    )


@contextlib.asynccontextmanager
async def starting(server: Server) -> AsyncGenerator[asyncio.Task[None]]:
    """A task that opens the server and serves; its start is held by the observer."""

    async def serve() -> None:
        async with server:
            await server.serve()

    running = asyncio.create_task(serve(), name="server")
    await checks.begun.wait()
    try:
        yield running
    finally:
        checks.go_on.set()
        server.stop()
        await asyncio.wait([running])


async def test_health_is_answered_and_other_requests_wait(server: Server):
    async with starting(server) as running:
        waiting = {path: asyncio.create_task(request(server, path)) for path in (*OTHERS, "/nowhere")}
        for path in (HEALTH, f"/proxied{HEALTH}"):
            answer = await request(server, path)
            assert (answer.status, answer.body["status"]) == (200, "healthy"), path
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await request(server, HEALTH, "HEAD")).status == 200
        assert (await request(server, HEALTH, "GET", "Host: evil.example")).refusal[0] == 403
        posted = asyncio.create_task(request(server, HEALTH, "POST"))
        assert not any(task.done() for task in (*waiting.values(), posted))
        checks.go_on.set()
        statuses = {path: (await task).status for path, task in waiting.items()}
        assert statuses == dict.fromkeys(OTHERS, 200) | {"/nowhere": 404}
        assert (await posted).status == 405
        server.stop()
        await running


async def test_a_request_that_waits_is_answered_if_the_start_fails(server: Server):
    async with starting(server) as running:
        waiting = asyncio.create_task(request(server, f"{API}/jobs"))
        assert (await request(server, HEALTH)).status == 200
        checks.error = StartupError("the observer cannot work")
        checks.go_on.set()
        with pytest.raises(StartupError, match="the observer cannot work"):
            await running
        with contextlib.suppress(ConnectionError):  # it was not accepted yet
            assert (await waiting).refusal == (503, "server_stopping")


async def test_a_stop_during_the_start_ends_it(server: Server):
    async with starting(server) as running:
        assert (await request(server, HEALTH)).status == 200
        server.stop()
        checks.go_on.set()
        await running
        with pytest.raises(ConnectionError):
            await request(server, HEALTH)

"""Modules that a start imports."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from harness.imports import loaded_by

START = """
from evalhub_server.cli.serve import run_async
from evalhub_server.cli.server import Server
from evalhub_server.logs import configure_logs
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.settings import load_settings

async def start():
    plugins = load_plugins()
    settings = load_settings(local=True, configdir=None, data_dir=None, plugin_sections=plugins.sections())
    async with Server(settings, plugins):
        pass

configure_logs("error")
run_async(start())
"""


def test_start_up_does_not_import_optional_or_rarely_used_modules() -> None:
    heavy = {
        "aiohttp",
        "asyncpg",
        "jsonpatch",
        "evalhub_server.web.openapi.document",
        "kubernetes_asyncio",
        "opentelemetry.sdk",
        "prometheus_client",
        "pydantic",
    }
    assert not heavy & loaded_by(START, env={"PORT": "0"})


def test_health_is_answered_before_the_routes_and_their_framework_are_imported() -> None:
    loaded = loaded_by("import evalhub_server.cli.serve")
    late = {"jinja2", "litestar", "psutil", "sqlite3", "evalhub_server.engine.jobs", "evalhub_server.viewer"}
    assert not late & loaded
    assert {"uvicorn", "evalhub_server.web.middleware"} <= loaded


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_import_nothing_of_a_server(option: str) -> None:
    code = f"""
import contextlib, io
from evalhub_server.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    assert main(["{option}"]) == 0
"""
    packages = {name.partition(".")[0] for name in loaded_by(code)}
    server = {"aiohttp", "asyncio", "litestar", "pluggy", "rich", "sqlite3", "structlog", "uvicorn", "yaml"}
    assert not server & packages
    assert not {
        name
        for name in packages
        if name.startswith("evalhub_") and name not in ("evalhub_server", "evalhub_common")
    }


SERVE = """
import atexit, sys
from evalhub_server.cli import main
atexit.register(lambda: print(*sys.modules))
sys.exit(main(["--local"]))
"""


def test_a_running_server_has_imported_neither_rich_nor_rich_click() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVE],
        env={**os.environ, "PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert any("API Server starting" in line for line in process.stderr)
        process.terminate()
        loaded, _ = process.communicate(timeout=60)
    packages = {module.partition(".")[0] for module in loaded.split()}
    assert process.returncode == 0
    assert {"click", "litestar", "structlog"} <= packages
    assert not {"argparse", "greenlet", "jsonpatch", "rich", "rich_click"} & packages

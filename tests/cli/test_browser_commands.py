"""``ui``, ``serve --open`` and ``demo --keep``, with a program in place of a browser."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Config, RunningServer, wait_until
from harness.program import run_program
from harness.waiting import free_port

TOKEN = "0123456789abcdef0123456789abcdef"
MAIN = [sys.executable, "-m", "evalhub_server"]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment whose browser appends the addresses that it gets to a file, ``opened``."""
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/opened\n')
    browser.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EVALHUB_")}
    return {**kept, "BROWSER": str(browser)}


def opened(folder: Path) -> list[str]:
    file = folder / "opened"
    return file.read_text().split() if file.exists() else []


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "token").write_text(TOKEN)
    config = Config(folder / "config", service={"port": 0, "auth_token_file": str(folder / "token")})
    with RunningServer(config.folder) as running:
        yield running


def ui(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_program("ui", *arguments, env=env)


def test_ui_logs_the_browser_in(guarded: RunningServer, env: dict[str, str], tmp_path: Path):
    url = f"http://localhost:{guarded.port}"
    done = ui({**env, "EVALHUB_BASE_URL": url, "EVALHUB_TOKEN": TOKEN})
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    wait_until(lambda: opened(tmp_path), "the browser")
    (link,) = opened(tmp_path)
    assert link.startswith(f"{url}/ui/login?once=")
    assert TOKEN not in link
    assert guarded.call("GET", link.removeprefix(url)).headers["location"] == "/ui/jobs"


def test_ui_prints_the_address_without_a_browser(guarded: RunningServer, env: dict[str, str]):
    url = f"http://localhost:{guarded.port}"
    without = {
        name: value for name, value in env.items() if name not in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    }
    done = ui({**without, "EVALHUB_TOKEN": TOKEN}, "--server", url)
    assert done.stdout.startswith(f"{url}/ui/login?once=")
    assert ui({**env, "EVALHUB_TOKEN": "wrong"}, "--server", url, "--print").returncode == 69
    assert "cannot be reached" in ui(env, "--server", f"http://localhost:{free_port()}").stderr


def test_ui_without_a_server_says_how_to_start_one(env: dict[str, str]):
    port = free_port()
    done = ui({**env, "PORT": str(port), "EVALHUB_DATA_DIR": "/data dir"})
    assert done.returncode == 69
    assert f"http://localhost:{port} cannot be reached" in done.stderr
    assert "eval-hub-server serve --local --open --data-dir '/data dir'" in done.stderr


def test_ui_says_that_a_server_has_no_pages(env: dict[str, str], tmp_path: Path):
    config = Config(tmp_path / "config", viewer={"enabled": False})
    with RunningServer(config.folder) as server:
        done = ui(env, "--server", f"http://localhost:{server.port}")
        assert done.returncode == 69
        assert "/ui/jobs.json" in done.stderr


@pytest.mark.parametrize(
    "command", [["serve", "--local", "--open"], ["demo", "--keep", "--num-examples", "1"]]
)
def test_a_server_opens_its_pages(env: dict[str, str], tmp_path: Path, command: list[str]):
    env = {**env, "PORT": "0", "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [*MAIN, *command], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            wait_until(lambda: opened(tmp_path), "the browser", timeout_s=60)
            (address,) = opened(tmp_path)
            assert "/ui/jobs" in address
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors

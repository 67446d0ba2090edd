"""The command blocks of README and documentation run as they are written."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.answering import AnsweringServer, Reply, Request
from harness.markdown import Block, blocks
from harness.running import call
from harness.waiting import free_port, wait_until

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
SHELL = ("bash", "console", "sh")
MARKERS = {"command", "file", "not run", "run", "run until"}
RUN = {"file", "run", "run until"}
MANY_PROGRAMS = {
    "docs/how-to/back-up.md",
    "docs/how-to/measure-latency.md",
    "docs/how-to/run-from-the-command-line.md",
    "docs/tutorials/first-comparison.md",
}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_each_command_block_is_run_or_says_why_not():
    for page in PAGES:
        for block in blocks(page):
            place = f"{name_of(page)}:{block.line}"
            assert block.marker in MARKERS | {""}, place
            assert block.marker or block.language not in SHELL, f"{place} has no marker"
            assert block.argument or block.marker != "not run", f"{place} gives no reason"


def test_no_command_block_is_indented():
    """The markers are found at the beginning of a line only."""
    for page in PAGES:
        assert not re.findall(r"^[ ]+```(?:bash|console|sh)$", page.read_text("utf-8"), re.MULTILINE), page


def answer(request: Request) -> Reply:
    """A model that knows every capital but one, and calls the others by their names."""
    text = str(request.document["messages"])
    capitals = {"France": "Paris", "Japan": "It is Tokyo.", "Kenya": "Nairobi"}
    content = next((capital for country, capital in capitals.items() if country in text), "42")
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return Reply(200, msgspec.json.encode({"choices": [choice]}), {"Content-Type": "application/json"})


class Page:
    """Runs the blocks of a page in one shell session: variables and the directory stay from block to block."""

    def __init__(self, folder: Path, model_port: int) -> None:
        self.folder = folder
        self.port = free_port()
        self._model_port = model_port
        self._servers: list[subprocess.Popen[bytes]] = []
        self._env = {
            **{name: value for name, value in os.environ.items() if name not in ("API_HOST", "LOG_FORMAT")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "PORT": str(self.port),
        }
        self._state = folder / ".session"
        self._state.write_text("", "utf-8")

    def run(self, block: Block) -> None:
        text = block.text.replace("localhost:8080", f"localhost:{self.port}")
        text = text.replace("localhost:11434", f"localhost:{self._model_port}")
        if block.marker == "file":
            file = self.folder / block.argument
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        elif block.argument == "background":
            self._start(text)
        elif block.marker == "run until":
            wait_until(lambda: block.argument in self.shell(text), f"{block.argument!r} (line {block.line})")
        else:
            self.shell(text)

    def shell(self, text: str) -> str:
        script = f"set -a -euo pipefail\n. {self._state}\n{text}\nexport -p > {self._state}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _start(self, text: str) -> None:
        with (self.folder / "server.log").open("ab") as log:
            server = subprocess.Popen(
                ["bash", "-c", f"exec {text.strip()}"], cwd=self.folder, env=self._env, stdout=log, stderr=log
            )
        self._servers.append(server)
        wait_until(self._answers, "the server")

    def _answers(self) -> bool:
        try:
            # Health is answered before the database is open, which the next command of a page may read.
            return call(self.port, "GET", "/api/v1/ready").status == 200
        except OSError:
            return False

    def stop(self) -> None:
        for server in self._servers:
            server.send_signal(signal.SIGINT)
        for server in self._servers:
            assert server.wait(30) in (0, 130)

    def log(self) -> str:
        return (self.folder / "server.log").read_text("utf-8")


@pytest.fixture
def model() -> Iterator[AnsweringServer]:
    with AnsweringServer(answer) as server:
        yield server


def runnable(page: Path) -> bool:
    return any(block.marker in RUN for block in blocks(page))


def pages() -> list[Any]:
    """The pages with commands; those that run many programs are slow."""
    return [
        pytest.param(name, marks=[pytest.mark.slow] if name in MANY_PROGRAMS else [])
        for name in (name_of(page) for page in PAGES if runnable(page))
    ]


@pytest.mark.parametrize("name", pages())
def test_the_commands_of_a_page_work(name: str, model: AnsweringServer, tmp_path: Path):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    page = Page(tmp_path, model.port)
    try:
        for block in blocks(ROOT / name):
            if block.marker in RUN:
                page.run(block)
    finally:
        page.stop()
    if name == "docs/tutorials/local-mode.md":
        tutorial_logs(page)


def tutorial_logs(page: Page) -> None:
    """The server logs what the tutorial says; no terminal, so JSON."""
    lines = [msgspec.json.decode(line) for line in page.log().splitlines()]
    messages = {line["msg"] for line in lines}
    assert {
        "local runtime job spec written",
        "local runtime log file created",
        "local runtime process started",
    } <= messages
    started = next(line for line in lines if line["msg"] == "local runtime process started")
    assert started["command"] == "python capitals.py"
    assert started["pid"] > 0
    assert {"level", "ts"} <= set(started)

"""``export --html``: pages of jobs in a folder."""

from __future__ import annotations

import html
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Config, RunningServer
from harness.program import run_program
from harness.viewer_data.server import ViewerServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ViewerServer]:
    with ViewerServer(tmp_path_factory.mktemp("site"), past_jobs=0) as running:
        yield running


def export_from(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_program("export", "--server", url, *arguments)


def export(server: ViewerServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    return export_from(f"http://127.0.0.1:{server.port}", *arguments)


def test_a_job_is_a_folder_of_linked_pages(server: ViewerServer, tmp_path: Path):
    done = export(server, "--html", str(tmp_path / "site"), server.jobs.hostile)
    assert done.returncode == 0, done.stderr
    files = {file.name: file.read_text("utf-8") for file in (tmp_path / "site").iterdir()}
    assert done.stdout == f"{len(files)} pages in {tmp_path / 'site'}\n"
    reached, waiting = set[str](), ["index.html"]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        assert "<script" not in files[name]
        links = {html.unescape(link) for link in re.findall(r' href="([^"]*)"', files[name])}
        local = {link for link in links if not link.startswith(("http://127.0.0.1", "#"))}
        assert local <= files.keys(), name
        waiting += local - reached - set(waiting)
    assert reached == files.keys()


def test_pages_of_a_server_with_a_path_prefix_are_linked(tmp_path: Path):
    config = Config(tmp_path / "config", service={"root_path": "/hub"})
    config.provider("exit 3", "b")
    with RunningServer(config.folder) as server:
        job = server.submit("b")
        done = export_from(f"http://127.0.0.1:{server.port}/hub", "--html", str(tmp_path / "site"), job)
    assert done.returncode == 0, done.stderr
    index = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert f'href="{job}-0.html"' in index


@pytest.mark.slow
def test_jobs_are_compared_on_the_first_page(server: ViewerServer, tmp_path: Path):
    first, second, *_ = server.jobs.suites.values()
    assert export(server, "--html", str(tmp_path / "site"), first, second).returncode == 0
    index = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert f'href="{first}.html"' in index
    assert f'href="{second}.html"' in index


def test_wrong_usage_writes_nothing(server: ViewerServer, tmp_path: Path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for arguments in (
        ["--html", str(tmp_path / "new")],
        ["--html", str(tmp_path / "full"), server.jobs.hostile],
        ["--html", str(tmp_path / "new"), "--json", server.jobs.hostile],
        ["--html", str(tmp_path / "new"), "no-such-job"],
    ):
        assert export(server, *arguments).returncode == 64, arguments
    assert not (tmp_path / "new").exists()

"""``/docs`` in a real browser, offline."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Config, RunningServer
from harness.browser import CHROMIUM, browse


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(Config(tmp_path_factory.mktemp("docs") / "config").folder) as running:
        yield running


def test_the_page_may_load_files_of_this_server_only(server: RunningServer):
    answer = server.call("GET", "/docs")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["cache-control"] == "no-cache, no-store, must-revalidate"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert re.findall(r"https?:|//", answer.body) == []
    assets = re.findall(r'(?:src|href)="(docs/[^"]+)"', answer.body)
    assert len(assets) == 4
    for asset in assets:
        served = server.call("HEAD", f"/{asset}")
        assert (served.status, served.headers["x-content-type-options"]) == (200, "nosniff")


@pytest.mark.parametrize("name", ["index.html", "..%2Fdocs.html", "%2e%2e", "swagger-ui.css.map"])
def test_other_files_are_not_served(server: RunningServer, name: str):
    assert server.call("GET", f"/docs/{name}").body == "404 page not found\n"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_a_browser_shows_every_operation_without_a_network(server: RunningServer, tmp_path: Path):
    page = browse(f"http://127.0.0.1:{server.port}/docs", tmp_path)
    document = server.get("/openapi.json")
    shown = set(re.findall(r'<div class="opblock[^"]*" id="operations-[a-z]+-(\w+)"', page.dom))
    assert shown == {
        operation["operationId"] for path in document["paths"].values() for operation in path.values()
    }
    assert document["info"]["title"] in page.dom
    assert page.hosts == {"127.0.0.1"}
    assert page.console == []

"""``/docs`` in a real browser, offline."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from harness import Config, RunningServer
from harness.browser import Browser, needs_chromium


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
@needs_chromium
def test_a_browser_shows_every_operation_without_a_network(server: RunningServer):
    document = server.get("/openapi.json")
    expected = {
        operation["operationId"] for path in document["paths"].values() for operation in path.values()
    }
    with Browser() as browser, browser.tab() as tab:
        tab.open(f"http://127.0.0.1:{server.port}/docs")
        tab.page.wait_for_selector(".opblock")
        dom = tab.page.content()
    shown = set(re.findall(r'<div class="opblock[^"]*" id="operations-[a-z]+-(\w+)"', dom))
    assert shown == expected
    assert document["info"]["title"] in dom
    assert tab.hosts == {"127.0.0.1"}
    assert (tab.console, tab.csp_reports) == ([], [])

"""Cross-site requests of pages in a real browser to a server on the same computer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from harness import Config, RunningServer, wait_until
from harness.answering import AnsweringServer, Reply, Request
from harness.browser import Browser, needs_chromium
from harness.server import API

pytestmark = [pytest.mark.slow, needs_chromium]

SCRIPT = """<body><script>
const server = "http://127.0.0.1:PORT/api/v1", seen = {};
const body = name => JSON.stringify({name, runtime: {local: {command: "id"}}, benchmarks: [{id: "b"}]});
const post = (name, options) => fetch(server + "/evaluations/providers", {method: "POST", body: body(name), ...options});
const tries = {
  read: () => fetch(server + "/evaluations/providers"),
  trace: async () => (await fetch(server + "/health")).headers.get("X-Global-Transaction-Id").length,
  simple: () => post("simple", {mode: "no-cors", headers: {"Content-Type": "text/plain"}}),
  json: () => post("json", {headers: {"Content-Type": "application/json", "X-Tenant": "t", "X-User": "u"}}),
  change: () => fetch(server + "/evaluations/jobs/x", {method: "DELETE"}),
  rebound: () => fetch("http://rebound.example:PORT/api/v1/evaluations/providers", {mode: "no-cors"}),
};
(async () => {
  for (const name in tries) {
    try { const got = await tries[name](); seen[name] = got.status ?? got; } catch { seen[name] = "blocked"; }
  }
  document.body.innerText = JSON.stringify(seen);
})();
</script></body>"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(Config(tmp_path_factory.mktemp("pages") / "config").folder) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


def tried(server: RunningServer, host: str, browser: Browser) -> dict[str, Any]:
    """What became of everything that a page tries that ``host`` serves."""

    def script(_: Request) -> Reply:
        text = SCRIPT.replace("PORT", str(server.port))
        return Reply(200, text.encode(), [("Content-Type", "text/html")])

    with AnsweringServer(script) as site, browser.tab() as tab:
        tab.open(f"http://{host}:{site.port}/")
        tab.page.wait_for_function("document.body.innerText.startsWith('{')")
        return json.loads(tab.text())


def names(server: RunningServer) -> list[str]:
    return [item["name"] for item in server.get(f"{API}/providers")["items"]]


def test_a_page_of_a_foreign_origin_can_neither_read_nor_change_anything(
    server: RunningServer, browser: Browser
):
    seen = tried(server, "evil.example", browser)
    # A status of 0 is an answer that the page may not look at.
    assert seen == {
        "read": "blocked",
        "trace": "blocked",
        "simple": 0,
        "json": "blocked",
        "change": "blocked",
        "rebound": 0,
    }
    assert names(server) == []

    def refused() -> list[str]:
        return [line["method"] for line in server.log_lines() if line.get("code") == 403]

    wait_until(lambda: len(refused()) >= 2, "the lines of the refused requests")
    assert refused() == ["POST", "GET"]  # the preflighted ones never came


def test_dns_rebinding_is_refused(server: RunningServer, browser: Browser):
    with browser.tab() as tab:
        tab.open(f"http://rebound.example:{server.port}/docs")
        assert "host_not_allowed" in tab.text()


def test_a_page_of_this_computer_works(server: RunningServer, browser: Browser):
    seen = tried(server, "127.0.0.1", browser)
    assert seen == {"read": 200, "trace": 36, "simple": 0, "json": 201, "change": 404, "rebound": 0}
    assert sorted(names(server)) == ["json", "simple"]

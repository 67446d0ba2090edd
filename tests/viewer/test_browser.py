"""The test browser reports what a page does wrong, and a page under a strict policy can be examined in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.answering import AnsweringServer, Reply, Request
from harness.browser import NARROW, SCREENSHOTS, Browser, needs_chromium

pytestmark = [needs_chromium, pytest.mark.slow]

STRICT = "default-src 'none'; img-src 'self'; style-src 'self'; require-trusted-types-for 'script'"
GOOD = """<!doctype html><html lang="en"><head><title>Good</title><link rel="icon" href="/icon.svg">
<link rel="stylesheet" href="/style.css"></head><body><main><h1>Good</h1><p>text</p></main></body></html>"""
BAD = """<!doctype html><html><head><title>Bad</title></head><body>
<img src="//evil.example:PORT/pixel.png"><div id="wide">wide</div>
<script>console.warn("noise"); alert("boo"); throw new Error("oops")</script>
<style>#wide {width: 2000px}</style><noscript>plain</noscript></body></html>"""


def serve(request: Request) -> Reply:
    if request.path == "/style.css":
        fields = [("Content-Type", "text/css"), ("Cache-Control", "max-age=1000")]
        return Reply(200, b"body { color: black }" + b" " * 5000, fields)
    if request.path in ("/icon.svg", "/pixel.png"):
        fields = [("Content-Type", "image/svg+xml"), ("Cache-Control", "max-age=1000")]
        return Reply(200, b"<svg xmlns='http://www.w3.org/2000/svg'/>", fields)
    policy = [("Content-Security-Policy", STRICT)] if request.path != "/bad" else []
    port = request.headers["Host"].partition(":")[2]
    text = BAD.replace("PORT", port) if "bad" in request.path else GOOD
    return Reply(200, text.encode(), [("Content-Type", "text/html"), *policy])


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with AnsweringServer(serve) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


def test_a_good_page_has_no_findings(browser: Browser, site: str):
    with browser.tab(theme="dark", size=NARROW) as tab:
        assert tab.open(f"{site}/good", idle=True) == 200
        assert tab.axe() == []
        assert (tab.console, tab.dialogs, tab.csp_reports, tab.overflowing()) == ([], [], [], [])
        assert [(each.path, each.status) for each in tab.requests] == [
            ("/good", 200),
            ("/style.css", 200),
            ("/icon.svg", 200),
        ]
        assert 5000 < tab.requests[1].bytes < 6000
        assert 10 < tab.nodes() < 30
        assert tab.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        tab.forget()
        tab.open(f"{site}/good", idle=True)
        assert [each.path for each in tab.wire] == ["/good"]


def test_all_that_a_bad_page_does_is_recorded(browser: Browser, site: str):
    with browser.tab(size=NARROW) as tab:
        tab.open(f"{site}/bad", idle=True)
        assert tab.hosts == {"127.0.0.1", "evil.example"}
        assert tab.console[0] == "warning: noise"
        assert "uncaught: oops" in tab.console
        assert tab.dialogs == ["boo"]
        assert "wide" in tab.overflowing()[0]
        rules = {each.partition(":")[0] for each in tab.axe()}
        assert {"html-has-lang", "image-alt", "landmark-one-main"} <= rules


def test_blocked_scripts_and_styles_are_reported(browser: Browser, site: str):
    with browser.tab() as tab:
        tab.open(f"{site}/strict-bad", idle=True)
        assert tab.dialogs == []
        assert any("script-src" in each for each in tab.csp_reports)
        assert any("style-src" in each for each in tab.csp_reports)


def test_a_page_without_script_shows_its_alternative(browser: Browser, site: str):
    with browser.tab(script=False) as tab:
        tab.open(f"{site}/bad")
        assert "plain" in tab.text()
        assert (tab.console, tab.dialogs) == ([], [])


def test_screenshots_are_kept_in_a_folder(
    browser: Browser, site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(SCREENSHOTS, str(tmp_path / "shots"))
    with browser.tab() as tab:
        tab.open(f"{site}/good")
        path = tab.screenshot("good", full=True)
    assert path == tmp_path / "shots" / "good.png"
    assert path.read_bytes().startswith(b"\x89PNG")

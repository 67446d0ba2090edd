"""Pages saved as one file, opened from a disk without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.browser import Browser, needs_chromium
from harness.running import call
from harness.viewer_data import ViewerServer
from harness.viewer_data.views import url_of

pytestmark = [pytest.mark.slow, needs_chromium]

OVERHEAD_BYTES = 30 * 1024


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.mark.parametrize("name", ["job", "job-hostile", "sample-hostile", "compare", "leaderboard", "trend"])
def test_a_saved_page_shows_the_same_and_loads_nothing(
    viewer: ViewerServer, browser: Browser, name: str, tmp_path: Path
):
    path, _, query = url_of(viewer, name).partition("?")
    served = call(viewer.port, "GET", f"{path}?{query}").body
    saved = call(viewer.port, "GET", f"{path}.html?{query}").body
    assert len(saved) - len(served) <= OVERHEAD_BYTES
    (tmp_path / "page.html").write_bytes(saved)
    with browser.tab() as tab:
        tab.open(f"http://127.0.0.1:{viewer.port}{path}?{query}")
        title, heading = tab.page.title(), tab.text("h1")
        rows = tab.page.locator("tr").count()
        tab.forget()
        tab.page.goto((tmp_path / "page.html").as_uri())
        assert (tab.page.title(), tab.text("h1")) == (title, heading)
        assert tab.page.locator("tr").count() == rows
        assert tab.page.evaluate("() => getComputedStyle(document.body).margin") == "0px"
        assert (tab.requests, tab.console, tab.dialogs, tab.csp_reports) == ([], [], [], [])
        assert "\n".join(tab.axe()) == ""
        tab.screenshot(f"{name}-saved")

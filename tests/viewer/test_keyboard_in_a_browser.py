"""Keys of all pages in a real browser: the list of shortcuts, and keys that lead to other pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.browser import NARROW, Browser, needs_chromium
from harness.viewer_data import ViewerServer
from harness.waiting import wait_until

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


def test_the_list_of_shortcuts_turns_them_off_and_on(viewer: ViewerServer, browser: Browser):
    url = f"http://127.0.0.1:{viewer.port}/ui/jobs"
    with browser.tab() as tab:
        tab.open(url)
        tab.page.keyboard.press("?")
        assert "Next and previous row" in tab.text("dialog")
        assert tab.axe() == []
        tab.page.set_viewport_size(NARROW)
        assert tab.overflowing() == []
        tab.page.uncheck("dialog input")
        tab.page.keyboard.press("Escape")
        assert tab.page.query_selector("dialog") is None
        tab.page.keyboard.press("?")
        assert tab.page.query_selector("dialog") is None
        tab.page.click("[data-action=shortcuts]")
        tab.page.check("dialog input")
        tab.page.click("dialog button")
        tab.page.keyboard.press("j")
        assert tab.page.query_selector("tr.selected") is not None
        assert tab.console == []


def test_two_keys_lead_to_another_section(viewer: ViewerServer, browser: Browser):
    with browser.tab() as tab:
        tab.open(f"http://127.0.0.1:{viewer.port}/ui/jobs?state=failed")
        tab.page.keyboard.press("g")
        with tab.page.expect_navigation():
            tab.page.keyboard.press("l")
        assert tab.page.url.endswith("/ui/leaderboards")
        tab.page.keyboard.press("x")
        tab.page.keyboard.press("j")
        assert tab.page.url.endswith("/ui/leaderboards")
        with tab.page.expect_navigation():
            tab.page.keyboard.press("g")
            tab.page.keyboard.press("j")
        assert tab.page.url.endswith("/ui/jobs")


def test_the_address_of_a_view_is_copied(viewer: ViewerServer, browser: Browser):
    url = f"http://127.0.0.1:{viewer.port}/ui/jobs?state=failed"
    with browser.tab() as tab:
        tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
        tab.open(url)
        tab.page.keyboard.press("y")
        # The policy of the pages forbids Playwright's own wait for a function.
        wait_until(lambda: tab.page.inner_text("#announcement").startswith("Copied"), "the copy")
        assert tab.page.evaluate("navigator.clipboard.readText()") == url

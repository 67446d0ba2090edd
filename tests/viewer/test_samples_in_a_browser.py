"""Samples in a real browser: the keyboard, and copies of texts exactly as they are."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from harness.browser import Browser, Tab, needs_chromium
from harness.viewer_data import ViewerServer
from harness.viewer_data.hostile import HOSTILE_TEXTS
from harness.waiting import wait_until

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


def place(viewer: ViewerServer, job_id: str, index: int, rest: str) -> str:
    return f"http://127.0.0.1:{viewer.port}/ui/jobs/{job_id}/b/{index}/{rest}"


def press(tab: Tab, key: str) -> str:
    """Press a key that leads to another page; returns its heading."""
    with tab.page.expect_navigation():
        tab.page.keyboard.press(key)
    return tab.text("h1")


def test_keys_walk_through_samples(viewer: ViewerServer, browser: Browser):
    alpha = viewer.jobs.suites["alpha-7b"]
    with browser.tab() as tab:
        tab.open(place(viewer, alpha, 0, "sample?id=q-00005"))
        assert press(tab, "n").startswith("q-00006")
        assert press(tab, "p").startswith("q-00005")
        assert press(tab, "ArrowRight").startswith("q-00006")
        assert press(tab, "ArrowLeft").startswith("q-00005")
        assert press(tab, "e").startswith("q-00007")
        assert press(tab, "m").startswith("q-00009")
        assert press(tab, "u").startswith("Samples")
        tab.page.keyboard.press("/")
        tab.page.keyboard.type("nm")
        assert tab.page.input_value("#q") == "nm", "keys in fields are text"
        assert tab.console == []


def test_arrows_scroll_what_has_the_focus(viewer: ViewerServer, browser: Browser):
    with browser.tab() as tab:
        url = place(viewer, viewer.jobs.suites["alpha-7b"], 0, "sample?id=q-00005")
        tab.open(url)
        tab.page.focus(".panes pre")
        tab.page.keyboard.press("ArrowRight")
        tab.page.keyboard.press("j")
        assert tab.page.url == url


def test_a_copy_is_the_exact_text(viewer: ViewerServer, browser: Browser):
    text = HOSTILE_TEXTS["bidi"]
    with browser.tab() as tab:
        tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
        tab.open(place(viewer, viewer.jobs.hostile, 0, f"sample?id={quote(text)}"))
        tab.page.click("section[aria-labelledby=expected] button")
        # The policy of the pages forbids Playwright's own wait for a function.
        wait_until(lambda: tab.page.inner_text("#announcement").startswith("Copied"), "the copy")
        assert tab.page.evaluate("navigator.clipboard.readText()") == text
        assert "4 of them invisible" in tab.page.inner_text("#announcement")
        assert tab.console == []


def test_columns_are_chosen_by_a_form_of_their_own(viewer: ViewerServer, browser: Browser):
    alpha = viewer.jobs.suites["alpha-7b"]
    with browser.tab() as tab:
        tab.open(
            place(
                viewer,
                alpha,
                0,
                "samples?outcome=failed&cols=input&cols=target&by=topic&metric=brevity:gt:0.5",
            )
        )
        tab.page.click("details.menu:has([form=columns]) summary")
        tab.page.uncheck("[form=columns][value=input]")
        tab.page.check("[form=columns][value=tags]")
        with tab.page.expect_navigation():
            tab.page.click("button[form=columns]")
        query = tab.page.url.partition("?")[2]
        assert query == "cols=target&cols=tags&outcome=failed&metric=brevity%3Agt%3A0.5&by=topic"
        tab.page.fill("#q", "Question")
        with tab.page.expect_navigation():
            tab.page.press("#q", "Enter")
        assert "cols=target&cols=tags" in tab.page.url
        assert "by=topic" in tab.page.url
        assert tab.page.url.count("brevity") == 1
        assert tab.console == []

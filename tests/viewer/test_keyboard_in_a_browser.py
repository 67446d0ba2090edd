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


def test_keys_lead_from_hit_to_hit_and_to_the_next_part(viewer: ViewerServer, browser: Browser):
    path = f"http://127.0.0.1:{viewer.port}/ui/jobs/{viewer.jobs.suites['gamma-70b']}/b/3/logs"
    with browser.tab() as tab:
        tab.open(f"{path}?q=evaluated")
        hits = tab.page.locator("[data-log] mark")
        count = hits.count()
        assert count > 2

        def chosen() -> list[int]:
            return [at for at in range(count) if hits.nth(at).get_attribute("class") == "chosen"]

        for key, place in (("n", 0), ("n", 1), ("p", 0)):
            tab.page.keyboard.press(key)
            assert chosen() == [place]
            assert tab.page.inner_text("#announcement") == f"Hit {place + 1} of {count}"
        tab.page.keyboard.press("p")
        assert tab.page.inner_text("#announcement") == "There is no such link on this page."
        tab.open(f"{path}?from=1")
        for key, shown in (("w", "wrap=0"), ("r", "dedup=off")):
            with tab.page.expect_navigation():
                tab.page.keyboard.press(key)
            assert shown in tab.page.url
        assert tab.console == []


def test_keys_change_the_difference_of_a_sample_and_show_its_json(viewer: ViewerServer, browser: Browser):
    job_id = viewer.jobs.suites["alpha-7b"]
    with browser.tab() as tab:
        tab.open(f"http://127.0.0.1:{viewer.port}/ui/jobs/{job_id}/b/0/sample?id=q-00017&diff=off")
        for mode in ("words", "chars", "off"):
            with tab.page.expect_navigation():
                tab.page.keyboard.press("d")
            assert f"diff={mode}" in tab.page.url
        assert tab.page.query_selector("#json[open]") is None
        tab.page.keyboard.press("r")
        assert tab.page.query_selector("#json[open]") is not None
        assert tab.page.evaluate("document.activeElement.parentElement.id") == "json"
        tab.page.keyboard.press("?")
        assert "Difference of a sample" in tab.text("dialog")
        assert tab.console == []


def test_up_leads_from_a_sample_to_the_list_of_jobs(viewer: ViewerServer, browser: Browser):
    path = f"/ui/jobs/{viewer.jobs.suites['alpha-7b']}"
    with browser.tab() as tab:
        tab.open(f"http://127.0.0.1:{viewer.port}{path}/b/0/sample?id=q-00017")
        for place in (f"{path}/b/0/samples", f"{path}/b/0", path, "/ui/jobs"):
            with tab.page.expect_navigation():
                tab.page.keyboard.press("u")
            assert tab.page.url.endswith(place)

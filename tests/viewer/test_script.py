"""What the script of the pages adds in a browser: live parts, the keyboard, the theme."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from harness import Config, RunningServer, wait_until
from harness.browser import Browser, Tab, needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium]

REFRESH_MS = 3_000
LIVE_BYTES = 5_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("script")
    config = Config(folder / "config")
    config.provider("exec sleep 600 # waits for the test's own events", "b")
    with RunningServer(config.folder, data_dir=folder / "data") as running:
        jobs = [running.submit("b", name=f"job {number}") for number in range(3)]
        running.report(jobs[0], "running", progress={"done": 1, "total": 4})
        yield running
        for job_id in jobs:
            running.call("DELETE", f"/api/v1/evaluations/jobs/{job_id}")


@pytest.fixture
def tab(browser: Browser, server: RunningServer) -> Iterator[Tab]:
    """The list of jobs, whose clock stands still until a test moves it."""
    with browser.tab() as opened:
        opened.page.clock.install()
        opened.open(f"http://127.0.0.1:{server.port}/ui/jobs")
        opened.page.evaluate("() => { window.sameDocument = true; }")
        opened.forget()
        yield opened
        assert (opened.console, opened.dialogs, opened.csp_reports) == ([], [], [])


def job_named(server: RunningServer, name: str) -> str:
    jobs = server.get("/api/v1/evaluations/jobs")["items"]
    return next(job["resource"]["id"] for job in jobs if job["name"] == name)


def refresh(tab: Tab) -> None:
    """Let the time of one refresh pass, and wait for the answer."""
    with tab.page.expect_response(lambda answer: "part=live" in answer.url):
        tab.page.clock.run_for(REFRESH_MS)


def test_progress_appears_without_a_reload(tab: Tab, server: RunningServer):
    assert "25 %" in tab.text("main")
    server.report(job_named(server, "job 0"), "running", progress={"done": 3, "total": 4})
    refresh(tab)
    wait_until(lambda: "75 %" in tab.text("main"), "the progress")
    assert tab.page.evaluate("() => window.sameDocument")


def test_an_unchanged_page_costs_little(tab: Tab):
    refresh(tab)
    tab.forget()
    for _ in range(3):
        refresh(tab)
    assert [each.status for each in tab.requests] == [304] * 3
    assert sum(each.bytes for each in tab.requests) <= LIVE_BYTES


HIDE = "hidden => { Object.defineProperty(document, 'hidden', {configurable: true, value: hidden}); document.dispatchEvent(new Event('visibilitychange')); }"


def test_a_hidden_tab_requests_nothing(tab: Tab):
    tab.page.evaluate(HIDE, True)
    tab.page.clock.run_for(20 * REFRESH_MS)
    assert tab.requests == []
    with tab.page.expect_response(lambda answer: "part=live" in answer.url):
        tab.page.evaluate(HIDE, False)


def test_a_page_that_does_not_change_requests_nothing_when_it_is_shown_again(tab: Tab, server: RunningServer):
    log = f"/ui/jobs/{job_named(server, 'job 0')}/b/0/logs"
    for path in ("/ui/catalog", "/ui/run", log):
        tab.open(f"http://127.0.0.1:{server.port}{path}")
        tab.forget()
        tab.page.evaluate("() => document.getElementById('live')?.setAttribute('data-same', '')")
        tab.page.evaluate(HIDE, True)
        tab.page.evaluate(HIDE, False)
        tab.page.evaluate("fetch('/ui/jobs.json')")  # a request after those that showing the page may send
        requested = [request.path for request in tab.requests if "/assets/" not in request.path]
        assert requested == ["/ui/jobs.json"], path
        assert tab.page.locator("#stale").count() == 0
        assert tab.page.locator("#live").count() == tab.page.locator("#live[data-same]").count()


def test_new_rows_are_announced_and_not_inserted(tab: Tab, server: RunningServer):
    rows = tab.page.locator("tbody tr").count()
    job_id = server.submit("b", name="newest")
    refresh(tab)
    tab.page.get_by_text("1 new").wait_for()
    assert tab.page.locator("tbody tr").count() == rows
    tab.page.get_by_text("1 new").click()
    tab.page.get_by_text("newest").wait_for()
    assert tab.page.locator("tbody tr").count() == rows + 1
    server.call("DELETE", f"/api/v1/evaluations/jobs/{job_id}")


def test_a_lost_connection_is_shown_until_it_is_back(tab: Tab):
    tab.context.set_offline(True)
    tab.page.clock.run_for(REFRESH_MS)
    tab.page.get_by_text("Connection lost").wait_for()
    assert "job 0" in tab.text("main")
    tab.context.set_offline(False)
    with tab.page.expect_response(lambda answer: "part=live" in answer.url):
        tab.page.clock.run_for(2 * REFRESH_MS)
    tab.page.get_by_text("Connection lost").wait_for(state="detached")
    assert [re.sub(r":.*net::", ": ", each) for each in tab.console] == ["error: ERR_INTERNET_DISCONNECTED"]
    tab.forget()


def test_rows_are_reached_by_keys(tab: Tab):
    keyboard = tab.page.keyboard
    keyboard.press("j")
    keyboard.press("j")
    keyboard.press("k")
    focused = "() => document.activeElement.closest('tr')?.rowIndex"
    assert tab.page.evaluate(focused) == 1
    keyboard.press("Control+j")
    assert tab.page.evaluate(focused) == 1
    keyboard.press("/")
    keyboard.type("job j")
    assert tab.page.input_value("#q") == "job j"
    tab.page.locator("body").press("Escape")
    tab.page.evaluate("() => document.activeElement.blur()")
    keyboard.press("j")
    keyboard.press("Enter")
    tab.page.wait_for_url("**/ui/jobs/*-*")
    tab.forget()


def test_the_theme_is_kept(tab: Tab):
    theme = "() => document.documentElement.dataset.theme"
    assert tab.page.evaluate(theme) == "auto"
    tab.page.keyboard.press("t")
    tab.page.get_by_role("button", name="Theme").click()
    assert tab.page.evaluate(theme) == "dark"
    tab.open(tab.page.url)
    assert tab.page.evaluate(theme) == "dark"
    background = "() => getComputedStyle(document.body).backgroundColor"
    assert wait_until(lambda: tab.page.evaluate(background), "a colour") == "rgb(16, 19, 23)"


def test_everything_is_reached_by_the_tab_key(tab: Tab):
    names: list[str] = []
    for _ in range(12):
        tab.page.keyboard.press("Tab")
        names.append(
            tab.page.evaluate("() => document.activeElement.innerText || document.activeElement.placeholder")
        )
    assert names[:7] == [
        "Skip to content",
        "EvalHub",
        "Jobs",
        "Leaderboards",
        "Trend",
        "Catalogue",
        "Health",
    ]
    outlined = "() => getComputedStyle(document.activeElement).outlineStyle"
    assert tab.page.evaluate(outlined) != "none"

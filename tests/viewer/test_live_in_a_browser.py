"""Pages that change while one looks at them, in a real browser: a log that is followed, a job that runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Config, RunningServer
from harness.browser import Browser, Tab, needs_chromium
from harness.waiting import wait_until

pytestmark = [pytest.mark.slow, needs_chromium]

COUNT = 300


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the adapter prints as it grows."""
    path = tmp_path_factory.mktemp("output") / "log"
    path.write_text("".join(f"line {number}\n" for number in range(1, COUNT + 1)))
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, output: Path) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("live") / "config", supervisor={"linger": "50ms"})
    config.provider(f"exec tail -n +1 -f '{output}'", "b")
    with RunningServer(config.folder) as running:
        yield running


def append(output: Path, text: str) -> None:
    with output.open("a") as file:
        file.write(text)


def shows(tab: Tab, text: str) -> None:
    tab.page.get_by_text(text, exact=True).first.wait_for(timeout=20_000)


def holds(tab: Tab, condition: str) -> None:
    """Wait for a condition in JavaScript. The policy of the pages forbids Playwright's own way to do that."""
    wait_until(lambda: tab.page.evaluate(condition), condition)


AT_END = "innerHeight + scrollY >= document.documentElement.scrollHeight - 40"


def test_a_log_is_followed_until_one_scrolls_up(server: RunningServer, browser: Browser, output: Path):
    job_id = server.submit("b", name="talkative")
    path = f"/ui/jobs/{job_id}/b/0/logs"
    wait_until(lambda: f"{COUNT} lines" in server.get(path), "the whole log")
    with browser.tab() as tab:
        page = tab.page
        tab.open(f"http://127.0.0.1:{server.port}{path}")
        holds(tab, AT_END)
        append(output, "appended <b>one</b>\n\x1b[31mtwo\x1b[0m\n")
        shows(tab, "appended <b>one</b>")
        holds(tab, AT_END)
        assert page.locator(f"#L{COUNT + 2} .ansi-1").text_content() == "two"
        assert page.locator("#more-lines").is_hidden()
        page.evaluate("scrollTo(0, 0)")
        append(output, "three\n")
        more = page.get_by_role("button", name="↓ 1 new line")
        more.wait_for(timeout=20_000)
        assert page.evaluate("scrollY") == 0
        more.click()
        holds(tab, AT_END)
        assert more.is_hidden()
        append(output, "".join(f"bulk {number}\n" for number in range(2500)))
        shows(tab, "bulk 2499")
        assert page.locator(".line").count() == 2000
        page.evaluate("location.hash = '#L2700-L2702'")
        holds(tab, "document.querySelectorAll('.line.chosen').length === 3")
        append(output, "no line feed at the end")
        assert server.report(job_id, "completed", metrics={}).status == 204
        shows(tab, "no line feed at the end")
        holds(tab, "document.querySelector('[data-log]').dataset.log === 'ended'")
        assert (tab.console, tab.csp_reports) == ([], [])


def test_a_running_job_is_updated_in_place(server: RunningServer, browser: Browser):
    job_id = server.submit("b", name="long")
    progress = {"done": 5, "total": 10}
    assert server.report(job_id, "running", progress=progress, metrics={"acc": 0.5}).status == 204
    with browser.tab() as tab:
        page = tab.page
        tab.open(f"http://127.0.0.1:{server.port}/ui/jobs/{job_id}")
        page.evaluate("document.getElementById('settings-1').open = false")
        assert tab.page.title() == "◐ 50 % long · m · EvalHub"
        assert server.report(job_id, "running", progress={"done": 7, "total": 10}).status == 204
        shows(tab, "70 %")
        holds(tab, "document.getElementById('announcement').textContent.startsWith('b 70 %')")
        assert not page.evaluate("document.getElementById('settings-1').open")
        assert server.report(job_id, "completed", metrics={"acc": 0.625}).status == 204
        holds(tab, "document.title.startsWith('✓')")
        page.get_by_text("0.625").first.wait_for(timeout=20_000)
        assert (tab.console, tab.csp_reports) == ([], [])

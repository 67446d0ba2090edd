"""Forms in a real browser: its own idea of origins, under an address and under a name, and from another site."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import Config, RunningServer
from harness.answering import AnsweringServer, Reply
from harness.browser import Browser, needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium]

NAME = "evalhub.example"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("forms") / "config", service={"port": 0, "allowed_hosts": [NAME]})
    config.provider("exec sleep 600", "b")
    with RunningServer(config.folder) as running:
        yield running


@pytest.fixture
def job(server: RunningServer) -> Iterator[str]:
    job_id = server.submit("b", name="to be cancelled")
    yield job_id
    server.call("DELETE", f"/api/v1/evaluations/jobs/{job_id}?hard_delete=true")


@pytest.mark.parametrize("host", ["127.0.0.1", NAME])
@pytest.mark.parametrize("script", [True, False])
def test_a_job_is_cancelled(browser: Browser, server: RunningServer, job: str, host: str, script: bool):
    with browser.tab(script=script) as tab:
        tab.open(f"http://{host}:{server.port}/ui/jobs/{job}/cancel")
        tab.page.get_by_role("button", name="Cancel the job").click()
        tab.page.wait_for_url(f"**/ui/jobs/{job}")
        assert "cancelled" in tab.text("main")
        assert (tab.console, tab.csp_reports) == ([], [])
    assert server.job(job)["status"]["state"] == "cancelled"


@pytest.mark.parametrize("script", [True, False])
def test_selected_jobs_are_cancelled(browser: Browser, server: RunningServer, job: str, script: bool):
    other = server.submit("b", name="also to be cancelled")
    with browser.tab(script=script) as tab:
        tab.open(f"http://127.0.0.1:{server.port}/ui/jobs")
        bar = tab.page.get_by_role("button", name="Cancel")
        assert not bar.is_visible()
        for each in (job, other):
            tab.page.locator(f"#job-{each} input").check()
        bar.click()
        tab.page.get_by_role("button", name="Cancel 2 jobs").click()
        tab.page.get_by_role("heading", name="2 of 2 jobs cancelled").wait_for()
        assert (tab.console, tab.csp_reports) == ([], [])
    assert {server.job(each)["status"]["state"] for each in (job, other)} == {"cancelled"}


def test_a_form_of_another_site_changes_nothing(browser: Browser, server: RunningServer, job: str):
    action = f"http://127.0.0.1:{server.port}/ui/jobs/{job}/cancel"
    page = f'<form method="post" action="{action}"><button>Win a prize</button></form>'.encode()
    with AnsweringServer(lambda _: Reply(200, page, [("Content-Type", "text/html")])) as site:
        for host in ("evil.example", "127.0.0.1"):  # another port is another origin, too
            with browser.tab() as tab:
                tab.open(f"http://{host}:{site.port}/")
                tab.page.get_by_role("button").click()
                tab.page.wait_for_url(action)
                assert [each.status for each in tab.requests if each.method == "POST"] == [403]
    assert server.job(job)["status"]["state"] != "cancelled"

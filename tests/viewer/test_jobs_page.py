"""The page of jobs over HTTP."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest

from harness import Config, RunningServer
from harness.server import API
from harness.viewer_data import ViewerServer
from harness.waiting import wait_until


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(
        tmp_path_factory.mktemp("empty") / "config",
        local={"max_parallel": 500},
        supervisor={"linger": "50ms"},
    )
    config.provider("sleep 600 # waits for the test's own events", "b", "c")
    with RunningServer(config.folder) as running:
        yield running


@pytest.fixture(scope="module")
def page_without_jobs(empty: RunningServer) -> str:
    return empty.get("/ui/jobs")


@pytest.fixture(scope="module")
def server(empty: RunningServer, page_without_jobs: str) -> RunningServer:
    """A passed job, one that failed, and one that runs."""
    assert page_without_jobs
    scored = {"primary_score": {"metric": "acc"}, "pass_criteria": {"threshold": 0.8}}
    member = {"id": "b", "provider_id": "scripted", **scored}
    passed = empty.submit(
        name="alpha", benchmarks=[member], tags=["nightly"], pass_criteria={"threshold": 0.8}
    )
    failed = empty.submit("b", name="beta", model={"url": "http://model.test/v1", "name": "m2"})
    running = empty.submit("b", "c", name="gamma <b>\u202eevil</b>")
    assert empty.report(passed, "completed", metrics={"acc": 0.874}).status == 204
    message = {"message": "the backend timed out", "message_code": "x"}
    assert empty.report(failed, "failed", error_message=message).status == 204
    assert empty.report(running, "running", progress={"done": 5, "total": 10}).status == 204
    return empty


def rows(page: str) -> list[str]:
    """The texts of the rows of a page, without markup."""
    found = re.findall(r'<tr id="job-.*?</tr>', page, re.DOTALL)
    return [" ".join(html.unescape(re.sub(r"<[^>]+>", " ", row)).split()) for row in found]


def test_without_jobs_the_page_says_how_to_start_one(page_without_jobs: str):
    assert "No jobs yet" in page_without_jobs
    assert "eval-hub-server run --model-url" in page_without_jobs
    # On this server, and with benchmarks that need no installation.
    assert re.search(r"--collection quickstart-v1 --server http://[\w.:]+</code>", page_without_jobs)


def test_jobs_are_shown_with_state_score_and_reason(server: RunningServer):
    gamma, beta, alpha = rows(server.get("/ui/jobs"))
    assert "✓ completed alpha" in alpha
    assert "0.874 ≥ 0.800" in alpha
    assert "✕ failed beta log · the backend timed out · x m2" in beta
    assert "25 % 0/2" in gamma


def test_hostile_names_are_neutralised(server: RunningServer):
    page = server.get("/ui/jobs")
    assert "\u202e" not in page
    assert "gamma &lt;b&gt;" in page
    assert "⟨RLO⟩" in page


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("state=failed", ["beta"]),
        ("state=failed|completed&sort=name", ["alpha", "beta"]),
        ("model=m2", ["beta"]),
        ("tag=nightly", ["alpha"]),
        ("q=ga", ["gamma"]),
        ("benchmark=c", ["gamma"]),
        ("size=50&offset=2", ["alpha"]),
        ("since=2100-01-01T00:00:00Z", []),
    ],
)
def test_filters_select_rows(server: RunningServer, query: str, names: list[str]):
    page = server.get(f"/ui/jobs?{query}")
    assert [name for row in rows(page) for name in ("alpha", "beta", "gamma") if name in row] == names
    if not names:
        assert "No job matches" in page


def test_the_heading_counts_the_jobs_of_all_states(server: RunningServer):
    page = server.get("/ui/jobs?state=running&q=gamma")
    assert re.search(r"1 of 1 job\s", html.unescape(re.sub(r"<[^>]+>", " ", page)))
    assert re.search(
        r"1 of \d+ jobs\s", html.unescape(re.sub(r"<[^>]+>", " ", server.get("/ui/jobs?state=failed")))
    )


def test_applied_filters_can_be_removed_one_by_one(server: RunningServer):
    page = server.get("/ui/jobs?state=failed&model=m2&sort=name")
    removals = re.findall(r'class="chip-link" href="([^"]+)"', page)
    assert [html.unescape(url) for url in removals] == [
        "/ui/jobs?model=m2&sort=name",
        "/ui/jobs?sort=name&state=failed",
    ]


def test_facets_count_jobs_and_select_them(server: RunningServer):
    page = server.get("/ui/jobs")
    assert '<a href="/ui/jobs?state=failed">failed <span class="count">1</span></a>' in page


def test_pages_of_rows_are_linked(server: RunningServer):
    for number in range(60):
        server.submit("b", name=f"many {number:02}")
    first = server.get("/ui/jobs?q=many&size=50&sort=name")
    assert "1\u201350 of 60" in first
    (following,) = re.findall(r'rel="next" href="([^"]+)"', first)
    last = server.get(html.unescape(following))
    assert "51\u201360 of 60" in last
    assert re.findall(r'rel="next"', last) == []
    assert [row.split()[3] for row in rows(last)] == [f"{number}" for number in range(50, 60)]


def test_a_failed_row_leads_to_its_log(server: RunningServer):
    page = server.get("/ui/jobs?state=failed")
    (path,) = re.findall(r'<div class="reason" title="the backend timed out"><a href="([^"]+)">log</a>', page)
    assert re.fullmatch(r"/ui/jobs/[-0-9a-f]{36}/b/0/logs#end", path)
    assert '<span id="end">' in server.get(path.removesuffix("#end"))


def test_selected_jobs_are_sent_to_the_comparison(server: RunningServer):
    page = server.get("/ui/jobs?q=alpha")
    assert '<form class="selection" method="get" action="/ui/compare">' in page
    assert re.search(
        r'<input type="checkbox" name="job" value="[-0-9a-f]{36}" aria-label="Select alpha">', page
    )


def test_running_jobs_come_first_unless_another_order_is_chosen(server: RunningServer):
    server.submit("b", name="newest")
    first, last = (rows(server.get(f"/ui/jobs{query}"))[0] for query in ("", "?sort=-created_at"))
    assert first.startswith("◐ running")
    assert "newest" in last
    assert server.get("/ui/jobs.json")["items"][0]["status"]["state"] == "running"
    assert "newest" in rows(server.get("/ui/jobs?state=pending"))[0]


def test_selected_jobs_can_be_changed(server: RunningServer):
    page = server.get("/ui/jobs")
    buttons = re.findall(r'<button type="submit" formaction="/ui/selection/([a-z]+)">([^<]+)<', page)
    assert buttons == [("cancel", "Cancel"), ("rerun", "Run again"), ("delete", "Delete")]


def test_scores_have_intervals_once_they_are_known(server: RunningServer):
    member = {
        "id": "b",
        "provider_id": "scripted",
        "primary_score": {"metric": "acc"},
        "pass_criteria": {"threshold": 0.82},
    }
    job_id = server.submit(name="law", benchmarks=[member])
    samples = "".join(
        f'{{"sample_id":"{number}","metrics":{{"acc":{int(number % 5 > 0)}}}}}\n' for number in range(50)
    )
    assert server.call("PUT", f"{API}/jobs/{job_id}/benchmarks/0/samples", samples.encode()).status == 200
    assert server.report(job_id, "completed", metrics={"acc": 0.8}).status == 204

    def row_with_interval() -> str:
        (row,) = rows(server.get("/ui/jobs?q=law"))
        return row if "[" in row else ""

    row = wait_until(row_with_interval, "an interval")  # the adapter must have ended, and the samples be read
    assert "0.80 [0.67, 0.89] < 0.820 n = 50" in row


def test_a_job_with_several_benchmarks_says_how_many_passed(viewer: ViewerServer):
    suite = next(each for each in rows(viewer.get("/ui/jobs?q=core+alpha")))
    assert re.search(r"0\.\d{3} [<≥] 0\.500 [345]/6 passed", suite)


def test_a_running_job_has_its_preliminary_score_and_remaining_time(server: RunningServer):
    member = {"id": "b", "provider_id": "scripted", "primary_score": {"metric": "acc"}}
    job_id = server.submit(name="so-so", benchmarks=[member])
    for done in (10, 20):
        answer = server.report(job_id, "running", progress={"done": done, "total": 20}, metrics={"acc": 0.5})
        assert answer.status == 204
    (row,) = rows(server.get("/ui/jobs?q=so-so"))
    assert "100 % 0/1 less than a minute left 0.500 so far" in row

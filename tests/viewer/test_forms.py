"""Forms that start, cancel, repeat, delete and pin jobs, over HTTP."""

from __future__ import annotations

import html
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlencode

import pytest

from harness import Answer, Config, RunningServer
from harness.server import API


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("forms") / "config", local={"max_parallel": 500})
    config.provider("sleep 600 # waits for the test's own events", "b", "c")
    members = [{"id": name, "provider_id": "scripted"} for name in ("b", "c")]
    config.write("collections/k.yaml", {"id": "k", "name": "K", "category": "x", "benchmarks": members})
    with RunningServer(config.folder) as running:
        yield running


def post(server: RunningServer, path: str, fields: Mapping[str, str] | None = None) -> Answer:
    origin = f"http://127.0.0.1:{server.port}"
    headers = {"Origin": origin, "Host": origin.removeprefix("http://")}
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    return server.call("POST", path, urlencode(fields or {}).encode(), headers)


def hidden(page: str, name: str) -> str:
    (value,) = re.findall(rf'type="hidden" name="{name}" value="([^"]*)"', page)
    return html.unescape(value)


RUN = {"collection": "k", "model": "m", "url": "http://model.test/v1", "limit": "5", "do": "start"}


def test_the_form_is_prefilled_by_its_address(server: RunningServer):
    page = server.get("/ui/run?collection=k&model=m%3C1&limit=3")
    assert '<input type="text" id="model" name="model" value="m&lt;1"' in page
    assert '<option value="k">' in page
    text = html.unescape(re.sub("<[^>]+>", "", page))
    assert "eval-hub-server run --model-url '' --model-name 'm<1' --collection k --num-examples 3" in text
    assert server.call("GET", "/ui/run?colour=red").status == 400


def test_a_job_is_started_once_and_shown(server: RunningServer):
    key = hidden(server.get("/ui/run?collection=k"), "key")
    first, second = (post(server, "/ui/run", {**RUN, "key": key}) for _ in range(2))
    assert first.status == 303, first
    assert first.headers["location"] == second.headers["location"]
    job = server.job(first.headers["location"].removeprefix("/ui/jobs/"))
    assert job["name"] == "k \u00b7 m"
    assert [each["parameters"] for each in job["collection"]["benchmarks"]] == [{"num_examples": 5}] * 2


def test_one_benchmark_is_started_with_everything(server: RunningServer):
    fields = {
        "provider": "scripted",
        "benchmark": "b",
        "model": "m",
        "url": "http://model.test/v1",
        "parameters": '{"temperature": 0}',
        "name": "mine",
        "tags": "x, y",
        "do": "start",
    }
    answer = post(server, "/ui/run", fields)
    job = server.job(answer.headers["location"].removeprefix("/ui/jobs/"))
    assert (job["name"], job["tags"]) == ("mine", ["x", "y"])
    assert job["benchmarks"][0]["parameters"] == {"temperature": 0}


@pytest.mark.slow
def test_the_commands_below_the_form_start_the_same_job(server: RunningServer):
    fields = {
        "provider": "scripted",
        "benchmark": "b",
        "model": "m'1",
        "url": "http://model.test/v1",
        "limit": "7",
        "parameters": '{"temperature": 0.5, "stop": ["a b", "\\""], "few shot": true}',
        "name": "the same",
        "tags": "x, y z",
    }
    page = html.unescape(server.get(f"/ui/run?{urlencode(fields)}"))
    shown = re.findall(r"<h3>(.*?)</h3>\s*<pre[^>]*><code>(.*?)</code>", page, re.DOTALL)
    commands = {name: html.unescape(re.sub(r"<[^>]+>", "", text)) for name, text in shown}
    assert list(commands) == ["Command line", "curl", "Python"]
    program, *arguments = shlex.split(commands["Command line"])
    assert program == "eval-hub-server"
    for command in (
        [sys.executable, "-m", "evalhub_server", *arguments, "--no-wait"],
        [sys.executable, "-c", commands["Python"]],
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    by_form = post(server, "/ui/run", {**fields, "do": "start"}).headers["location"].removeprefix("/ui/jobs/")
    kept = ("name", "model", "benchmarks", "tags")
    started = server.get(f"{API}/jobs?name=the+same")["items"]
    assert len(started) == 3
    for job in started:
        assert {name: job[name] for name in kept} == {name: server.job(by_form)[name] for name in kept}
    with_secret = server.get(f"/ui/run?{urlencode({**fields, 'secret': 's'})}")
    assert "<h3>Command line</h3>" not in with_secret


URLS_WITH_CREDENTIALS = ("http://user:pa55@closed.test/v1", "http://closed.test/v1?api_key=pa55")


@pytest.mark.parametrize("url", URLS_WITH_CREDENTIALS)
def test_urls_with_credentials_are_refused_and_not_repeated(server: RunningServer, url: str):
    for do in ("start", "check"):
        answer = post(server, "/ui/run", {**RUN, "url": url, "do": do})
        assert answer.status == 400
        assert "must not have credentials" in answer.body
        assert "pa55" not in answer.body
        (shown,) = re.findall(r'id="url" name="url" value="([^"]*)"', answer.body)
        assert post(server, "/ui/run", {**RUN, "url": html.unescape(shown)}).status == 400
    prefilled = urlencode({"url": url, "model": "m"})
    assert "pa55" not in str(server.get(f"/ui/run.json?{prefilled}"))
    masked = server.call("GET", f"/ui/run?{prefilled}")
    assert masked.status == 303
    assert "pa55" not in masked.headers["location"]
    assert "pa55" not in server.get(masked.headers["location"])


def test_commands_have_no_secrets_of_parameters(server: RunningServer):
    query = urlencode({**RUN, "parameters": '{"judge_api_key": "pa55", "temperature": 0}'})
    page = html.unescape(server.get(f"/ui/run?{query.replace('&do=start', '')}"))
    commands = page.partition("The same from elsewhere")[2].partition("</main>")[0]
    assert '"judge_api_key":"***","temperature":0' in commands
    assert "pa55" not in commands


def test_urls_with_credentials_are_not_suggested(server: RunningServer):
    assert post(server, "/ui/run", {**RUN, "url": "http://open.test/v1"}).status == 303
    for url in URLS_WITH_CREDENTIALS:
        server.submit("b", model={"url": url, "name": "m"})
    page = server.get("/ui/run")
    assert '<option value="http://open.test/v1">' in page
    assert "pa55" not in page


def test_a_check_starts_nothing(server: RunningServer):
    before = server.get(f"{API}/jobs")["total_count"]
    answer = post(server, "/ui/run", {**RUN, "do": "check"})
    assert answer.status == 200
    assert "The request is valid" in answer.body
    assert "2 benchmarks" in answer.body
    assert server.get(f"{API}/jobs")["total_count"] == before


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"collection": "none"}, "none"),
        ({"collection": ""}, "choose a collection"),
        ({"limit": "many"}, "must be a number of samples"),
        ({"limit": "9" * 5000}, "must be a number of samples"),
        ({"limit": "0"}, "must be a number of samples"),
        ({"parameters": "[1"}, "must be a JSON object"),
        ({"parameters": "[1]"}, "must be a JSON object"),
        ({"parameters": '{"a":' * 2000 + "1" + "}" * 2000}, "nested deeper"),
        ({"model": ""}, "required"),
        ({"url": "http://["}, "url"),
        ({"collection": "", "provider": "scripted", "benchmark": "nope"}, "nope"),
    ],
)
@pytest.mark.parametrize("do", ["start", "check"])
def test_faults_are_shown_beside_the_fields(
    server: RunningServer, changes: dict[str, str], fault: str, do: str
):
    answer = post(server, "/ui/run", {**RUN, **changes, "do": do})
    assert answer.status == 400
    assert fault in html.unescape(answer.body)
    assert "would be refused" in answer.body or 'class="bad"' in answer.body


@pytest.fixture
def job(server: RunningServer) -> str:
    return server.submit("b", name="a <b>job")


@pytest.mark.parametrize("action", ["cancel", "delete", "rerun", "pin", "unpin"])
def test_an_action_is_confirmed_on_a_page(server: RunningServer, job: str, action: str):
    page = server.get(f"/ui/jobs/{job}/{action}")
    assert f'<form method="post" action="/ui/jobs/{job}/{action}">' in page
    assert "a &lt;b&gt;job" in page
    assert server.job(job)["status"]["state"] in ("pending", "running")


def test_a_job_is_cancelled_pinned_and_deleted(server: RunningServer, job: str):
    assert post(server, f"/ui/jobs/{job}/pin").headers["location"] == f"/ui/jobs/{job}"
    assert server.job(job)["resource"]["pinned"]
    assert post(server, f"/ui/jobs/{job}/unpin").status == 303
    assert not server.job(job)["resource"].get("pinned")
    assert post(server, f"/ui/jobs/{job}/cancel").status == 303
    assert server.job(job)["status"]["state"] == "cancelled"
    assert post(server, f"/ui/jobs/{job}/delete").headers["location"] == "/ui/jobs"
    assert server.call("GET", f"{API}/jobs/{job}").status == 404


def test_a_job_is_repeated_once(server: RunningServer, job: str):
    post(server, f"/ui/jobs/{job}/cancel")
    key = hidden(server.get(f"/ui/jobs/{job}/rerun"), "key")
    first, second = (post(server, f"/ui/jobs/{job}/rerun", {"only": "failed", "key": key}) for _ in range(2))
    assert first.headers["location"] == second.headers["location"]
    repeated = server.job(first.headers["location"].removeprefix("/ui/jobs/"))
    assert repeated["resource"]["derived_from"] == job
    assert post(server, f"/ui/jobs/{job}/rerun", {"only": "some"}).status == 400


def post_all(server: RunningServer, action: str, jobs: Sequence[str], **fields: str) -> Answer:
    """Send the form of a selection with everything that its page has."""
    query = urlencode({"job": jobs}, doseq=True)
    page = server.get(f"/ui/selection/{action}?{query}")
    sent = urlencode({"job": re.findall('name="job" value="([^"]+)"', page), **fields}, doseq=True)
    origin = f"http://127.0.0.1:{server.port}"
    headers = {"Origin": origin, "Host": origin.removeprefix("http://")}
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    return server.call("POST", f"/ui/selection/{action}", sent.encode(), headers)


def plain(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup.partition("<main")[2])).split())


def test_selected_jobs_are_cancelled_repeated_and_deleted(server: RunningServer):
    jobs = [server.submit("b", name=f"selected {number}") for number in range(3)]
    post(server, f"/ui/jobs/{jobs[0]}/cancel")
    page = plain(server.get(f"/ui/selection/cancel?job={jobs[0]}&job={jobs[1]}&job={jobs[2]}&job=none"))
    assert "Cancel 2 jobs?" in page
    assert "selected 0 m It has ended already" in page
    assert "'none' was not found" in page
    answer = post_all(server, "cancel", jobs)
    assert answer.status == 200
    assert "2 of 2 jobs cancelled" in plain(answer.body)
    assert plain(answer.body).count("✓ cancelled") == 2
    assert {server.job(each)["status"]["state"] for each in jobs} == {"cancelled"}
    again = [post_all(server, "rerun", jobs[:2], key="k1", only="failed") for _ in range(2)]
    created = re.findall(r'href="/ui/jobs/([^"]+)">the new job', again[0].body)
    assert re.findall(r'href="/ui/jobs/([^"]+)">the new job', again[1].body) == created
    assert [server.job(each)["resource"]["derived_from"] for each in created] == jobs[:2]
    without_key = post_all(server, "rerun", jobs[:1], only="failed").body
    assert created[0] not in without_key, "only a key makes two forms the same"
    server.call("DELETE", f"{API}/jobs/{jobs[2]}?hard_delete=true")
    removed = post_all(server, "delete", jobs)
    assert "2 of 2 jobs deleted" in plain(removed.body), "those that exist"
    assert [server.call("GET", f"{API}/jobs/{each}").status for each in jobs] == [404] * 3


def test_each_selected_job_has_its_own_outcome(server: RunningServer, job: str):
    server.report(job, "completed", metrics={"acc": 1})
    fields = {"job": job, "only": "missing", "key": "k2"}
    page = plain(post(server, "/ui/selection/cancel", fields).body)
    assert "0 of 1 job cancelled" in page
    assert "✕ " in page
    missing = plain(post(server, "/ui/selection/delete", {"job": "none"}).body)
    assert "0 of 1 job deleted" in missing
    assert "'none' was not found" in missing
    assert post(server, "/ui/selection/rerun", {**fields, "only": "some"}).status == 200
    assert "This view as" not in post(server, "/ui/selection/cancel", fields).body


def test_a_selection_is_checked(server: RunningServer, job: str):
    for method, path in (("GET", "/ui/selection/explode?job=x"), ("GET", "/ui/selection/pin?job=x")):
        assert server.call(method, path).status == 404
    assert post(server, "/ui/selection/explode", {"job": job}).status == 404
    many = urlencode({"job": [f"j{number}" for number in range(101)]}, doseq=True)
    for query in ("", many):
        assert server.call("GET", f"/ui/selection/delete?{query}").status == 400
    assert post(server, "/ui/selection/delete").status == 400


def test_what_cannot_be_done_is_an_error_page(server: RunningServer, job: str):
    assert post(server, f"/ui/jobs/{job}/rerun", {"only": "all"}).status == 409
    assert post(server, f"/ui/jobs/{job}/explode").status == 404
    assert server.call("GET", f"/ui/jobs/{job}/explode").status == 404
    missing = post(server, "/ui/jobs/none/cancel")
    assert missing.status == 404
    assert "<h1>Not Found</h1>" in missing.body


@pytest.mark.parametrize("authorization", ["", "Basic dTpw", "Bearer x"])
def test_other_origins_change_nothing(server: RunningServer, job: str, authorization: str):
    """Browsers repeat Basic credentials in requests of foreign pages, and proxies add tokens to all requests."""
    for path in (f"/ui/jobs/{job}/cancel", "/ui/selection/cancel", "/ui/run"):
        headers = {"Origin": "http://localhost:1", "Content-Type": "application/x-www-form-urlencoded"}
        if authorization:
            headers["Authorization"] = authorization
        assert server.call("POST", path, urlencode(RUN).encode(), headers).status == 403
    assert server.job(job)["status"]["state"] in ("pending", "running")


def test_read_only_pages_have_no_buttons(tmp_path_factory: pytest.TempPathFactory):
    config = Config(tmp_path_factory.mktemp("read-only") / "config", viewer={"read_only": True})
    config.provider("sleep 600 # waits for the test's own events", "b")
    with RunningServer(config.folder) as server:
        job = server.submit("b")
        for page in (
            server.get("/ui/run"),
            server.get(f"/ui/jobs/{job}/cancel"),
            server.get(f"/ui/selection/cancel?job={job}"),
        ):
            assert "read-only" in page
            assert '<button type="submit"' not in page
        for path in (f"/ui/jobs/{job}/cancel", "/ui/run"):
            assert post(server, path, RUN).status == 403
        assert post(server, "/ui/selection/cancel", {"job": job}).status == 403
        assert "/ui/selection/" not in server.get("/ui/jobs")
        assert server.job(job)["status"]["state"] in ("pending", "running")

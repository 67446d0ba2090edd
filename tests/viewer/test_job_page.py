"""The pages of a job and of its benchmarks over HTTP."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest

from harness import Config, RunningServer
from harness.server import API
from harness.viewer_data import ViewerServer
from harness.waiting import wait_until


def text_of(page: str) -> str:
    """The text of a page without markup, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.partition("<body>")[2])).split())


def row(page: str, index: int) -> str:
    (found,) = re.findall(rf'<tr id="b-{index}">.*?</tr>', page, re.DOTALL)
    return text_of(f"<body>{found}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(
        tmp_path_factory.mktemp("job-page") / "config",
        local={"max_parallel": 500},
        supervisor={"linger": "50ms"},
    )
    config.provider("sleep 600 # waits for the test's own events", "b", "c")
    with RunningServer(config.folder) as running:
        yield running


@pytest.fixture
def failed_page(viewer: ViewerServer) -> str:
    return viewer.get(f"/ui/jobs/{viewer.jobs.suites['gamma-70b']}")


def test_scores_have_intervals_counts_and_thresholds(viewer: ViewerServer):
    page = viewer.get(f"/ui/jobs/{viewer.jobs.suites['alpha-7b']}")
    big, toxicity = row(page, 0), row(page, 4)
    assert re.search(r"★ match 0\.9\d\d \[0\.9\d\d, 0\.9\d\d\]", big)
    assert "n = 13,994 · 6 errors excluded" in big
    assert "≥ 0.800 ✓ passed the whole interval lies above" in big
    assert "↓ lower is better" in toxicity
    assert "✕ not passed the whole interval lies above" in toxicity
    assert re.search(
        r"✓ completed 0\.\d+ \[0\.\d+, 0\.\d+\] ≥ 0\.500: passed; the whole interval lies above; weighted mean of 6 benchmarks",
        text_of(page),
    )


def test_the_failure_comes_first_with_its_log_and_errors_of_samples(failed_page: str):
    shown = text_of(failed_page)
    assert "partly failed 5 completed, 1 failed ✕ failed code_fix · exit code 3 · adapter_failed" in shown
    assert "sandbox.BackendTimeout: no answer from http://sandbox.test:7000" in shown
    assert "\x1b" not in failed_page
    assert "backend timeout after 30 s ×6" in shown
    assert "/b/0/samples?outcome=error&amp;q=backend+timeout+after+30+s" in failed_page
    assert shown.index("BackendTimeout") < shown.index("big_suite")


def test_reruns_and_the_previous_job_are_linked(viewer: ViewerServer, failed_page: str):
    assert f'href="/ui/jobs/{viewer.jobs.rerun}">rerun</a>' in failed_page
    running = viewer.get(f"/ui/jobs/{viewer.jobs.running}")
    assert re.search(rf"/ui/compare\?base=[-\w]+&amp;with={viewer.jobs.running}", running)
    rerun = viewer.get(f"/ui/jobs/{viewer.jobs.rerun}")
    assert f'href="/ui/jobs/{viewer.jobs.suites["gamma-70b"]}">original</a>' in rerun


def test_a_running_benchmark_has_progress_and_a_preliminary_score(viewer: ViewerServer):
    page = viewer.get(f"/ui/jobs/{viewer.jobs.running}")
    assert '<div id="live" data-refresh="3" data-title="◐ 43 % core delta-3b' in page
    running = row(page, 2)
    assert "61 % 732/1,200 running evaluation" in running
    assert "0.790 so far" in running
    assert "passed" not in running
    assert "○ pending" in row(page, 3)
    assert re.search(
        r"Activity created .* started .* loading data \S+ m?s .*◐ running evaluation , began ",
        text_of(viewer.get(f"/ui/jobs/{viewer.jobs.running}/b/2")),
    )
    assert "Metrics so far acc 0.79 so far" in text_of(viewer.get(f"/ui/jobs/{viewer.jobs.running}/b/2"))


def test_a_job_without_a_report_says_so(viewer: ViewerServer):
    assert "○ pending started, no report yet" in text_of(viewer.get(f"/ui/jobs/{viewer.jobs.queued}"))


def test_everything_hostile_is_neutralised(viewer: ViewerServer):
    for path in ("", "/b/0", "/b/1", "/b/2"):
        page = viewer.get(f"/ui/jobs/{viewer.jobs.hostile}{path}")
        assert not re.search("[\x00-\x08\x1b\x80-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]", page)
        assert "<script>alert" not in page
        assert "<img" not in page
        assert 'href="javascript:' not in page
    page = text_of(viewer.get(f"/ui/jobs/{viewer.jobs.hostile}"))
    assert "Completed without metrics" in page
    assert "Lines of the sample file that are no samples: 2." in page


def test_the_page_of_a_benchmark_has_everything_about_it(viewer: ViewerServer):
    job_id = viewer.jobs.suites["beta-13b"]
    page = viewer.get(f"/ui/jobs/{job_id}/b/0")
    shown = text_of(page)
    assert "★ match" in shown
    assert "brevity – not reported 0.685" in shown
    assert "6 of 14000 samples failed" in shown
    assert re.search(r"Outcomes [\d,]+ passed · [\d,]+ failed · 6 errors", shown)
    assert f'href="/ui/jobs/{job_id}/b/0/samples?outcome=failed"' in page
    assert "model.parameters.temperature 0.7 request" in shown
    assert "weight 2.0 collection" in shown
    assert "threshold 0.8 provider" in shown
    assert "adapter started" in shown
    law = text_of(viewer.get(f"/ui/jobs/{job_id}/b/2"))
    assert re.search(r"★ acc – not reported 0\.\d+ \[0\.\d+, 0\.\d+\] 0\.01\d\d", law)
    assert "acc_stderr" not in law


def test_the_activity_has_a_timeline_of_samples(viewer: ViewerServer):
    job_id = viewer.jobs.suites["alpha-7b"]
    page = viewer.get(f"/ui/jobs/{job_id}/b/0")
    path = f"/api/v1/evaluations/jobs/{job_id}/benchmarks/0/samples/timeline"
    timeline = viewer.get(path)
    assert len(timeline["buckets"]) == 60
    first = timeline["buckets"][0]["outcomes"]
    assert sum(sum(each["outcomes"].values()) for each in timeline["buckets"]) + timeline["untimed"] == 14_000
    assert "60 intervals of 26 s" in text_of(page)
    assert f"2026-11-29 21:00:00 UTC {first['passed']} {first['failed']}" in text_of(page)
    assert re.search(r'<svg[^>]*class="[^"]*timeline', page)
    assert viewer.call("GET", f"{path}?colour=red").status == 400
    assert "Samples ended" not in viewer.get(f"/ui/jobs/{job_id}/b/2"), "its adapter wrote no times"
    assert viewer.get(path.replace("benchmarks/0", "benchmarks/2")) == {
        "bucket_s": 1.0,
        "buckets": [],
        "untimed": 1200,
    }


def test_data_of_the_page_in_other_formats(viewer: ViewerServer):
    job_id = viewer.jobs.suites["alpha-7b"]
    found = viewer.get(f"/ui/jobs/{job_id}.json")
    assert found["job"]["resource"]["id"] == job_id
    assert found["scores"]["scores"][0]["summary"]["n"] == 13994
    overall = viewer.get(f"/api/v1/evaluations/jobs/{job_id}/scores")["overall"]
    assert found["scores"]["overall"] == overall
    assert overall["low"] < overall["value"] < overall["high"]
    assert "overall" not in viewer.get(f"/api/v1/evaluations/jobs/{viewer.jobs.running}/scores")
    assert viewer.get(f"/ui/jobs/{job_id}.csv").startswith("job_id,job_name,")
    assert viewer.get(f"/ui/jobs/{job_id}/b/0.json")["scores"]["scores"][0]["name"] == "core/big_suite"


@pytest.mark.parametrize("path", ["/ui/jobs/none", "/ui/jobs/none/b/0"])
def test_an_unknown_job_is_a_404_page(viewer: ViewerServer, path: str):
    answer = viewer.call("GET", path)
    assert answer.status == 404
    assert "does not exist, has been deleted, or belongs to another tenant" in answer.body


def test_an_unknown_benchmark_is_a_404_page_and_a_bad_index_refused(viewer: ViewerServer):
    job = f"/ui/jobs/{viewer.jobs.suites['alpha-7b']}"
    assert viewer.call("GET", f"{job}/b/6").status == 404
    assert viewer.call("GET", f"{job}/b/x").status == 400
    assert viewer.call("GET", f"{job}?colour=red").status == 400


def test_a_single_benchmark_has_its_verdict_and_filters_apart(server: RunningServer):
    member = {
        "id": "b",
        "provider_id": "scripted",
        "primary_score": {"metric": "acc"},
        "pass_criteria": {"threshold": 0.8},
        "parameters": {"num_examples": 5},
    }
    job_id = server.submit(name="one", benchmarks=[member], tags=["x"])
    metrics = {"acc": 0.874, "acc_stderr": 0.1, "acc,strict": 0.5, "table": {"a": 1}}
    assert server.report(job_id, "completed", metrics=metrics).status == 204
    # Samples may come until the adapter has ended.
    wait_until(lambda: "0.87 [0.68, 1.07]" in text_of(server.get(f"/ui/jobs/{job_id}")), "an interval")
    shown = text_of(server.get(f"/ui/jobs/{job_id}"))
    assert "✓ completed 0.87 [0.68, 1.07]" in shown
    assert "≥ 0.800: passed; the interval includes the threshold" in shown
    assert "acc strict 0.500" in shown
    assert 'table – not reported {"a":1}' in shown
    assert "num_examples 5 request" in shown


def test_many_benchmarks_are_paged(server: RunningServer):
    job_id = server.submit(*["b"] * 60, name="many")
    first = server.get(f"/ui/jobs/{job_id}?size=50")
    assert "1\u201350 of 60" in first
    (following,) = re.findall(r'rel="next" href="([^"]+)"', first)
    assert "b-59" in server.get(html.unescape(following))


def test_an_unchanged_page_is_not_sent_again(viewer: ViewerServer):
    path = f"/ui/jobs/{viewer.jobs.suites['alpha-7b']}"
    for each in (path, f"{path}/b/0"):
        answer = viewer.call("GET", f"{each}?part=live")
        assert "<html" not in answer.body
        headers = {"If-None-Match": answer.headers["etag"]}
        codes = {viewer.call("GET", f"{each}?part=live", headers=headers).status for _ in range(2)}
        assert 304 in codes  # the tag changes every 30 s


def test_actions_fit_the_state(viewer: ViewerServer):
    running = viewer.get(f"/ui/jobs/{viewer.jobs.running}")
    ended = viewer.get(f"/ui/jobs/{viewer.jobs.suites['alpha-7b']}")
    for page, job_id, actions in (
        (running, viewer.jobs.running, ["cancel", "pin", "delete"]),
        (ended, viewer.jobs.suites["alpha-7b"], ["rerun", "pin", "delete"]),
    ):
        assert re.findall(rf'class="button" href="/ui/jobs/{job_id}/(\w+)"', page) == actions


def test_intervals_of_many_benchmarks_are_computed_in_the_background(server: RunningServer):
    scored = {"id": "b", "provider_id": "scripted", "primary_score": {"metric": "acc"}}
    job_id = server.submit(name="wide", benchmarks=[scored] * 13)
    samples = b'{"sample_id":"1","metrics":{"acc":1}}\n{"sample_id":"2","metrics":{"acc":0}}\n'
    for index in range(13):
        assert server.call("PUT", f"{API}/jobs/{job_id}/benchmarks/{index}/samples", samples).status == 200
        assert server.report(job_id, "completed", index=index, metrics={"acc": 0.5}).status == 204
    first = text_of(server.get(f"/ui/jobs/{job_id}"))
    assert "Intervals are being computed" in first
    assert "0.500" in first
    wait_until(lambda: "0.50 [0.09, 0.91] n = 2" in text_of(server.get(f"/ui/jobs/{job_id}")), "intervals")
    assert "being computed" not in server.get(f"/ui/jobs/{job_id}")

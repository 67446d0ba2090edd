"""The page of scores over time, over HTTP."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterator
from typing import Any

import pytest

from harness import Config, RunningServer
from harness.running import call
from harness.server import API
from harness.viewer_data import ViewerServer


def text_of(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def get(server: RunningServer, query: str = "", suffix: str = "") -> Any:
    answer = call(server.port, "GET", f"/ui/trend{suffix}{query}")
    assert answer.status == 200, answer
    return answer.body.decode() if isinstance(answer.body, bytes) else answer.body


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("trend") / "config", local={"max_parallel": 100})
    score = {"primary_score": {"metric": "acc"}}
    config.provider("sleep 600 # waits for the test's own events", "b", benchmark=score)
    with RunningServer(config.folder) as running:
        yield running


@pytest.fixture(scope="module")
def start_without_jobs(small: RunningServer) -> str:
    return get(small)


@pytest.fixture(scope="module")
def server(small: RunningServer, start_without_jobs: str) -> RunningServer:
    """Three runs of a model, of which the last one has other parameters, and one of another model."""
    assert start_without_jobs
    for model, shots, score in (("m", 5, 0.5), ("m", 5, 0.6), ("m", 3, 0.7), ("n", 5, 0.4)):
        member: dict[str, Any] = {"id": "b", "provider_id": "scripted", "parameters": {"shots": shots}}
        member["pass_criteria"] = {"threshold": 0.55}
        job_id = small.submit(benchmarks=[member], model={"url": "http://m.test", "name": model})
        metrics = {"acc": score, "acc_stderr": 0.05}
        assert small.report(job_id, "completed", benchmark="b", metrics=metrics).status == 204
    return small


def test_without_jobs_the_page_says_how_to_start_one(start_without_jobs: str):
    assert "No job has completed yet." in start_without_jobs
    assert "--collection quickstart-v1 --server http://" in start_without_jobs


def test_without_a_choice_there_is_what_to_choose_from(viewer: ViewerServer):
    page = get(viewer)
    assert '<a href="/ui/trend?collection=nightly-v1">' in page
    assert '<a href="/ui/trend?model=alpha-7b">' in page
    assert "\u202e" not in page


def test_each_benchmark_has_a_chart_with_intervals_and_threshold(viewer: ViewerServer):
    page = get(viewer, "?collection=nightly-v1")
    titles = [text_of(each) for each in re.findall(r'<h2 id="chart-\d+">.*?</h2>', page)]
    assert titles == ["nightly-v1: overall", "nightly/regression: acc", "nightly/smoke: acc"]
    assert page.count("threshold 0.700") == 3
    assert re.search(r"40 jobs of 5\d\d: older ones are left out", text_of(page))
    assert len(re.findall(r"Last change of [a-z0-9-]+ : unpaired: ", text_of(page))) == 8


def test_points_have_the_intervals_of_their_standard_errors(viewer: ViewerServer):
    found = viewer.get(f"{API}/trends?collection_id=nightly-v1&limit=40")
    point = found["series"][0]["points"][0]
    assert point["low"] == pytest.approx(point["value"] - 1.959964 * point["stderr"], abs=1e-6)
    assert point["high"] == pytest.approx(point["value"] + 1.959964 * point["stderr"], abs=1e-6)
    shown = f"{point['value']:.3f} [{point['low']:.3f}, {point['high']:.3f}]"
    assert shown in get(viewer, "?collection=nightly-v1")
    assert get(viewer, "?collection=nightly-v1", ".json") == found


def test_results_with_samples_have_intervals_from_them(viewer: ViewerServer):
    found = viewer.get(f"{API}/trends?collection_id=core-v1&limit=40&sample_intervals=true")
    plain = viewer.get(f"{API}/trends?collection_id=core-v1&limit=40")
    scores = viewer.get(f"{API}/jobs/{viewer.jobs.suites['alpha-7b']}/scores")["scores"]
    expected = next(each for each in scores if each["benchmark_id"] == "big_suite")["summary"]["interval"]
    point, without = (
        next(
            each
            for each in answer["series"]
            if each["benchmark_id"] == "big_suite" and each["model_name"] == "alpha-7b"
        )["points"][0]
        for answer in (found, plain)
    )
    assert (point["low"], point["high"]) == (expected["low"], expected["high"])
    assert "low" not in without
    shown = f"{point['value']:.3f} [{point['low']:.3f}, {point['high']:.3f}]"
    assert shown in get(viewer, "?collection=core-v1")


def test_the_line_is_broken_where_the_configuration_changed(server: RunningServer):
    page = get(server, "?provider=scripted")
    assert "Configuration changed: parameters.shots 5 → 3" in page
    assert page.count("<polyline") == 1
    (sentence,) = re.findall(r"Last change of m : (.*?)\. Compare", text_of(page))
    assert "parameter 'shots' is 5 in the baseline and 3 in the candidate" in sentence


def test_results_lead_to_their_comparisons(server: RunningServer):
    page = get(server, "?provider=scripted&model=m")
    links = [html.unescape(url) for url in re.findall(r'href="(/ui/compare[^"]+)"', page)]
    assert len(links) == 3  # the break, the last change, and the row of what changed
    assert all("benchmark=scripted%2Fb" in url for url in links)
    assert links[0] == links[1] == links[2]
    assert "compare</a>" in page
    assert call(server.port, "GET", links[-1]).status == 200


def test_the_overall_score_has_its_last_change_and_what_changed(viewer: ViewerServer):
    page = get(viewer, "?collection=nightly-v1&model=alpha-7b")
    overall = page.partition('id="chart-1"')[2].partition("</section>")[0]
    assert "Last change of alpha-7b : " in text_of(overall)
    assert re.search(r'href="/ui/compare\?base=[0-9a-f-]+&amp;with=[0-9a-f-]+">Compare</a>', overall)


def test_models_that_cannot_be_compared_for_one_reason_have_one_sentence(viewer: ViewerServer):
    page = get(viewer, "?collection=nightly-v1")
    overall = text_of(page.partition('id="chart-1"')[2].partition("</section>")[0])
    assert overall.count("Last change of") == 1
    assert "has no declared range, so it cannot be part of a mean over benchmarks" in overall


def test_a_chart_can_be_scrolled_where_it_is_wider_than_the_page(viewer: ViewerServer):
    page = get(viewer, "?collection=nightly-v1")
    label = "Chart of nightly-v1: overall"
    assert f'<div class="chart-box" tabindex="0" role="region" aria-label="{label}"><svg' in page


def test_results_of_which_no_two_have_the_same_settings_can_be_run_again(server: RunningServer):
    for shots in (1, 2):
        member = {"id": "b", "provider_id": "scripted", "parameters": {"shots": shots}}
        job_id = server.submit(benchmarks=[member], model={"url": "http://m.test", "name": "changing"})
        assert server.report(job_id, "completed", benchmark="b", metrics={"acc": 0.5}).status == 204
    page = get(server, "?provider=scripted&benchmark=b&model=changing")
    assert "No two results in a row have the same settings" in page
    assert 'href="/ui/run?benchmark=b&amp;model=changing&amp;provider=scripted">Run it again' in page
    assert "Run it again" not in get(server, "?model=changing")


def test_one_result_is_no_trend(server: RunningServer):
    page = get(server, "?model=n")
    assert "Each model has one result: a trend needs two." in page
    assert "<polyline" not in page


def test_results_can_be_shown_by_run_and_since_a_time(server: RunningServer):
    assert "1 2 3" in text_of(get(server, "?model=m&x=run"))
    assert "No job matches." in get(server, "?model=m&since=2100-01-01T00:00:00Z")


def test_jobs_without_a_result_are_named(viewer: ViewerServer):
    assert "1 job matches, but none has a result yet." in get(viewer, "?model=epsilon-1b")


def test_other_formats_have_all_points(server: RunningServer):
    rows = list(csv.DictReader(io.StringIO(get(server, "?model=m", ".csv"))))
    assert [(row["model"], row["value"], row["threshold"]) for row in rows] == [
        ("m", value, "0.55") for value in ("0.5", "0.6", "0.7")
    ]


@pytest.mark.parametrize("query", ["x=place", "jobs=3", "since=yesterday", f"model=m&metric={'m' * 201}"])
def test_wrong_parameters_are_refused(server: RunningServer, query: str):
    assert call(server.port, "GET", f"/ui/trend?{query}").status == 400

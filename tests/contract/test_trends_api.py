"""Series of scores over time over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness import Config, RunningServer
from harness.server import API

PATH = f"{API}/trends"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("trends") / "config", local={"max_parallel": 500})
    score = {"primary_score": {"metric": "acc", "lower_is_better": True}}
    config.provider("sleep 600 # waits for the test's own events", "b", "c", benchmark=score)
    threshold = {"pass_criteria": {"threshold": 0.75}}
    members = [{"id": each, "provider_id": "scripted", **threshold} for each in "bc"]
    collection = {"id": "k", "name": "K", "category": "x", "benchmarks": members}
    config.write("collections/k.yaml", {**collection, "pass_criteria": {"threshold": 0.5}})
    with RunningServer(config.folder, data_dir=config.folder / "data") as running:
        yield running


def completed(server: RunningServer, model: str, *metrics: dict[str, Any] | None, tenant: str = "") -> str:
    """The id of a job of the collection whose benchmarks have these metrics; None: it failed."""
    body = {"name": "j", "model": {"url": "http://m.test", "name": model}, "collection": {"id": "k"}}
    headers = {"X-Tenant": tenant} if tenant else {}
    job_id = server.call("POST", f"{API}/jobs", body, headers).body["resource"]["id"]
    for index, each in enumerate(metrics):
        fields = {"metrics": each} if each is not None else {}
        status = "failed" if each is None else "completed"
        assert server.report(job_id, status, index=index, benchmark="bc"[index], **fields).status == 204
    return job_id


@pytest.fixture(scope="module")
def jobs(server: RunningServer) -> list[str]:
    return [
        completed(server, "m", {"acc": 0.5, "acc_stderr": 0.1, "num_samples": 20, "f1": 0.25}, {"acc": 1}),
        completed(server, "m", {"acc": 0.75, "stderr": 0.2}, None),
        completed(server, "n", {"acc": "high"}, {"acc": 0.5}),
        completed(server, "o", {"acc": 0.125}, {"acc": 0.5}, tenant="team-a"),
    ]


def series(server: RunningServer, query: str, **headers: str) -> dict[tuple[str, str, str], list[float]]:
    answer = server.call("GET", f"{PATH}?{query}", headers=headers)
    assert answer.status == 200, answer
    return {
        (each["benchmark_id"], each["metric"], each["model_name"]): [p["value"] for p in each["points"]]
        for each in answer.body["series"]
    }


def test_a_series_has_the_results_of_a_model_in_a_benchmark(server: RunningServer, jobs: list[str]):
    found = server.get(f"{PATH}?benchmark_id=b&model_name=m")
    (one,) = found["series"]
    assert {name: one[name] for name in one if name != "points"} == {
        "provider_id": "scripted",
        "benchmark_id": "b",
        "metric": "acc",
        "lower_is_better": True,
        "model_name": "m",
    }
    created = [server.job(job_id)["resource"]["created_at"] for job_id in jobs[:2]]
    assert one["points"] == [
        {
            "job_id": jobs[0],
            "benchmark_index": 0,
            "created_at": created[0],
            "value": 0.5,
            "stderr": 0.1,
            "n": 20,
            "threshold": 0.75,
        },
        {
            "job_id": jobs[1],
            "benchmark_index": 0,
            "created_at": created[1],
            "value": 0.75,
            "stderr": 0.2,
            "threshold": 0.75,
        },
    ]
    assert (found["jobs"], found["total_count"]) == (2, 2)


def test_points_name_the_settings_that_changed_since_the_one_before(server: RunningServer):
    for shots in (5, 5, 3):
        members = [
            {"id": "c", "provider_id": "scripted", "parameters": {"shots": shots, "api_key": f"k{shots}"}}
        ]
        job_id = server.submit(benchmarks=members, model={"url": "http://m.test", "name": "changing"})
        assert server.report(job_id, "completed", benchmark="c", metrics={"acc": 0.5}).status == 204
    (one,) = server.get(f"{PATH}?model_name=changing")["series"]
    assert [point.get("changed") for point in one["points"]] == [
        None,
        None,
        [{"name": "parameters.shots", "baseline": "5", "candidate": "3"}],
    ]


@pytest.mark.usefixtures("jobs")
def test_filters_select_jobs_and_benchmarks(server: RunningServer):
    assert series(server, "collection_id=k&model_name=m|n") == {
        ("b", "acc", "m"): [0.5, 0.75],
        ("c", "acc", "m"): [1.0],
        ("c", "acc", "n"): [0.5],
    }
    assert series(server, "collection_id=k&benchmark_id=c&model_name=n") == {("c", "acc", "n"): [0.5]}
    assert series(server, "benchmark_id=b&metric=f1") == {("b", "f1", "m"): [0.25]}
    assert series(server, "benchmark_id=b&provider_id=other") == {}


def test_a_collection_has_a_series_of_the_scores_of_its_jobs(server: RunningServer, jobs: list[str]):
    found = server.get(f"{PATH}?collection_id=k&model_name=m")
    (one,) = found["collections"]
    created = server.job(jobs[0])["resource"]["created_at"]
    assert one == {  # the other job of this model has no score, since one of its benchmarks failed
        "collection_id": "k",
        "model_name": "m",
        "points": [
            {"job_id": jobs[0], "created_at": created, "value": 0.25, "threshold": 0.5},
        ],
    }
    for filters in ("metric=acc", "benchmark_id=b", "provider_id=scripted"):
        assert server.get(f"{PATH}?collection_id=k&{filters}")["collections"] == []


@pytest.mark.usefixtures("jobs")
def test_the_newest_jobs_are_read(server: RunningServer):
    found = server.get(f"{PATH}?benchmark_id=b&model_name=m&limit=1")
    assert [point["value"] for point in found["series"][0]["points"]] == [0.75]
    assert (found["jobs"], found["total_count"]) == (1, 2)


@pytest.mark.usefixtures("jobs")
def test_tenants_see_their_own_results(server: RunningServer):
    own = {("b", "acc", "o"): [0.125], ("c", "acc", "o"): [0.5]}
    assert series(server, "collection_id=k", **{"X-Tenant": "team-a"}) == own
    assert series(server, "collection_id=k", **{"X-Tenant": "team-b"}) == {}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("benchmark_id=b&sort_by=name", "query_bad_parameter"),
        ("benchmark_id=b&limit=x", "query_parameter_invalid"),
        (f"benchmark_id=b&metric={'x' * 201}", "query_parameter_invalid"),
    ],
)
def test_invalid_parameters_are_refused(server: RunningServer, query: str, code: str):
    assert server.call("GET", f"{PATH}?{query}").refusal == (400, code)


def test_estimates_are_those_of_finished_benchmarks(server: RunningServer, jobs: list[str]):
    path = f"{API}/estimates"
    one = server.get(f"{path}?provider_id=scripted&benchmark_id=b")
    assert [(each["provider_id"], each["benchmark_id"]) for each in one["benchmarks"]] == [("scripted", "b")]
    whole = server.get(f"{path}?collection_id=k")
    assert [each["benchmark_id"] for each in whole["benchmarks"]] == ["b", "c"]
    assert whole["jobs"] >= 3
    provider = server.get(f"{path}?provider_id=scripted")
    assert [each["benchmark_id"] for each in provider["benchmarks"]] == ["b", "c"]
    assert server.get(path) == {"benchmarks": [], "jobs": 0}
    assert server.get(f"{path}?provider_id=scripted&benchmark_id=none")["benchmarks"] == [
        {"provider_id": "scripted", "benchmark_id": "none"}
    ]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("provider_id=none", 404, "resource_not_found"),
        ("collection_id=k&provider_id=scripted", 400, "query_parameter_mismatch"),
        ("collection_id=none", 404, "resource_not_found"),
        ("colour=x", 400, "query_bad_parameter"),
    ],
)
def test_wrong_parameters_of_estimates_are_refused(server: RunningServer, query: str, status: int, code: str):
    assert server.call("GET", f"{API}/estimates?{query}").refusal == (status, code)

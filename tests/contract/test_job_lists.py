"""Filters, sort orders and views of the list of jobs over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from harness import Config, RunningServer
from harness.server import API


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("lists") / "config", local={"max_parallel": 500})
    config.provider("sleep 600 # waits for the test's own events", "b", "c")
    config.provider("sleep 600 # waits for the test's own events", "b", provider_id="other")
    member = {"id": "c", "provider_id": "scripted"}
    config.write("collections/k.yaml", {"id": "k", "name": "K", "category": "x", "benchmarks": [member]})
    with RunningServer(config.folder) as running:
        yield running


@pytest.fixture(scope="module")
def jobs(server: RunningServer) -> dict[str, str]:
    """The ids of four jobs, a to d from old to new, by name."""
    scored = {"primary_score": {"metric": "acc"}, "pass_criteria": {"threshold": 0.5}}

    def job(name: str, **fields: Any) -> str:
        model = {"url": "http://model.test/v1", "name": fields.pop("model", "m")}
        fields.setdefault("benchmarks", [{"id": "b", "provider_id": "scripted", **scored}])
        if fields["benchmarks"] is None:
            del fields["benchmarks"]
        answer = server.call("POST", f"{API}/jobs", {"name": name, "model": model, **fields})
        assert answer.status == 202, answer
        return answer.body["resource"]["id"]

    ids = {
        "a-1": job("a-1"),
        "a-2": job("a-2", model="n", benchmarks=[{"id": "b", "provider_id": "other", **scored}]),
        "b": job("b", benchmarks=None, collection={"id": "k"}),
        "c": job("c", tags=["x"]),
    }
    for name, provider, score, seconds in (("a-1", "scripted", 0.25, 5), ("a-2", "other", 0.75, 1)):
        event = {
            "provider_id": provider,
            "id": "b",
            "benchmark_index": 0,
            "status": "completed",
            "metrics": {"acc": score},
            "started_at": "2026-01-01T00:00:00Z",
            "completed_at": f"2026-01-01T00:00:0{seconds}Z",
        }
        answer = server.call("POST", f"{API}/jobs/{ids[name]}/events", {"benchmark_status_event": event})
        assert answer.status == 204, answer
    return ids


def names(server: RunningServer, **parameters: str) -> list[str]:
    return [item["name"] for item in server.get(f"{API}/jobs?{urlencode(parameters)}")["items"]]


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"model_name": "n"}, "a-2"),
        ({"model_name": "!n"}, "c b a-1"),
        ({"model_url": "http://model.test/v1", "tags": "x"}, "c"),
        ({"provider_id": "scripted|other"}, "c b a-2 a-1"),
        ({"provider_id": "scripted,other"}, ""),
        ({"benchmark_id": "c"}, "b"),
        ({"collection_id": "k"}, "b"),
        ({"name_prefix": "a-"}, "a-2 a-1"),
        ({"name_prefix": "a-", "sort_by": "name"}, "a-1 a-2"),
        ({"created_after": "2026-01-01T00:00:00Z"}, "c b a-2 a-1"),
        ({"created_after": "2999-01-01T00:00:00+02:00"}, ""),
        ({"created_before": "2026-01-01T00:00:00Z"}, ""),
        ({"pinned": "true"}, ""),
        ({"pinned": "false"}, "c b a-2 a-1"),
        ({"derived_from": "nothing"}, ""),
        ({"experiment_name": "e"}, ""),
        ({"sort_by": "-name"}, "c b a-2 a-1"),
        ({"sort_by": "created_at"}, "a-1 a-2 b c"),
        ({"sort_by": "score"}, "a-1 a-2 b c"),
        ({"sort_by": "-score"}, "a-2 a-1 c b"),
        ({"sort_by": "duration"}, "a-2 a-1 b c"),
        ({"sort_by": "-duration", "limit": "1"}, "a-1"),
    ],
)
def test_a_list_has_the_jobs_of_its_filters_in_its_order(
    server: RunningServer, parameters: dict[str, str], expected: str
):
    assert names(server, **parameters) == expected.split()


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize(
    ("parameter", "code"),
    [
        ("sort_by=size", "query_parameter_value_invalid"),
        ("view=short", "query_parameter_value_invalid"),
        ("created_after=yesterday", "query_parameter_invalid"),
        ("created_after=2026-01-01T00:00:00", "query_parameter_invalid"),
        ("created_before=0001-01-01T00:00:00%2B14:00", "query_parameter_invalid"),
        ("pinned=perhaps", "query_parameter_invalid"),
        (f"name_prefix={'x' * 101}", "query_parameter_invalid"),
        ("sort=name", "query_bad_parameter"),
    ],
)
def test_invalid_parameters_are_refused(server: RunningServer, parameter: str, code: str):
    answer = server.call("GET", f"{API}/jobs?{parameter}")
    assert answer.refusal == (400, code)
    assert answer.body["errors"][0]["path"] == parameter.partition("=")[0]


def test_the_next_page_keeps_filters_and_order(server: RunningServer, jobs: dict[str, str]):
    page = server.get(
        f"{API}/jobs?sort_by=name&name_prefix=a-&limit=1&created_after={quote('2026-01-01T00:00:00+00:00')}"
    )
    assert [item["resource"]["id"] for item in page["items"]] == [jobs["a-1"]]
    following = server.get(page["next"]["href"])
    assert [item["resource"]["id"] for item in following["items"]] == [jobs["a-2"]]
    assert "next" not in following


def test_a_summary_leaves_out_the_benchmarks(server: RunningServer, jobs: dict[str, str]):
    (summary,) = server.get(f"{API}/jobs?view=summary&name=a-1")["items"]
    full = server.job(jobs["a-1"])
    assert summary["status"] == {
        "state": "completed",
        "message": full["status"]["message"],
        "duration_s": 5.0,
        "benchmark_states": {"completed": 1},
    }
    assert summary["resource"] == full["resource"]
    assert summary["results"] == {"test": full["results"]["test"]}
    assert "benchmarks" not in summary
    assert len(str(summary)) < len(str(full)) / 1.5


def facets(server: RunningServer, query: str) -> dict[str, dict[str, int]]:
    page = server.get(f"{API}/jobs?{query}")
    return {
        facet["name"]: {each["value"]: each["count"] for each in facet["values"]} for facet in page["facets"]
    }


@pytest.mark.usefixtures("jobs")
def test_facets_count_the_jobs_that_the_other_filters_select(server: RunningServer):
    page = server.get(f"{API}/jobs?facets=model_name,tags&limit=1")
    assert len(page["items"]) == 1
    assert page["facets"] == [
        {
            "name": "model_name",
            "jobs": 4,
            "distinct": 2,
            "values": [{"value": "m", "count": 3}, {"value": "n", "count": 1}],
        },
        {"name": "tags", "jobs": 4, "distinct": 1, "values": [{"value": "x", "count": 1}]},
    ]
    assert "facets=model_name" in page["next"]["href"]
    assert facets(server, "facets=model_name,provider_id&model_name=n") == {
        "model_name": {"m": 3, "n": 1},
        "provider_id": {"other": 1},
    }
    assert facets(server, "facets=status,collection_id&status=completed&name_prefix=a-") == {
        "status": {"completed": 2},
        "collection_id": {},
    }
    assert "facets" not in server.get(f"{API}/jobs?facets=")


@pytest.mark.usefixtures("jobs")
def test_an_unknown_facet_is_refused(server: RunningServer):
    answer = server.call("GET", f"{API}/jobs?facets=status,colour")
    assert answer.refusal == (400, "query_parameter_value_invalid")


def test_running_jobs_come_first_on_every_page(server: RunningServer, jobs: dict[str, str]):
    """Last, since it changes the states that the tests above expect."""
    for name in ("a-1", "b"):
        assert server.job(jobs[name])["name"] == name
    event = {"provider_id": "scripted", "id": "c", "benchmark_index": 0, "status": "running"}
    path = f"{API}/jobs/{jobs['b']}/events"
    assert server.call("POST", path, {"benchmark_status_event": event}).status == 204
    assert names(server, running_first="true") == ["b", "c", "a-2", "a-1"]
    assert names(server, running_first="true", sort_by="name") == ["b", "a-1", "a-2", "c"]
    assert names(server, running_first="false") == ["c", "b", "a-2", "a-1"]
    walked: list[str] = []
    page = server.get(f"{API}/jobs?running_first=true&limit=1")
    while True:
        assert (len(page["items"]), page["total_count"]) == (1, 4)
        walked += [each["name"] for each in page["items"]]
        if "next" not in page:
            break
        page = server.get(page["next"]["href"])
    assert walked == ["b", "c", "a-2", "a-1"]
    assert names(server, running_first="true", model_name="n") == ["a-2"]
    refused = server.call("GET", f"{API}/jobs?running_first=true&status=failed")
    assert refused.refusal == (400, "query_parameter_mismatch")
    assert server.call("GET", f"{API}/jobs?running_first=x").status == 400

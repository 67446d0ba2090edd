"""Three servers over one database: what clients see on each of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from harness import RunningServer, wait_until
from harness.kube import FakeCluster
from harness.postgres import RunningPostgres, needs_postgres
from harness.replicas import JOBS, Replicas
from harness.running import call

pytestmark = needs_postgres

METRICS = {"enabled": True, "port": 0, "host": "127.0.0.1"}


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    samples = tmp_path_factory.mktemp("samples")
    with (
        RunningPostgres() as postgres,
        FakeCluster() as cluster,
        Replicas(
            tmp_path_factory.mktemp("replicas"),
            postgres,
            cluster,
            samples={"url": samples.as_uri()},
            prometheus=METRICS,
        ) as running,
    ):
        yield running


def metrics_of(server: RunningServer) -> str:
    started = next(line for line in server.log_lines() if line["msg"] == "API Server starting")
    return call(started["metrics_port"], "GET", "/metrics").body.decode()


@pytest.fixture
def followers(replicas: Replicas) -> list[RunningServer]:
    return replicas.followers()


def test_one_server_leads_and_all_are_ready(replicas: Replicas):
    expected = ["follower", "follower", "leader"]
    wait_until(lambda: sorted(replicas.role(each) for each in replicas.servers) == expected, "their roles")
    leader = replicas.leader()
    for server in replicas.servers:
        wait_until(lambda: server.get("/api/v1/ready")["components"]["storage"] == "ok", "a quick check")  # noqa: B023
        assert server.get("/api/v1/ready")["role"] == replicas.role(server)
        metrics = metrics_of(server)
        assert f'evalhub_server_role{{role="{replicas.role(server)}"}} 1' in metrics
        assert ("evalhub_evaluation_jobs_active" in metrics) == (server is leader), "gauges come from one"


def test_a_job_is_created_reported_and_read_on_different_servers(
    replicas: Replicas, followers: list[RunningServer]
):
    one, two = followers
    with ThreadPoolExecutor() as pool:
        job_id = one.submit("a", "b")
        wait_until(lambda: len(replicas.cluster.running(job_id=job_id)) == 2, "both run")
        polled = pool.submit(two.get, f"{JOBS}/{job_id}?wait=60s")
        for index, name in enumerate("ab"):
            assert two.report(job_id, "completed", index=index, benchmark=name).status == 204
        assert polled.result()["resource"]["id"] == job_id
    for server in replicas.servers:
        assert server.finished(job_id)["status"]["state"] == "completed"
    assert two.call("DELETE", f"{JOBS}/{job_id}?hard_delete=true").status == 204


def test_a_stream_on_a_follower_has_what_others_commit(replicas: Replicas, followers: list[RunningServer]):
    one, two = followers
    job_id = one.submit("a")
    with ThreadPoolExecutor() as pool:
        events = pool.submit(two.get, f"{JOBS}/{job_id}/stream")
        wait_until(lambda: replicas.cluster.running(job_id=job_id), "it runs")
        assert one.report(job_id, "running", benchmark="a").status == 204
        assert one.report(job_id, "completed", benchmark="a").status == 204
        text: str = events.result()
    assert '"state":"completed"' in text


def test_an_unchanged_list_is_a_304_until_another_server_writes(followers: list[RunningServer]):
    one, two = followers
    tag = two.call("GET", JOBS).headers["etag"]
    job_id = one.submit("a")

    def changed() -> Any:
        answer = two.call("GET", JOBS, headers={"If-None-Match": tag})
        return answer.status == 200 and answer.body["items"][0]["resource"]["id"] == job_id

    wait_until(changed, "the list has the job")
    assert two.call("DELETE", f"{JOBS}/{job_id}?hard_delete=true").status == 204


@pytest.mark.parametrize("hard", [False, True])
def test_a_cancel_on_a_follower_returns_when_nothing_runs(
    replicas: Replicas, followers: list[RunningServer], hard: bool
):
    one, two = followers
    job_id = one.submit("a", "b", "c")
    wait_until(lambda: len(replicas.cluster.running(job_id=job_id)) == 3, "all run")
    query = "?hard_delete=true" if hard else ""
    assert two.call("DELETE", f"{JOBS}/{job_id}{query}").status == 204
    assert replicas.cluster.running(job_id=job_id) == []
    if hard:
        replicas.cluster.until_empty(job_id=job_id)
        wait_until(lambda: one.call("GET", f"{JOBS}/{job_id}").status == 404, "it is gone")
    else:
        assert one.job(job_id)["status"]["state"] == "cancelled"


def test_a_hard_delete_on_a_follower_stops_an_adapter_that_lingers_after_its_result(
    replicas: Replicas, followers: list[RunningServer]
):
    one, two = followers
    job_id = one.submit("a")
    wait_until(lambda: replicas.cluster.running(job_id=job_id), "it runs")
    assert one.report(job_id, "completed", benchmark="a").status == 204
    assert two.call("DELETE", f"{JOBS}/{job_id}?hard_delete=true").status == 204
    replicas.cluster.until_empty(job_id=job_id)


def test_one_key_creates_one_job_on_all_servers(replicas: Replicas):
    body = {
        "name": "once",
        "model": {"url": "http://model.test/v1", "name": "m"},
        "benchmarks": [{"id": "a", "provider_id": "scripted"}],
    }

    def create(server: RunningServer) -> str:
        answer = server.call("POST", JOBS, body, {"Idempotency-Key": "the-same"})
        assert answer.status == 202, answer
        return answer.body["resource"]["id"]

    with ThreadPoolExecutor() as pool:
        ids = set(pool.map(create, replicas.servers * 2))
    assert len(ids) == 1
    job_id = ids.pop()
    wait_until(lambda: replicas.cluster.running(job_id=job_id), "it runs")
    assert len(replicas.cluster.jobs(job_id=job_id)) == 1
    assert replicas.leader().call("DELETE", f"{JOBS}/{job_id}?hard_delete=true").status == 204


def test_samples_that_one_server_receives_are_read_on_another(
    replicas: Replicas, followers: list[RunningServer]
):
    one, two = followers
    job_id = one.submit("a")
    wait_until(lambda: replicas.cluster.running(job_id=job_id), "it runs")
    sample = b'{"sample_id": "s1", "scores": {"acc": 1}}\n'
    path = f"{JOBS}/{job_id}/benchmarks/0/samples"
    uploaded = one.call("PUT", path, sample, {"Content-Type": "application/x-ndjson"})
    assert uploaded.status < 300, uploaded
    assert two.get(path)["total_count"] == 1
    assert two.call("DELETE", f"{JOBS}/{job_id}?hard_delete=true").status == 204


def test_logs_are_read_and_followed_on_any_server(followers: list[RunningServer]):
    one, two = followers
    job_id = one.submit("a", provider="prints")
    for server in (one, two):
        server.finished(job_id)
        assert "hello" in server.logs(job_id)
        assert "hello" in server.logs(job_id, "?follow=true")
    assert two.call("DELETE", f"{JOBS}/{job_id}?hard_delete=true").status == 204


def test_providers_of_one_server_are_known_to_all(followers: list[RunningServer]):
    one, two = followers
    tag = two.call("GET", "/api/v1/evaluations/providers").headers["etag"]
    body = {"name": "own", "benchmarks": [{"id": "x", "name": "x", "category": "c"}]}
    created = one.call("POST", "/api/v1/evaluations/providers", body)
    assert created.status == 201, created
    wait_until(
        lambda: (
            two.call("GET", "/api/v1/evaluations/providers", headers={"If-None-Match": tag}).status == 200
        ),
        "the list has changed",
    )
    provider_id = created.body["resource"]["id"]
    assert two.call("DELETE", f"/api/v1/evaluations/providers/{provider_id}").status == 204

"""Answers of a server whose cluster is unavailable, or refuses access to the namespace of a tenant."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.conftest import QUICK, a_server
from harness import Config, RunningServer, wait_until
from harness.kube import TENANT, FakeCluster
from harness.kube.programs import JOB_TOKEN
from harness.server import API, Answer, job_request

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[FakeCluster]:
    with FakeCluster() as running:
        yield running


@pytest.fixture(scope="module")
def server(shared_cluster: FakeCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("access")
    quick = {**QUICK, "access_timeout": "2s", "node_lost_timeout": "100ms"}
    config = Config(folder / "config", kubernetes=quick, supervisor={"stop_grace": "2s"})
    config.image("script.test/runs", "b", provider_id="runs")
    with a_server(config, shared_cluster, folder, EVALHUB_HARDWARE_PROFILES_NAMESPACE="profiles") as running:
        yield running


@pytest.fixture
def cluster(shared_cluster: FakeCluster) -> Iterator[FakeCluster]:
    yield shared_cluster
    shared_cluster.heal()
    shared_cluster.unbind(TENANT, unbound=False)


def running(server: RunningServer, cluster: FakeCluster) -> str:
    job_id = server.submit(provider="runs")
    wait_until(lambda: cluster.running(job_id=job_id), "the pod runs")
    wait_until(lambda: "list pods" in cluster.called()[-2:], "it is watched")
    return job_id


def deleted(server: RunningServer, job_id: str, query: str = "") -> Answer:
    return server.call("DELETE", f"{API}/jobs/{job_id}{query}")


def error_of(job: dict[str, Any]) -> dict[str, Any]:
    return job["status"]["benchmarks"][0]["error_message"]


def test_a_benchmark_without_access_fails_and_its_record_can_be_deleted(
    server: RunningServer, cluster: FakeCluster
):
    job_id = running(server, cluster)
    cluster.unbind(TENANT)
    error = error_of(server.finished(job_id))
    assert error["message_code"] == "rights_lost"
    assert 'cannot list resource "jobs"' in error["message"]
    answer = deleted(server, job_id, "?hard_delete=true")
    assert answer.status == 204
    warning = answer.headers["warning"]
    assert warning.startswith('299 - "Workloads of the job may still run: ')
    assert "kubectl -n team-a delete jobs,configmaps,secrets" in warning
    assert server.call("GET", f"{API}/jobs/{job_id}").status == 404
    assert cluster.jobs(job_id=job_id), "nothing could be removed"


def test_the_command_line_prints_what_a_deletion_left(server: RunningServer, cluster: FakeCluster):
    job_id = running(server, cluster)
    cluster.unbind(TENANT)
    url = cluster.open_proxy()
    cluster.lead_to(f"http://127.0.0.1:{server.port}")
    command = [sys.executable, "-m", "evalhub_server", "cancel", "--delete", "--server", url, job_id]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "EVALHUB_TOKEN": JOB_TOKEN, "EVALHUB_TENANT": TENANT},
    )
    assert done.returncode == 0, done.stderr
    assert f"Job {job_id}: Workloads of the job may still run" in done.stderr
    assert f"Job {job_id} is deleted" in done.stdout


def test_a_cancel_without_access_is_answered_and_given_up(server: RunningServer, cluster: FakeCluster):
    job_id = running(server, cluster)
    cluster.unbind(TENANT)
    answer = deleted(server, job_id)
    assert answer.refusal == (503, "runtime_unavailable")
    assert answer.headers["retry-after"]
    assert "is cancelled, but some of its workloads are not stopped yet" in answer.body["message"]
    assert server.job(job_id)["status"]["state"] == "cancelled"
    wait_until(lambda: deleted(server, job_id).status == 204, "the server gives up")
    assert "Workload not stopped; it may still run" in server.log_text()


def test_a_cancel_during_an_outage_is_answered_and_completed(server: RunningServer, cluster: FakeCluster):
    job_id = running(server, cluster)
    cluster.outage()
    for query in ("", "?hard_delete=true"):
        answer = deleted(server, job_id, query)
        assert answer.refusal == (503, "runtime_unavailable")
        assert answer.headers["retry-after"]
    cluster.outage(on=False)
    cluster.until_empty(job_id=job_id)
    assert deleted(server, job_id, "?hard_delete=true").status == 204


def test_a_hardware_profile_that_cannot_be_read_now_is_worth_another_request(
    server: RunningServer, cluster: FakeCluster
):
    cluster.outage()
    request = job_request("b", provider="runs", hardware_config={"hardware_profile_name": "small"})
    answer = server.call("POST", f"{API}/jobs", request)
    assert answer.refusal == (503, "hardware_profile_fetch_failed")
    assert answer.headers["retry-after"]


def test_a_benchmark_of_an_unreachable_node_fails(server: RunningServer, cluster: FakeCluster):
    job_id = running(server, cluster)
    cluster.lose_node()
    assert error_of(server.finished(job_id))["message_code"] == "node_lost"


def test_a_job_in_an_unknown_namespace_says_so(server: RunningServer):
    headers = {"X-Tenant": "nowhere"}
    request = {
        "name": "j",
        "model": {"url": "http://m", "name": "m"},
        "benchmarks": [{"id": "b", "provider_id": "runs"}],
    }
    answer = server.call("POST", f"{API}/jobs", request, headers=headers)
    path = f"{API}/jobs/{answer.body['resource']['id']}"
    job = wait_until(
        lambda: (
            (found := server.call("GET", path, headers=headers).body)["status"]["state"] == "failed" and found
        ),
        "it fails",
    )
    assert "the namespace 'nowhere' does not exist" in error_of(job)["message"]

"""Evaluations in a cluster: states and messages derived from events of Jobs and pods."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from harness import RunningServer, wait_until
from harness.kube import TENANT, FakeCluster
from harness.kube.kinds import EVENTS, HARDWARE_PROFILES, PODS, Object
from harness.server import API, Answer, job_request

pytestmark = pytest.mark.slow

PHASE = "trustyai.opendatahub.io/evaluation-phase"
STOPS = "stops"


@pytest.fixture
def server(shared_server: RunningServer) -> RunningServer:
    return shared_server


@pytest.fixture
def cluster(shared_cluster: FakeCluster) -> FakeCluster:
    return shared_cluster


def benchmark(job: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return job["status"]["benchmarks"][index]


def warned(server: RunningServer, job_id: str, reason: str) -> dict[str, Any]:
    """The job, as soon as its benchmark has that warning."""

    def found() -> dict[str, Any] | None:
        job = server.job(job_id)
        return job if benchmark(job).get("warning_message", {}).get("message_code") == reason else None

    return wait_until(found, f"warning {reason}")


def submitted(server: RunningServer, cluster: FakeCluster, *benchmarks: str) -> str:
    """Submit a job whose pods run until they are stopped; returns when they run."""
    names = benchmarks or ("b",)
    job_id = server.submit(*names, provider=STOPS)
    wait_until(lambda: len(cluster.running(job_id=job_id)) == len(names), "the pods run")
    return job_id


def report(server: RunningServer, job_id: str, status: str, **fields: Any) -> Answer:
    event = {"provider_id": STOPS, "id": "b", "status": status, **fields}
    return server.call("POST", f"{API}/jobs/{job_id}/events", {"benchmark_status_event": event})


def job_of(cluster: FakeCluster, job_id: str) -> Object:
    [job] = cluster.jobs(job_id=job_id)
    return job


def test_a_result_completes_the_job_and_is_published_in_the_cluster(
    server: RunningServer, cluster: FakeCluster
):
    job_id = submitted(server, cluster)
    assert report(server, job_id, "running").status == 204
    wait_until(lambda: cluster.jobs(job_id=job_id, **{PHASE: "Running"}), "the phase is a label of the Job")
    assert report(server, job_id, "completed", metrics={"acc": 0.5}).status == 204
    assert server.finished(job_id)["status"]["state"] == "completed"
    wait_until(lambda: cluster.jobs(job_id=job_id, **{PHASE: "Completed"}), "so is its end")
    assert "EvaluationRunning" in {event["reason"] for event in cluster.objects(EVENTS)}


@pytest.mark.parametrize(
    ("script", "code", "fragment"),
    [
        ("exits-3", "adapter_failed", "exit code 3"),
        ("exits-0", "results_not_reported", "exit code 0"),
        ("oom", "oom_killed", "memory_limit"),
    ],
)
def test_an_exit_without_a_result_fails_with_its_reason(
    server: RunningServer, script: str, code: str, fragment: str
):
    job = server.finished(server.submit(provider=script))
    error = benchmark(job)["error_message"]
    assert (job["status"]["state"], error["message_code"]) == ("failed", code)
    assert fragment in error["message"]
    if script.startswith("exits"):
        assert error["message"].endswith("Last log lines:\nfirst\nlast words")


def test_a_failed_job_leaves_no_object_that_could_start_later(server: RunningServer, cluster: FakeCluster):
    job_id = server.submit(provider="waits-imagepullbackoff")
    error = benchmark(server.finished(job_id))["error_message"]
    assert error["message_code"] == "image_pull_failed"
    assert "log is empty" not in error["message"], "there is none"
    cluster.until_empty(job_id=job_id)


def test_a_deleted_job_fails_the_benchmark_until_a_late_result_comes(
    server: RunningServer, cluster: FakeCluster
):
    job_id = submitted(server, cluster)
    cluster.delete(job_of(cluster, job_id))
    job = server.finished(job_id)
    assert benchmark(job)["error_message"]["message_code"] == "job_disappeared"
    assert report(server, job_id, "completed", metrics={"acc": 1.0}).status == 204
    job = server.job(job_id)
    assert job["status"]["state"] == "completed"
    assert "error_message" not in benchmark(job)


def test_events_may_name_a_benchmark_by_its_label(server: RunningServer, cluster: FakeCluster):
    job_id = submitted(server, cluster, "MMLU_Pro")
    error = {"message": "oom", "message_code": "RUNTIME_FAILURE"}
    assert report(server, job_id, "failed", id="mmlu_pro", error_message=error).status == 204
    assert benchmark(server.finished(job_id))["error_message"]["message_code"] == "RUNTIME_FAILURE"


def test_the_sidecars_address_in_messages_is_replaced_by_the_models(
    server: RunningServer, cluster: FakeCluster
):
    job_id = submitted(server, cluster)
    error = {"message": "calling http://localhost:8080/v1/completions failed", "message_code": "x"}
    assert report(server, job_id, "failed", error_message=error).status == 204
    shown = benchmark(server.finished(job_id))["error_message"]["message"]
    assert shown == "calling http://model.test/v1/completions failed"


def test_waiting_for_a_queue_or_a_node_is_shown_as_a_warning(server: RunningServer, cluster: FakeCluster):
    job_id = server.submit(provider="unschedulable", queue={"kind": "kueue", "name": "lq"})
    job = warned(server, job_id, "suspended")
    assert job["status"]["state"] == "pending"
    cluster.admit(job_of(cluster, job_id))
    job = warned(server, job_id, "unschedulable")
    assert "nvidia.com/gpu" in benchmark(job)["warning_message"]["message"]
    assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204
    cluster.until_empty(job_id=job_id)


def test_logs_come_from_the_pod(server: RunningServer, cluster: FakeCluster):
    job_id = server.submit(provider="exits-3")
    server.finished(job_id)
    pod = cluster.objects(PODS, job_id=job_id)[0]["metadata"]["name"]
    header = f"=== pod={pod} container=adapter benchmark_id=b ===\n"
    assert server.logs(job_id) == f"{header}first\nlast words"
    assert server.logs(job_id, "?tail_lines=1") == f"{header}last words"
    assert server.get(f"{API}/jobs/{job_id}/benchmarks/0/logs?tail_lines=-1") == "first\nlast words\n"


def test_logs_that_cannot_be_read_are_an_error_before_the_answer_begins(
    server: RunningServer, cluster: FakeCluster
):
    job_id = submitted(server, cluster)
    wait_until(lambda: "pod=unknown" not in server.logs(job_id), "the server knows where the pod is")
    cluster.outage()
    try:
        for path in ("logs", "benchmarks/0/logs"):
            answer = server.call("GET", f"{API}/jobs/{job_id}/{path}")
            assert answer.refusal == (503, "runtime_unavailable")
            assert answer.headers["retry-after"]
    finally:
        cluster.heal()


def test_an_outage_of_the_cluster_fails_nothing_and_is_shown(server: RunningServer, cluster: FakeCluster):
    before = submitted(server, cluster)
    wait_until(lambda: cluster.called()[-1] == "list pods", "it is launched and looked at")
    cluster.outage()
    warned(server, before, "state_unknown")
    meanwhile = server.submit(provider=STOPS)
    warned(server, meanwhile, "cluster_unavailable")
    cluster.heal()
    wait_until(lambda: cluster.running(job_id=meanwhile), "the later one is launched")
    for job_id in (before, meanwhile):
        wait_until(
            lambda job_id=job_id: "warning_message" not in benchmark(server.job(job_id)),
            "the warning is taken back",
        )
        assert report(server, job_id, "completed").status == 204
        assert server.finished(job_id)["status"]["state"] == "completed"


def test_jobs_are_hidden_from_other_tenants(server: RunningServer, cluster: FakeCluster):
    job_id = submitted(server, cluster)
    other = {"X-Tenant": "other"}
    for path in (f"{API}/jobs/{job_id}", f"{API}/jobs/{job_id}/logs"):
        assert server.call("GET", path, headers=other).status == 404
    for query in ("", "?hard_delete=true"):
        assert server.call("DELETE", f"{API}/jobs/{job_id}{query}", headers=other).status == 404
    assert job_of(cluster, job_id)["metadata"]["namespace"] == TENANT


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [("missing", 404, "hardware_profile_not_found"), ("off", 400, "hardware_profile_disabled")],
)
def test_a_hardware_profile_is_checked_before_anything_is_stored(
    server: RunningServer, cluster: FakeCluster, name: str, status: int, code: str
):
    metadata = {"name": "off", "namespace": "profiles", "annotations": {"opendatahub.io/disabled": "true"}}
    kind = {"apiVersion": HARDWARE_PROFILES.api_version, "kind": "HardwareProfile"}
    cluster.seed({**kind, "metadata": metadata, "spec": {}})
    stored = server.get(f"{API}/jobs")["total_count"]
    request = job_request(provider=STOPS, hardware_config={"hardware_profile_name": name})
    answer = server.call("POST", f"{API}/jobs", request)
    assert answer.refusal == (status, code)
    assert server.get(f"{API}/jobs")["total_count"] == stored


@pytest.mark.parametrize(
    ("resource", "after"), [("configmaps", False), ("configmaps", True), ("jobs", False), ("jobs", True)]
)
@pytest.mark.parametrize("query", ["", "?hard_delete=true"])
def test_a_cancel_during_creation_leaves_no_objects(
    server: RunningServer, cluster: FakeCluster, resource: str, after: bool, query: str
):
    hold = cluster.hold("create", resource, after=after)
    job_id = server.submit("a", "b", "c", provider=STOPS)
    hold.reached()
    with ThreadPoolExecutor() as pool:
        cancelling = pool.submit(server.call, "DELETE", f"{API}/jobs/{job_id}{query}")
        wait_until(lambda: server.job(job_id)["status"]["state"] == "cancelled", "it is cancelled")
        hold.release()
        assert cancelling.result().status == 204
    assert cluster.leftovers(job_id=job_id) == []
    assert server.call("GET", f"{API}/jobs/{job_id}").status == (404 if query else 200)

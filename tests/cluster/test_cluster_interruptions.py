"""Restarts, crashes and cancels during launches and runs, with a durable server and cluster."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import Config, RunningServer, wait_until
from harness.kube import FakeCluster
from harness.server import API

pytestmark = pytest.mark.slow

NewServer = Callable[..., RunningServer]
STEPS = [("create", "configmaps", True), ("create", "jobs", False), ("create", "jobs", True)]
"""(verb, resource, whether it has taken effect). The others are tried at the runtime's own door."""


@pytest.fixture(autouse=True)
def provider(config: Config) -> None:
    config.image("script.test/stops", "a", "b", "c")


@pytest.mark.parametrize(("verb", "resource", "after"), STEPS)
def test_a_crash_during_creation_does_not_create_a_second_job(
    new_server: NewServer, cluster: FakeCluster, verb: str, resource: str, after: bool
):
    hold = cluster.hold(verb, resource, after=after)
    server = new_server()
    with server:
        job_id = server.submit("a", "b", "c")
        hold.reached()
        server.kill()
    hold.release()
    with new_server() as restarted:
        wait_until(lambda: len(cluster.running()) == 3, "all three run")
        for index, name in enumerate("abc"):
            assert restarted.report(job_id, "completed", index=index, benchmark=name).status == 204
        assert restarted.finished(job_id)["status"]["state"] == "completed"
        assert len(cluster.jobs()) == 3
        assert restarted.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true").status == 204
    cluster.until_empty()


def test_a_cancel_interrupted_by_a_crash_is_completed_by_the_next_server(
    new_server: NewServer, cluster: FakeCluster
):
    hold = cluster.hold("create", "jobs", after=True)
    server = new_server()
    with server:
        job_id = server.submit("a")
        hold.reached()
        with ThreadPoolExecutor() as pool:
            pool.submit(server.call, "DELETE", f"{API}/jobs/{job_id}")
            wait_until(lambda: server.job(job_id)["status"]["state"] == "cancelled", "it is cancelled")
            server.kill()
    hold.release()
    with new_server() as restarted:
        cluster.until_empty()
        assert restarted.job(job_id)["status"]["state"] == "cancelled"


def test_jobs_that_finished_while_no_server_ran_are_detected(new_server: NewServer, cluster: FakeCluster):
    with new_server() as server:
        job_id = server.submit("a")
        wait_until(cluster.running, "the pod runs")
    assert len(cluster.jobs()) == 1, "Jobs go on without a server"
    cluster.miss_deadline(cluster.jobs()[0])
    with new_server() as restarted:
        job = restarted.finished(job_id)
    assert job["status"]["benchmarks"][0]["error_message"]["message_code"] == "deadline_exceeded"


def test_a_server_that_starts_during_an_outage_waits_for_its_end(new_server: NewServer, cluster: FakeCluster):
    with new_server() as server:
        job_id = server.submit("a")
        wait_until(cluster.running, "the pod runs")
    cluster.outage()
    with new_server() as restarted:
        later = restarted.submit("b")
        cluster.outage(on=False)
        wait_until(lambda: len(cluster.running()) == 2, "both run")
        assert {restarted.job(job)["status"]["state"] for job in (job_id, later)} <= {"pending", "running"}


def test_without_a_cluster_the_start_fails_with_the_fix(new_server: NewServer):
    with pytest.raises(AssertionError, match=r"(?s)ended with 1: .*--local.*no cluster found.*KUBECONFIG"):
        new_server(KUBECONFIG="/no/such/file").start()

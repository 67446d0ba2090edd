"""Three servers over one database whose leader is killed, suspended, cut off and stopped."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness import wait_until
from harness.kube import FakeCluster
from harness.postgres import RunningPostgres, needs_postgres
from harness.replicas import JOBS, TAKEOVER_S, Replicas, eventually, state_of
from harness.server import job_request
from harness.tcp_proxy import TcpProxy

pytestmark = [needs_postgres, pytest.mark.slow]


@pytest.fixture(scope="module")
def postgres() -> Iterator[RunningPostgres]:
    with RunningPostgres() as running:
        yield running


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    with FakeCluster() as running:
        yield running


def test_a_suspended_leader_is_replaced_and_creates_nothing_when_it_continues(
    tmp_path: Path, postgres: RunningPostgres, cluster: FakeCluster
):
    with Replicas(tmp_path, postgres, cluster) as replicas:
        leader = replicas.leader()
        running = leader.submit("a", "b")
        wait_until(lambda: len(cluster.running(job_id=running)) == 2, "both run")
        hold = cluster.hold("create", "jobs")
        launching = leader.submit("a")
        hold.reached()
        process = psutil.Process(leader.pid)
        process.send_signal(signal.SIGSTOP)
        try:
            others = [each for each in replicas.servers if each is not leader]
            wait_until(
                lambda: any(replicas.role(each) == "leader" for each in others), "a new leader", TAKEOVER_S
            )
            server = next(each for each in others if replicas.role(each) == "follower")
            hold.release()  # the request of the suspended server takes effect, whatever has happened since
            eventually(server, "DELETE", f"{JOBS}/{launching}?hard_delete=true")
        finally:
            process.send_signal(signal.SIGCONT)
        wait_until(lambda: replicas.role(leader) == "follower", "it follows", TAKEOVER_S)
        cluster.until_empty(job_id=launching)
        assert len(cluster.running(job_id=running)) == 2, "nothing was restarted"
        assert len(cluster.jobs(job_id=running)) == 2
        assert leader.report(running, "completed", benchmark="a").status == 204
        assert server.job(running)["status"]["benchmarks"][0]["status"] == "completed"
        assert any(line["msg"].startswith("Leadership lost") for line in leader.log_lines())


def test_a_leader_that_is_cut_off_from_the_database_stops_to_lead_and_follows_later(
    tmp_path: Path, postgres: RunningPostgres, cluster: FakeCluster
):
    with (
        TcpProxy(postgres.port) as proxy,
        Replicas(tmp_path, postgres, cluster, 2, ports=(proxy.port,), started=1) as replicas,
    ):
        cut_off, other = replicas.servers
        assert replicas.leader() is cut_off
        with_other = replicas.add(other)
        job_id = with_other.submit("a")
        wait_until(lambda: cluster.running(job_id=job_id), "it runs")
        proxy.partition()
        wait_until(lambda: replicas.role(cut_off) == "ousted", "it is ousted", TAKEOVER_S)
        assert cut_off.call("GET", "/api/v1/ready").refusal == (503, "server_ousted")
        wait_until(lambda: replicas.role(other) == "leader", "the other leads", TAKEOVER_S)
        assert other.report(job_id, "completed", benchmark="a").status == 204
        proxy.heal()
        wait_until(lambda: replicas.role(cut_off) == "follower", "it follows", TAKEOVER_S)
        assert eventually(cut_off, "GET", f"{JOBS}/{job_id}").body["status"]["state"] == "completed"
        assert eventually(cut_off, "DELETE", f"{JOBS}/{job_id}?hard_delete=true").status == 204
        cluster.until_empty()


def test_an_outage_of_the_database_fails_nothing(tmp_path: Path, cluster: FakeCluster):
    with RunningPostgres() as postgres, Replicas(tmp_path, postgres, cluster, 2) as replicas:
        leader, follower = replicas.leader(), replicas.followers()[0]
        job_id = follower.submit("a", "b")
        wait_until(lambda: len(cluster.running(job_id=job_id)) == 2, "both run")
        postgres.stop()
        wait_until(lambda: replicas.role(leader) == "ousted", "it is ousted", TAKEOVER_S)
        for server in replicas.servers:
            assert server.report(job_id, "completed", benchmark="a").status == 503
            assert server.call("DELETE", f"{JOBS}/{job_id}").status == 503
        assert len(cluster.running(job_id=job_id)) == 2, "nothing is stopped that is not stored"
        postgres.start()
        replicas.leader()
        path = f"{JOBS}/{job_id}"
        wait_until(
            lambda: (
                eventually(follower, "GET", path).body["status"]["benchmarks"][0]["status"] == "completed"
            ),
            "the buffered event is stored",
            TAKEOVER_S,
        )
        assert eventually(follower, "DELETE", path).status == 204
        assert state_of(follower, job_id) == "cancelled"
        cluster.until_empty()


def test_five_first_starts_at_once_and_a_cancel_while_there_is_no_leader(
    tmp_path: Path, postgres: RunningPostgres, cluster: FakeCluster
):
    with Replicas(tmp_path, postgres, cluster, 5) as replicas:
        roles = Counter(replicas.role(each) for each in replicas.servers)
        assert roles == {"leader": 1, "follower": 4}
        for server in replicas.servers:
            assert server.get("/api/v1/evaluations/providers")["total_count"] == 2, (
                "the leader has loaded the files"
            )
            assert server.call("GET", "/api/v1/ready").status == 200
        leader, follower = replicas.leader(), replicas.followers()[0]
        job_id = leader.submit("a")
        wait_until(lambda: cluster.running(job_id=job_id), "it runs")
        leader.kill()
        assert eventually(follower, "DELETE", f"{JOBS}/{job_id}").status == 204
        assert cluster.running(job_id=job_id) == []
        assert state_of(follower, job_id) == "cancelled"


def test_a_rolling_restart_has_no_failed_request(
    tmp_path: Path, postgres: RunningPostgres, cluster: FakeCluster
):
    with Replicas(tmp_path, postgres, cluster, 2) as replicas:
        in_rotation = list(replicas.servers)
        lock, stop = threading.Lock(), threading.Event()
        failed: list[Any] = []

        def visit() -> int:
            count = 0
            while not stop.is_set():
                with lock:  # a load balancer that sends requests only to servers that are ready
                    server = in_rotation[count % len(in_rotation)]
                    answers = [server.call("POST", JOBS, job_request("a"))]
                    job_id = answers[0].body["resource"]["id"]
                    other = in_rotation[-1]
                    answers += [other.call("GET", f"{JOBS}/{job_id}"), other.call("GET", JOBS)]
                failed.extend(answer for answer in answers if answer.status >= 400)
                count += 1
            return count

        with ThreadPoolExecutor() as pool:
            visits = pool.submit(visit)
            try:
                for server in (replicas.leader(), replicas.followers()[0]):
                    with lock:
                        in_rotation.remove(server)
                    assert server.terminate() == 0
                    wait_until(
                        lambda: replicas.role(in_rotation[0]) == "leader", "the other leads", TAKEOVER_S
                    )
                    server.start()
                    with lock:
                        in_rotation.append(server)
            finally:
                stop.set()
        assert visits.result() > 0
        assert failed == []
        server = replicas.leader()
        jobs = server.get(f"{JOBS}?limit=100")
        wait_until(lambda: len(cluster.jobs()) >= min(jobs["total_count"], 100), "all are launched")

"""Whole evaluations "in the cluster": server, sidecar and adapter are processes, and a proxy authenticates between them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Config, RunningServer, free_port, processes_with, wait_until
from harness.config import STEPS
from harness.kube import FakeCluster
from harness.kube.programs import processes
from harness.server import API

from .conftest import QUICK, NewServer, a_server

pytestmark = pytest.mark.slow


@pytest.fixture
def config(tmp_path: Path, cluster: FakeCluster) -> Config:
    sidecar = {"base_url": "http://localhost:8080", "eval_hub": {"base_url": cluster.open_proxy()}}
    return Config(tmp_path / "config", kubernetes=QUICK, sidecar=sidecar, supervisor={"stop_grace": "5s"})


@pytest.fixture
def pods(tmp_path: Path) -> Path:
    """Stands for the volumes of all pods."""
    return tmp_path / "pods"


@pytest.fixture
def serve(new_server: NewServer, config: Config, cluster: FakeCluster, pods: Path) -> Iterator[NewServer]:
    """Starts a server whose adapters go through ``steps``; without any, it is started again."""
    running: list[RunningServer] = []

    def start(*steps: str) -> RunningServer:
        if steps:
            config.image("adapter.test/steps")
            cluster.script(
                "adapter.test/steps", processes(pods, sys.executable, "-S", "-E", str(STEPS), *steps)
            )
        server = new_server()
        server.start()
        running.append(server)
        cluster.lead_to(f"http://127.0.0.1:{server.port}")
        return server

    yield start
    for server in running:
        server.__exit__(None, None, None)


def test_an_evaluation_reports_through_its_sidecar(serve: NewServer):
    server = serve("say:hello", "running", 'completed:{"acc": 0.75}', "say:done")
    job = server.finished(server.submit())
    assert job["status"]["state"] == "completed"
    assert job["results"]["benchmarks"][0]["metrics"] == {"acc": 0.75}
    wait_until(lambda: server.logs(job["resource"]["id"]).endswith("hello\ndone"), "the log is whole")


def test_an_adapter_that_crashes_fails_with_its_code_and_its_last_words(serve: NewServer):
    server = serve("running", "say:out of ideas", "exit:3")
    error = server.finished(server.submit())["status"]["benchmarks"][0]["error_message"]
    assert error["message_code"] == "adapter_failed"
    assert "exit code 3" in error["message"]
    assert error["message"].endswith("out of ideas")


def test_a_result_that_the_server_was_not_there_to_hear_is_not_lost(serve: NewServer, tmp_path: Path):
    """The adapter reports once, and the sidecar keeps it until a server takes it."""
    go, gone = tmp_path / "go", tmp_path / "gone"
    server = serve("running", f"await:{go}", "completed", f"touch:{gone}", f"await:{tmp_path / 'end'}")
    job_id = server.submit()
    server.in_state(job_id, "running")
    server.kill()
    go.touch()
    wait_until(gone.exists, "the adapter has reported and gone on")
    restarted = serve()
    assert restarted.finished(job_id)["status"]["state"] == "completed"
    (tmp_path / "end").touch()


def test_a_cancel_ends_adapter_and_sidecar(serve: NewServer, pods: Path):
    server = serve("running", "hang")
    job_id = server.submit()
    server.in_state(job_id, "running")
    assert len(processes_with(str(pods))) == 2
    assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204
    wait_until(lambda: not processes_with(str(pods)), "nothing runs")


def test_where_no_proxy_authenticates_a_token_does_and_adapters_report_at_an_address_of_their_own(
    tmp_path: Path, cluster: FakeCluster, pods: Path
):
    port, token = free_port(), "0123456789abcdef0123456789abcdef"
    (tmp_path / "token").write_text(token)
    config = Config(
        tmp_path / "guarded",
        kubernetes=QUICK,
        service={"auth_token_file": str(tmp_path / "token")},
        sidecar={"base_url": "http://localhost:8080", "eval_hub": {"base_url": f"http://127.0.0.1:{port}"}},
    )
    config.image("adapter.test/steps")
    steps = (sys.executable, "-S", "-E", str(STEPS), "running", 'completed:{"acc": 0.75}')
    cluster.script("adapter.test/steps", processes(pods, *steps))
    server = a_server(config, cluster, tmp_path)
    server.port = port
    with server:
        assert server.call("POST", f"{API}/jobs", {}).status == 401
        server.headers["Authorization"] = f"Bearer {token}"
        job = server.finished(server.submit())
        assert job["status"]["state"] == "completed"
        assert job["results"]["benchmarks"][0]["metrics"] == {"acc": 0.75}
        assert server.call("DELETE", f"{API}/jobs/{job['resource']['id']}?hard_delete=true").status == 204

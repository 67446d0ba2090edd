"""Whole evaluations "in the cluster": real processes for server, sidecar and adapter, with an authenticating proxy between them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, free_port, processes_with, wait_until
from harness.config import STEPS
from harness.kube import FakeCluster
from harness.kube.programs import processes
from harness.server import API

from .conftest import QUICK, NewServer, a_server

WRITER = Path(__file__).parents[1] / "harness" / "sample_writer.py"

pytestmark = pytest.mark.slow


@pytest.fixture
def config(tmp_path: Path, cluster: FakeCluster) -> Config:
    sidecar = {"base_url": "http://localhost:8080", "eval_hub": {"base_url": cluster.open_proxy()}}
    return Config(tmp_path / "config", kubernetes=QUICK, sidecar=sidecar, supervisor={"stop_grace": "5s"})


@pytest.fixture
def pods(tmp_path: Path) -> Path:
    """A folder in place of the volumes of all pods."""
    return tmp_path / "pods"


@pytest.fixture
def serve(new_server: NewServer, config: Config, cluster: FakeCluster, pods: Path) -> Iterator[NewServer]:
    """Starts a server whose adapters run ``steps``; without steps, starts it again."""
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


def test_a_crashed_adapter_fails_with_its_exit_code_and_last_log_lines(serve: NewServer):
    server = serve("running", "say:out of ideas", "exit:3")
    error = server.finished(server.submit())["status"]["benchmarks"][0]["error_message"]
    assert error["message_code"] == "adapter_failed"
    assert "exit code 3" in error["message"]
    assert error["message"].endswith("out of ideas")


def test_a_result_reported_while_the_server_is_down_is_not_lost(serve: NewServer, tmp_path: Path, pods: Path):
    """The adapter reports once; the sidecar keeps the event until a server accepts it."""
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
    wait_until(lambda: not processes_with(str(pods)), "nothing runs")


def test_a_cancel_stops_adapter_and_sidecar(serve: NewServer, pods: Path):
    server = serve("running", "hang")
    job_id = server.submit()
    server.in_state(job_id, "running")
    assert len(processes_with(str(pods))) == 2
    assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204
    wait_until(lambda: not processes_with(str(pods)), "nothing runs")


def test_without_a_proxy_clients_need_the_token_and_adapters_use_a_callback_url(
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


def sample_set(server: RunningServer, job_id: str) -> dict[str, Any]:
    """The sample set of the benchmark, as soon as it is not pending."""

    def decided() -> dict[str, Any] | None:
        samples = server.job(job_id)["status"]["benchmarks"][0].get("samples", {})
        return samples if samples.get("state", "pending") != "pending" else None

    return wait_until(decided, "the samples", timeout_s=60)


def test_samples_and_artifacts_of_a_pod_are_uploaded(
    serve: NewServer, config: Config, cluster: FakeCluster, pods: Path, tmp_path: Path
):
    source = tmp_path / "in.jsonl"
    source.write_text(
        '{"sample_id": "a", "metrics": {"acc": 1}}\n{"sample_id": "b", "metrics": {"acc": 0}}\n'
    )
    config.image("adapter.test/samples")
    script = processes(pods, sys.executable, str(WRITER), str(source), "artifacts")
    cluster.script("adapter.test/samples", script)
    server = serve()
    job_id = server.submit()
    samples = sample_set(server, job_id)
    assert (samples["state"], samples["count"]) == ("stored", 2)
    names = wait_until(
        lambda: (
            len(found := sample_set(server, job_id).get("artifacts", [])) == 3
            and [each["name"] for each in found]
        ),
        "all artifacts",
    )
    assert names == ["logs/é.html", "report.txt", "too-large.bin"], "but not the link"
    page = server.get(f"{API}/jobs/{job_id}/benchmarks/0/samples")
    assert [item["sample_id"] for item in page["items"]] == ["a", "b"]


def test_samples_survive_an_outage_of_the_server(
    serve: NewServer, config: Config, cluster: FakeCluster, pods: Path, tmp_path: Path
):
    go = tmp_path / "go"
    command = (
        f"while [ ! -e '{go}' ]; do sleep 0.05; done; echo '{{\"sample_id\": \"a\"}}' > $EVALHUB_SAMPLES_PATH"
    )
    config.image("adapter.test/shell")
    cluster.script("adapter.test/shell", processes(pods, "sh", "-c", command))
    server = serve()
    job_id = server.submit()
    wait_until(cluster.running, "the pod runs")
    server.kill()
    go.touch()
    wait_until(lambda: list(pods.glob("*/samples/samples.jsonl")), "the samples are written")
    restarted = serve()
    assert sample_set(restarted, job_id)["count"] == 1


def test_an_adapter_without_samples_has_none(serve: NewServer):
    server = serve("completed")
    samples = sample_set(server, server.submit())
    assert (samples["state"], samples["message"]) == ("none", "its adapter left none")


def test_samples_that_never_come_are_given_up(tmp_path: Path, cluster: FakeCluster):
    quick = {**QUICK, "hardening": {"termination_grace": "1s"}}
    config = Config(tmp_path / "config", kubernetes=quick)
    config.image("script.test/exits:0")
    with a_server(config, cluster, tmp_path) as server:
        samples = sample_set(server, server.submit())
    assert samples["state"] == "none"
    assert samples["message"] == "none were uploaded within 11 s after its end"

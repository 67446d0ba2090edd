"""A server whose adapters use a sidecar, as ``evalhub server start`` configures it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, free_port
from harness.answering import AnsweringServer, Reply
from harness.server import API, job_request
from harness.sidecar import RunningSidecar

SIDECAR = "http://localhost:1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    model = {"http_timeout": "90s", "insecure_skip_verify": True}
    sidecar = {"local_mode": True, "base_url": f"{SIDECAR}/", "model": model}
    config = Config(tmp_path_factory.mktemp("sidecar-mode") / "config", sidecar=sidecar)
    config.provider("exit 0", "b", "c")
    config.provider("sleep 600", provider_id="waits")
    with RunningServer(config.folder) as running:
        yield running


def submit(server: RunningServer, provider: str = "scripted", **model: Any):
    model = {"url": "https://me:pw@model.test:9/v1/?a=b", "name": "m", **model}
    return server.call("POST", f"{API}/jobs", job_request(provider=provider, model=model))


def job_dir(server: RunningServer, job_id: str) -> Path:
    return server.configdir / "jobs" / job_id


def test_the_adapter_gets_the_address_of_the_sidecar_only(server: RunningServer):
    job_id = submit(server, auth={"secret_ref": "file:///home/a%20b"}).body["resource"]["id"]
    server.finished(job_id)
    spec = json.loads((job_dir(server, job_id) / "0/scripted/b/meta/job.json").read_text())
    assert spec["callback_url"] == SIDECAR
    assert spec["model"] == {
        "url": f"{SIDECAR}/model/{job_id}/v1/?a=b",
        "name": "m",
        "auth": {"secret_ref": "file:///home/a%20b"},
    }


def test_the_address_of_the_model_is_given_to_the_sidecar_only(server: RunningServer):
    job_id = submit(server, auth={"secret_ref": "file:///home/a%20b"}).body["resource"]["id"]
    server.finished(job_id)
    file = job_dir(server, job_id) / "sidecar-job-info.json"
    assert json.loads(file.read_text()) == {
        "model": {
            "url": "https://me:pw@model.test:9/v1/?a=b",
            "auth_secret_mount_path": "/home/a b",
            "http_timeout": 90_000_000_000,
            "insecure_skip_verify": True,
        }
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(path.name for path in file.parent.iterdir()) == ["0", "sidecar-job-info.json"]
    assert server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true").status == 204
    assert not file.parent.exists()


def test_the_resource_keeps_the_models_own_address(server: RunningServer):
    job = submit(server).body
    assert job["model"]["url"] == "https://me:pw@model.test:9/v1/?a=b"
    server.finished(job["resource"]["id"])


@pytest.mark.parametrize(
    ("secret_ref", "code", "text"),
    [
        (
            "my-secret",
            "invalid_secret_ref_uri",
            "The model.auth.secret_ref 'my-secret' must use the file:///path form",
        ),
        ("file://host/path", "invalid_secret_ref_uri", "must use the file:///path form"),
        ("file:relative", "invalid_secret_ref_uri", "must use the file:///path form"),
        ("file://", "invalid_secret_ref_uri", "must use the file:///path form"),
        ("https:///path", "invalid_secret_ref_uri", "must use the file:///path form"),
        ("file:///a%00b", "invalid_secret_ref_uri", "must use the file:///path form"),
        ("file:///a%zz", "invalid_secret_ref_uri_parse", "'file:///a%zz' is not a valid URI: "),
        ("file:///a\nb", "invalid_secret_ref_uri_parse", "is not a valid URI: "),
        (":x", "invalid_secret_ref_uri_parse", "is not a valid URI: "),
        ("file://[/x", "invalid_secret_ref_uri_parse", "is not a valid URI: "),
    ],
)
def test_credentials_that_are_not_a_directory_are_refused_and_nothing_is_stored(
    server: RunningServer, secret_ref: str, code: str, text: str
):
    before = server.get(f"{API}/jobs")["total_count"]
    answer = submit(server, auth={"secret_ref": secret_ref})
    assert answer.refusal == (400, code)
    assert text in answer.body["message"]
    assert server.get(f"{API}/jobs")["total_count"] == before


def test_the_sidecars_address_in_messages_is_replaced_by_the_models(server: RunningServer):
    job_id = submit(server, "waits").body["resource"]["id"]
    event = {
        "provider_id": "waits",
        "id": "b",
        "status": "failed",
        "error_message": {
            "message": f"404 at {SIDECAR}/model/{job_id}/v1/models and {SIDECAR}/api/v1/evaluations/x",
            "message_code": "c",
        },
    }
    assert server.call("POST", f"{API}/jobs/{job_id}/events", {"benchmark_status_event": event}).status == 204
    (status,) = server.finished(job_id)["status"]["benchmarks"]
    assert status["error_message"]["message"] == (
        f"404 at https://model.test:9/v1/models and http://localhost:{server.port}/api/v1/evaluations/x"
    )
    assert server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true").status == 204


def test_without_a_sidecar_nothing_is_checked_or_replaced(tmp_path: Path):
    config = Config(tmp_path / "config", sidecar={"base_url": "http://localhost:8080"})
    config.scripted("running", "failed:no answer from http://localhost:8080/v1")
    with RunningServer(config.folder) as server:
        job_id = submit(server, auth={"secret_ref": "my-secret"}).body["resource"]["id"]
        (status,) = server.finished(job_id)["status"]["benchmarks"]
        assert status["error_message"]["message"] == "no answer from http://localhost:8080/v1"
        assert not (job_dir(server, job_id) / "sidecar-job-info.json").exists()


@pytest.mark.parametrize("token", ["", "0123456789abcdef0123456789abcdef"])
def test_a_job_runs_through_a_real_sidecar(tmp_path: Path, token: str):
    port = free_port()
    (tmp_path / "token").write_text(token)
    service = {"auth_token_file": str(tmp_path / "token") if token else ""}
    with AnsweringServer(lambda _: Reply(200, b"an answer")) as model:
        sidecar = RunningSidecar(
            tmp_path / "sidecar",
            {"local_mode": True, "eval_hub": {"base_url": f"http://localhost:{port}"}},
            # The job's files; otherwise it sends requests to the server, which may require a token.
            {"EVALHUB_DATA_DIR": str(tmp_path / "config")} if token else {},
        )
        config = Config(
            tmp_path / "config", sidecar={"local_mode": True, "base_url": sidecar.url}, service=service
        )
        config.scripted("running", "ask-model", "completed")
        with sidecar, RunningServer(config.folder, port=port) as server:
            server.headers = {"Authorization": f"Bearer {token}"} if token else {}
            job_id = server.submit(model={"url": f"{model.url}/v1", "name": "m"})
            job = server.finished(job_id)
            assert job["status"]["state"] == "completed"
            assert "an answer" in server.logs(job_id)
        assert [received.path for received in model.requests] == ["/v1/models"]

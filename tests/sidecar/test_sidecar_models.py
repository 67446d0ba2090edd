"""The route ``/model/<job id>/…`` of a workstation's sidecar."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.answering import AnsweringServer, Reply, Request
from harness.certificates import Certificate
from harness.sidecar import RunningSidecar

LocalJob = Callable[..., str]
FIVE_SECONDS_NS = 5_000_000_000


def test_a_request_reaches_the_model_of_its_job(
    sidecar: RunningSidecar, model: AnsweringServer, local_job: LocalJob
):
    job = local_job(f"{model.url}/v1")
    headers = {"Authorization": "Bearer sk-1", "Content-Type": "application/json"}
    prompt = {"messages": [{"role": "user", "content": "ä"}]}
    answer = sidecar.call("POST", f"/model/{job}/v1/chat/completions?key=a%20b", prompt, headers)
    assert (answer.status, answer.body) == (200, {"choices": []})
    (received,) = model.requests
    assert received.path == "/v1/chat/completions?key=a%20b"
    assert received.document == prompt
    assert received.header("Authorization") == ["Bearer sk-1"]


def test_each_job_has_its_own_model(sidecar: RunningSidecar, model: AnsweringServer, local_job: LocalJob):
    with AnsweringServer(lambda _: Reply(200, b"other")) as other:
        first, second = local_job(model.url), local_job(other.url)
        assert sidecar.call("GET", f"/model/{first}/models").body == {"choices": []}
        assert sidecar.call("GET", f"/model/{second}/models").body == "other"
        assert sidecar.call("GET", f"/model/{second}").body == "other"
        assert [received.path for received in other.requests] == ["/models", "/"]


def test_a_request_without_credentials_stays_without(
    sidecar: RunningSidecar, model: AnsweringServer, local_job: LocalJob, tmp_path: Path
):
    (tmp_path / "api-key").write_text("s3cret")
    job = local_job(model.url, auth_secret_mount_path=str(tmp_path))
    sidecar.call("GET", f"/model/{job}/models")
    assert model.requests[0].header("Authorization") == []


def test_a_password_in_the_address_is_sent_as_credentials(
    sidecar: RunningSidecar, model: AnsweringServer, local_job: LocalJob
):
    job = local_job(model.url.replace("://", "://me:p%40ss@"))
    sidecar.call("GET", f"/model/{job}/models")
    sidecar.call("GET", f"/model/{job}/models", headers={"Authorization": "Bearer mine"})
    assert model.requests[0].header("Authorization") == ["Basic bWU6cEBzcw=="]
    assert model.requests[1].header("Authorization") == ["Bearer mine"]


def test_an_unreachable_model_is_a_bad_gateway(sidecar: RunningSidecar, local_job: LocalJob):
    answer = sidecar.call("GET", f"/model/{local_job('http://localhost:1')}/models")
    assert answer.refusal == (502, "bad_gateway")
    assert answer.body["message"] == "The sidecar could not get an answer from the model: Connection refused."


def test_a_model_timeout_is_a_bad_gateway(
    sidecar: RunningSidecar, model: AnsweringServer, local_job: LocalJob
):
    job, over = local_job(model.url, http_timeout="50ms"), threading.Event()

    def late(_: Request) -> Reply:
        over.wait(30)
        return Reply()

    model.answer = late
    answer = sidecar.call("GET", f"/model/{job}/models")
    over.set()
    assert answer.status == 502
    assert "it did not answer in time" in answer.body["message"]


@pytest.mark.parametrize("job", ["nope", "..", "a.b", "%2e", "a" * 200, ""])
def test_an_unknown_job_is_not_found(sidecar: RunningSidecar, server: AnsweringServer, job: str):
    server.answer = lambda _: Reply(404, b"{}")
    answer = sidecar.call("GET", f"/model/{job}/v1/models")
    assert answer.status == 400 if job in ("..", "%2e") else 404
    assert answer.body["message_code"] == "invalid_path" if job in ("..", "%2e") else "resource_not_found"


def test_a_job_without_a_model_has_no_route(sidecar: RunningSidecar, local_job: LocalJob):
    answer = sidecar.call("GET", f"/model/{local_job('')}/models")
    assert answer.refusal == (400, "model_url_required")


def test_jobs_in_other_directories_are_fetched_from_the_server(
    sidecar: RunningSidecar, server: AnsweringServer, model: AnsweringServer
):
    job = {"model": {"url": f"{model.url}/v1", "name": "m", "auth": {"secret_ref": "file:///nowhere"}}}
    server.answer = lambda _: Reply(200, json.dumps(job).encode())
    assert sidecar.call("GET", "/model/elsewhere/v1/models").status == 200
    assert sidecar.call("GET", "/model/elsewhere/v1/models").status == 200
    assert [received.path for received in server.requests] == ["/api/v1/evaluations/jobs/elsewhere"]
    assert [received.path for received in model.requests] == ["/v1/models"] * 2


@pytest.mark.parametrize("answer", [Reply(500), Reply(200, b"no json"), None])
def test_a_failed_lookup_of_a_job_is_a_bad_gateway(
    sidecar: RunningSidecar, server: AnsweringServer, answer: Reply | None
):
    server.answer = lambda _: answer
    refused = sidecar.call("GET", "/model/elsewhere-2/v1/models")
    assert refused.refusal == (502, "bad_gateway")


def test_a_link_in_place_of_a_job_file_is_not_followed(
    sidecar: RunningSidecar,
    server: AnsweringServer,
    model: AnsweringServer,
    local_job: LocalJob,
    data_dir: Path,
):
    server.answer = lambda _: Reply(404)
    real = data_dir / "jobs" / local_job(model.url) / "sidecar-job-info.json"
    folder = data_dir / "jobs" / "linked"
    folder.mkdir()
    (folder / real.name).symlink_to(real)
    assert sidecar.call("GET", "/model/linked/models").status == 404
    assert model.requests == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_job_file_of_another_user_is_ignored(
    sidecar: RunningSidecar,
    server: AnsweringServer,
    model: AnsweringServer,
    local_job: LocalJob,
    data_dir: Path,
):
    server.answer = lambda _: Reply(404)
    job = local_job(model.url)
    os.chown(data_dir / "jobs" / job / "sidecar-job-info.json", 65534, 65534)
    assert sidecar.call("GET", f"/model/{job}/models").status == 404
    assert model.requests == []


def test_a_jobs_model_is_cached(
    sidecar: RunningSidecar,
    server: AnsweringServer,
    model: AnsweringServer,
    local_job: LocalJob,
    data_dir: Path,
):
    server.answer = lambda _: Reply(404)
    job = local_job(model.url)
    assert sidecar.call("GET", f"/model/{job}/models").status == 200
    (data_dir / "jobs" / job / "sidecar-job-info.json").unlink()
    assert sidecar.call("GET", f"/model/{job}/models").status == 200


@pytest.mark.parametrize("ttl", ["1ns", 1])
def test_cache_entries_expire(
    tmp_path: Path,
    server: AnsweringServer,
    model: AnsweringServer,
    local_job: LocalJob,
    data_dir: Path,
    ttl: object,
):
    server.answer = lambda _: Reply(404)
    local = {"job_cache_entry_ttl": ttl, "job_cache_sweep_interval": "10ms"}
    config = {"local_mode": True, "local": local, "eval_hub": {"base_url": server.url}}
    job = local_job(model.url)
    with RunningSidecar(tmp_path, config, {"EVALHUB_DATA_DIR": str(data_dir)}) as sidecar:
        assert sidecar.call("GET", f"/model/{job}/models").status == 200
        (data_dir / "jobs" / job / "sidecar-job-info.json").unlink()
        assert sidecar.call("GET", f"/model/{job}/models").status == 404


def test_the_certificate_in_the_secret_directory_is_trusted(
    sidecar: RunningSidecar,
    tls_server: AnsweringServer,
    local_job: LocalJob,
    localhost: Certificate,
    tmp_path: Path,
):
    (tmp_path / "ca_cert").write_bytes(localhost.crt.read_bytes())
    trusting = local_job(tls_server.url, auth_secret_mount_path=str(tmp_path), http_timeout=FIVE_SECONDS_NS)
    assert sidecar.call("GET", f"/model/{trusting}/models").body == "secure"


def test_an_unknown_certificate_is_refused_unless_verification_is_off(
    sidecar: RunningSidecar, tls_server: AnsweringServer, local_job: LocalJob
):
    answer = sidecar.call("GET", f"/model/{local_job(tls_server.url)}/models")
    assert answer.status == 502
    assert "its certificate is not trusted" in answer.body["message"]
    careless = local_job(tls_server.url, insecure_skip_verify=True)
    assert sidecar.call("GET", f"/model/{careless}/models").body == "secure"

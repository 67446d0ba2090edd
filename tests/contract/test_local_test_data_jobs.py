"""Jobs with test data in local mode: a real server, its adapters, and a stand-in for the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, processes_with, wait_until
from harness.answering import AnsweringServer, Reply, Request
from harness.config import steps_command
from harness.server import API, job_request

SHA = "0123456789abcdef0123456789abcdef01234567"


def answer(received: Request) -> Reply:
    if received.path == "/api/datasets/me/set/revision/main":
        return Reply(200, json.dumps({"sha": SHA, "siblings": [{"rfilename": "a.txt"}]}).encode())
    if received.path == f"/datasets/me/set/resolve/{SHA}/a.txt":
        return Reply(200, b"text of a\n")
    return Reply(404)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("data") / "config")
    config.provider(f'cat "$EVALHUB_TEST_DATA_DIR/a.txt"; {steps_command("completed")}')
    with AnsweringServer(answer) as hub:
        env = {"HF_ENDPOINT": hub.url, "NO_PROXY": "localhost,127.0.0.1", "HF_TOKEN": ""}
        with RunningServer(config.folder, env=env) as server:
            yield server


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("exposed") / "config")
    config.scripted("completed")
    with RunningServer(config.folder, env={"API_HOST": "0.0.0.0"}) as server:
        yield server


def submitted(server: RunningServer, **benchmark: Any) -> str:
    return server.submit(benchmarks=[{"id": "b", "provider_id": "scripted", **benchmark}])


def test_the_commit_of_fetched_data_is_recorded(server: RunningServer):
    ref = {"hf": {"repo_id": "me/set"}}
    job_id = submitted(server, test_data_ref=ref)
    job = server.finished(job_id)
    assert job["status"]["state"] == "completed"
    assert job["benchmarks"][0]["test_data_ref"] == {**ref, "resolved_sha": SHA}
    log = server.logs(job_id)
    assert "Fetching the test data" in log
    assert "text of a" in log
    assert server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true").status == 204


def test_a_failed_fetch_fails_the_benchmark(server: RunningServer):
    job = server.finished(submitted(server, test_data_ref={"hf": {"repo_id": "me/other"}}))
    assert job["status"]["state"] == "failed"
    error = job["status"]["benchmarks"][0]["error_message"]
    assert error["message_code"] == "test_data_failed"
    assert error["message"].startswith(
        "The test data could not be fetched: The hub does not provide revision 'main' of the dataset 'me/other'"
    )


def test_a_volume_of_a_cluster_fails_the_benchmark(server: RunningServer):
    job = server.finished(submitted(server, test_data_ref={"pvc": {"claim_name": "claim"}}))
    assert job["status"]["state"] == "failed"
    assert "test_data_ref.pvc" in job["status"]["benchmarks"][0]["error_message"]["message"]


def refusal(server: RunningServer, **benchmark: Any) -> str:
    body = job_request(benchmarks=[{"id": "b", "provider_id": "scripted", **benchmark}])
    answer = server.call("POST", f"{API}/jobs", body)
    assert answer.refusal == (400, "request_validation_failed")
    return answer.body["message"]


def test_a_directory_of_this_computer_is_used_as_it_is(server: RunningServer, tmp_path: Path):
    (tmp_path / "a.txt").write_text("text of mine\n", "utf-8")
    job_id = submitted(server, test_data_path=str(tmp_path))
    job = server.finished(job_id)
    assert job["status"]["state"] == "completed"
    assert job["benchmarks"][0]["test_data_path"] == str(tmp_path)
    assert "text of mine" in server.logs(job_id)
    body = {"only": [0]}
    rerun = server.call("POST", f"{API}/jobs/{job_id}/reruns", body).body["resource"]["id"]
    assert server.finished(rerun)["status"]["state"] == "completed"
    assert "text of mine" in server.logs(rerun)
    # A result is reported before its process has exited.
    wait_until(lambda: not processes_with(str(tmp_path)), "the end of the adapters")
    (tmp_path / "a.txt").unlink()
    tmp_path.rmdir()
    refused = server.call("POST", f"{API}/jobs/{job_id}/reruns", body)
    assert refused.refusal == (400, "request_validation_failed")


def test_a_path_that_can_not_be_used_is_refused(server: RunningServer, tmp_path: Path):
    file = tmp_path / "file"
    file.touch()
    for path in ("relative", "~", "a\0b"):
        assert "must be an absolute path" in refusal(server, test_data_path=path)
    for path in (file, tmp_path / "none", "/" + "x" * 5000):
        assert "must be an existing directory" in refusal(server, test_data_path=str(path))
    text = refusal(server, test_data_path=str(tmp_path), test_data_ref={"hf": {"repo_id": "me/set"}})
    assert "excludes test_data_ref" in text


def test_on_other_addresses_a_path_is_refused(exposed: RunningServer, tmp_path: Path):
    assert "is accepted only in local mode" in refusal(exposed, test_data_path=str(tmp_path))
    assert "is accepted only in local mode" in refusal(exposed, test_data_path="/none")

"""Uploads of what an adapter left on the pod's volume, when the adapter has exited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import free_port, wait_until
from harness.answering import AnsweringServer, Reply, Request
from harness.sidecar import Pod, RunningSidecar

LINES = b'{"sample_id": "a"}\n' * 100_000


class Volume:
    """The pod's volume for samples, and a sidecar that uploads from it."""

    def __init__(self, pod: Pod, tmp_path: Path) -> None:
        self.pod = pod
        self.folder = tmp_path / "samples"
        self.folder.mkdir()
        self.samples = self.folder / "samples.jsonl"
        self.artifacts = self.folder / "artifacts"
        self.target = f"/api/v1/evaluations/jobs/{pod.job_id}/benchmarks/2"
        pod.job(benchmark_index=2, callback_url="http://localhost:8080")

    def sidecar(self, server: str) -> RunningSidecar:
        config: dict[str, Any] = {
            "path": str(self.samples),
            "artifacts_path": str(self.artifacts),
            "attempt": 3,
            "tenant": "red",
        }
        return self.pod.sidecar(server, samples=config)


@pytest.fixture
def volume(pod: Pod, tmp_path: Path) -> Volume:
    return Volume(pod, tmp_path)


def uploads(requests: list[Request]) -> list[tuple[str, bytes]]:
    return [(each.path, each.body) for each in requests if each.method == "PUT"]


def test_files_are_uploaded_when_the_adapter_has_exited(volume: Volume, server: AnsweringServer):
    with volume.sidecar(server.url) as sidecar:
        assert volume.artifacts.stat().st_mode & 0o777 == 0o777, "the adapter may be another user"
        volume.samples.write_bytes(LINES)
        (volume.artifacts / "logs").mkdir()
        (volume.artifacts / "logs" / "é&.log").write_bytes(b"log")
        (volume.artifacts / "empty").touch()
        assert uploads(server.requests) == []
        assert sidecar.terminate() == 0
    assert uploads(server.requests) == [
        (f"{volume.target}/samples?attempt=3", LINES),
        (f"{volume.target}/artifacts?name=empty&attempt=3", b""),
        (f"{volume.target}/artifacts?name=logs%2F%C3%A9%26.log&attempt=3", b"log"),
    ]
    assert {tuple(each.header("Authorization")) for each in server.requests} == {("Bearer pod-token",)}
    assert {tuple(each.header("X-Tenant")) for each in server.requests} == {("red",)}


def test_an_adapter_without_samples_is_reported_with_an_empty_file(volume: Volume, server: AnsweringServer):
    with volume.sidecar(server.url) as sidecar:
        assert sidecar.terminate() == 0
    assert uploads(server.requests) == [(f"{volume.target}/samples?attempt=3", b"")]


def test_a_callback_url_with_a_token_is_used(volume: Volume, server: AnsweringServer):
    volume.pod.job(benchmark_index=2, callback_url="http://localhost:8080/callback/secret/")
    with volume.sidecar(server.url) as sidecar:
        assert sidecar.terminate() == 0
    assert uploads(server.requests) == [(f"/callback/secret{volume.target}/samples?attempt=3", b"")]


def test_an_upload_is_repeated_until_the_server_is_available(volume: Volume):
    port = free_port()
    failing = True

    def answer(_: Request) -> Reply:
        return Reply(503 if failing else 200)

    with volume.sidecar(f"http://localhost:{port}") as sidecar:
        volume.samples.write_bytes(LINES)
        assert sidecar.process is not None
        sidecar.process.terminate()
        wait_until(lambda: "Upload is retried" in sidecar.log_text(), "a failed upload")
        with AnsweringServer(answer, port=port) as server:
            wait_until(lambda: server.requests, "a refused upload")
            failing = False
            assert sidecar.process.wait(40) == 0
            assert set(uploads(server.requests)) == {(f"{volume.target}/samples?attempt=3", LINES)}


def test_the_grace_period_ends_the_attempts(volume: Volume):
    volume.pod.grace = "3s"
    with volume.sidecar(f"http://localhost:{free_port()}") as sidecar:
        assert sidecar.terminate() == 0
    assert "not uploaded in the termination grace period" in sidecar.log_text()


def test_a_refused_token_is_read_again(volume: Volume, server: AnsweringServer):
    server.answer = lambda r: Reply(200 if r.header("Authorization") == ["Bearer new"] else 401)
    with volume.sidecar(server.url) as sidecar:
        volume.samples.write_bytes(LINES)
        sidecar.call("POST", volume.pod.events, {})  # the token is in the sidecar's cache
        volume.pod.token("new")
        assert sidecar.terminate() == 0
    assert uploads(server.requests)[-1] == (f"{volume.target}/samples?attempt=3", LINES)


@pytest.mark.parametrize("status", [404, 409])
def test_a_superseded_attempt_uploads_nothing_more(volume: Volume, server: AnsweringServer, status: int):
    server.answer = lambda _: Reply(status)
    with volume.sidecar(server.url) as sidecar:
        (volume.artifacts / "a").touch()
        assert sidecar.terminate() == 0
    assert len(server.requests) == 1
    assert "Upload refused" in sidecar.log_text()


def test_refused_artifacts_end_the_uploads(volume: Volume, server: AnsweringServer):
    server.answer = lambda r: Reply(400 if "artifacts" in r.path else 200)
    with volume.sidecar(server.url) as sidecar:
        for number in range(50):
            (volume.artifacts / str(number)).touch()
        assert sidecar.terminate() == 0
    assert len(server.requests) == 1 + 20


def test_links_to_what_only_the_sidecar_may_read_are_not_followed(volume: Volume, server: AnsweringServer):
    volume.pod.credentials(**{"api-key": "sk-secret"})
    with volume.sidecar(server.url) as sidecar:
        volume.samples.symlink_to(volume.pod.secret / "api-key")
        (volume.artifacts / "file").symlink_to(volume.pod.secret / "api-key")
        (volume.artifacts / "directory").symlink_to(volume.pod.secret)
        (volume.artifacts / "own").write_bytes(b"own")
        assert sidecar.terminate() == 0
    assert uploads(server.requests) == [(f"{volume.target}/artifacts?name=own&attempt=3", b"own")]
    refused = [line for line in map(json.loads, sidecar.log_text().splitlines()) if "symbolic" in str(line)]
    assert len(refused) == 2


def test_a_directory_of_artifacts_that_is_a_link_is_not_followed(volume: Volume, server: AnsweringServer):
    volume.pod.credentials(**{"api-key": "sk-secret"})
    with volume.sidecar(server.url) as sidecar:
        volume.artifacts.rmdir()
        volume.artifacts.symlink_to(volume.pod.secret)
        assert sidecar.terminate() == 0
    assert uploads(server.requests) == [(f"{volume.target}/samples?attempt=3", b"")]

"""Test data of local benchmarks from a real git repository, and from a bucket with signed requests."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from evalhub_runtime_local.runtime import LocalRuntime
from evalhub_server.plugins import GitRef, LogOptions, S3Ref, TestDataRef
from evalhub_server.testing.runs import a_run
from init.test_init_git import GitServer, Repository
from init.test_init_s3 import Bucket

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_factories=["asyncio"])]


async def log_of(runtime: LocalRuntime, ref: TestDataRef, name: str) -> str:
    run = replace(a_run({"command": f'cat "$EVALHUB_TEST_DATA_DIR/{name}"'}), test_data=ref)
    handle = await runtime.launch(run)
    exit_ = await runtime.wait(handle)
    await runtime.stop(handle, 1)
    log = b"".join([chunk async for chunk in runtime.logs(handle, LogOptions(tail_lines=-1))]).decode()
    assert exit_.code == 0, log
    return log


async def test_a_git_repository_is_fetched(
    runtime: LocalRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = GitServer(tmp_path)
    repository = Repository(tmp_path)
    with server.upstream as upstream:
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
        monkeypatch.setenv("TEST_DATA_ALLOWED_HOSTS", f"localhost:{upstream.port}")
        ref = TestDataRef(git=GitRef(url=f"{upstream.url}/repo", ref="v1", sub_path="data"))
        log = await log_of(runtime, ref, "deep/x.jsonl")
    assert f"files of commit {repository.first}" in log
    assert log.endswith("{}")


async def test_a_bucket_is_fetched_with_the_credentials_of_the_environment(
    runtime: LocalRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (bucket := Bucket(**{"data/a.txt": b"text of a"})).upstream as upstream:
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
        for name in ("AWS_DEFAULT_REGION", "AWS_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret/+")
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", upstream.url)
        ref = TestDataRef(s3=S3Ref(bucket="my-bucket", key="data/", secret_ref="unused"))
        log = await log_of(runtime, ref, "a.txt")
    assert bucket.upstream.requests
    assert log.endswith("text of a")

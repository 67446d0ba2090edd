"""Test data of local benchmarks, fetched by the real init program from a stand-in for the hub and from real git."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from evalhub_runtime_local.runtime import LocalRuntime
from evalhub_server.plugins import (
    BenchmarkRun,
    Exit,
    GitRef,
    HuggingFaceRef,
    LaunchError,
    PvcRef,
    S3Ref,
    TestDataRef,
)
from evalhub_server.testing.runs import a_run
from harness.answering import AnsweringServer, Reply, Request

# One event loop is enough: the fetch is a process of its own.
pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])

SHA = "0123456789abcdef0123456789abcdef01234567"
HF = TestDataRef(hf=HuggingFaceRef(repo_id="me/set"))
FILES = {"a.txt": b"text of a", "deep/b.txt": b"text of b"}
PRINT = 'cat "$EVALHUB_TEST_DATA_DIR/a.txt" "$EVALHUB_TEST_DATA_DIR/deep/b.txt"'


class Services:
    """The hub with one dataset, and the server that reports are sent to."""

    def __init__(self) -> None:
        self.token = ""
        self.events: list[dict[str, object]] = []
        self.refuse = False
        self.upstream = AnsweringServer(self.answer)

    def answer(self, received: Request) -> Reply:
        if received.method == "POST":
            self.events.append(json.loads(received.body)["benchmark_status_event"])
            return Reply(409 if self.refuse else 204)
        if self.token and received.header("Authorization") != [f"Bearer {self.token}"]:
            return Reply(401)
        if received.path == "/api/datasets/me/set/revision/main":
            listed = [{"rfilename": name} for name in FILES]
            return Reply(200, json.dumps({"sha": SHA, "siblings": listed}).encode())
        content = FILES.get(received.path.removeprefix(f"/datasets/me/set/resolve/{SHA}/"))
        return Reply(404) if content is None else Reply(200, content)


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    services = Services()
    with services.upstream as upstream:
        for name in ("HF_TOKEN", "AWS_ACCESS_KEY_ID"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HF_ENDPOINT", upstream.url)
        yield services


def with_data(services: Services, ref: TestDataRef, command: str = PRINT, **config: object) -> BenchmarkRun:
    run = a_run({"command": command, **config}, callback_url=services.upstream.url)
    return replace(run, test_data=ref)


async def finished(runtime: LocalRuntime, run: BenchmarkRun) -> tuple[Exit, str, Path]:
    """The exit, the log and the directory of the benchmark."""
    handle = await runtime.launch(run)
    exit_ = await runtime.wait(handle)
    await runtime.stop(handle, 1)
    directory = Path(handle["dir"])
    return exit_, (directory / "jobrun.log").read_text("utf-8"), directory


async def test_the_adapter_starts_with_the_fetched_data(runtime: LocalRuntime, services: Services) -> None:
    run = with_data(services, HF)
    exit_, log, directory = await finished(runtime, run)
    assert exit_ == Exit(code=0)
    assert log.endswith("text of atext of b")
    assert f"eval-runtime-init: 2 files of commit {SHA}" in log
    assert (directory / "test-data-1" / "deep" / "b.txt").read_bytes() == FILES["deep/b.txt"]
    assert [event["phase"] for event in services.events] == ["loading_data"] * 2
    assert services.events[-1]["job_meta"] == {"resolved_sha": SHA}
    await runtime.remove(run.spec.id, "")
    assert not directory.exists()


async def test_a_failed_fetch_is_the_exit_and_starts_no_adapter(
    runtime: LocalRuntime, services: Services, tmp_path: Path
) -> None:
    ref = TestDataRef(hf=HuggingFaceRef(repo_id="me/other"))
    exit_, log, _ = await finished(runtime, with_data(services, ref, f"touch {tmp_path}/started"))
    assert (exit_.code, exit_.reason, exit_.lost) == (1, "test_data_failed", False)
    sentence = "The hub does not provide revision 'main' of the dataset 'me/other': 404 Not Found"
    assert exit_.message.startswith(f"The test data could not be fetched: {sentence}")
    assert exit_.hint == "Check test_data_ref."
    assert sentence in log
    assert not (tmp_path / "started").exists()


async def test_reports_that_are_refused_are_logged_and_the_fetch_continues(
    runtime: LocalRuntime, services: Services
) -> None:
    services.refuse = True
    exit_, log, _ = await finished(runtime, with_data(services, HF))
    assert exit_ == Exit(code=0)
    assert "The server did not accept the report about the test data: 409" in log


async def test_without_a_usable_callback_url_the_data_are_fetched(
    runtime: LocalRuntime, services: Services
) -> None:
    run = replace(a_run({"command": PRINT}, callback_url="not a url"), test_data=HF)
    exit_, log, _ = await finished(runtime, run)
    assert exit_ == Exit(code=0)
    assert "The test data are fetched without reports" in log


async def test_a_token_is_that_of_the_environment(
    new_runtime: Callable[..., LocalRuntime], services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.token = "hf_secret"
    without = new_runtime()
    exit_, _, _ = await finished(without, with_data(services, HF))
    await without.close()
    assert exit_.message.endswith("It may not exist, or needs a token: set HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    runtime = new_runtime()
    assert (await finished(runtime, with_data(services, HF)))[0] == Exit(code=0)
    await runtime.close()


async def test_a_token_that_is_a_secret_of_the_server_is_not_used(
    new_runtime: Callable[..., LocalRuntime], services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    runtime = new_runtime(secrets=frozenset({"HF_TOKEN"}))
    await runtime.check()
    exit_, _, _ = await finished(runtime, with_data(services, HF))
    assert exit_.reason == "test_data_failed"
    env = [{"name": "HF_TOKEN", "value": "hf_secret"}]
    assert (await finished(runtime, with_data(services, HF, env=env)))[0] == Exit(code=0)
    await runtime.close()


async def test_missing_credentials_for_s3_are_named(runtime: LocalRuntime, services: Services) -> None:
    ref = TestDataRef(s3=S3Ref(bucket="b", key="k", secret_ref="s"))
    exit_, _, _ = await finished(runtime, with_data(services, ref))
    assert exit_.reason == "test_data_failed"
    assert "AWS_ACCESS_KEY_ID" in exit_.message
    assert "secret of" not in exit_.message


async def test_the_variables_of_the_adapter_do_not_disturb_the_fetch(
    runtime: LocalRuntime, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PYTHONPATH and PATH belong to the adapter; a variable of the user does not select another source."""
    (tmp_path / "evalhub_init.py").write_text("raise SystemExit('shadowed')", "utf-8")
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')", "utf-8")
    monkeypatch.setenv("TEST_DATA_GIT_URL", "http://127.0.0.1:1/other")
    paths = {"PATH": "/nowhere", "PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere"}
    env = [{"name": name, "value": value} for name, value in paths.items()]
    command = 'test "$PATH" = /nowhere && read -r text < "$EVALHUB_TEST_DATA_DIR/a.txt"; echo "$text"'
    exit_, log, _ = await finished(runtime, with_data(services, HF, command, env=env, cwd=str(tmp_path)))
    assert exit_ == Exit(code=0), log
    assert log.endswith("text of a\n")


async def test_a_later_attempt_fetches_into_its_own_directory(
    runtime: LocalRuntime, services: Services
) -> None:
    run = with_data(services, HF)
    _, _, directory = await finished(runtime, run)
    assert (await finished(runtime, replace(run, attempt=2)))[0] == Exit(code=0)
    assert [path.name for path in directory.glob("test-data-*")] == ["test-data-2"]


async def test_a_stop_ends_the_fetch(
    runtime: LocalRuntime, services: Services, eventually: Callable[..., Awaitable[object]], tmp_path: Path
) -> None:
    # A git that never ends, found by the PATH of the server.
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\ntouch {tmp_path}/fetching\nexec sleep 1000\n")
    fake.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
        patch.setenv("TEST_DATA_ALLOWED_HOSTS", f"localhost:{services.upstream.port}")
        ref = TestDataRef(git=GitRef(url=f"{services.upstream.url}/x", ref="main"))
        handle = await runtime.launch(with_data(services, ref, f"touch {tmp_path}/started"))
    log = Path(handle["dir"]) / "jobrun.log"
    await eventually((tmp_path / "fetching").exists, "the fetch")
    await runtime.stop(handle, 5)
    exit_ = await runtime.wait(handle)
    assert exit_.signal == "SIGTERM"
    assert not (tmp_path / "started").exists()
    assert "Stopped before the test data had arrived" in log.read_text("utf-8")


@pytest.mark.parametrize(
    ("ref", "named"),
    [
        (TestDataRef(pvc=PvcRef(claim_name="c")), "test_data_ref.pvc"),
        (TestDataRef(git=GitRef(url="https://h/x", ref="m", secret_ref="s")), "test_data_ref.git.secret_ref"),
        (TestDataRef(hf=HuggingFaceRef(repo_id="a\0b")), "NUL"),
    ],
)
async def test_a_source_that_needs_a_cluster_fails_the_launch(
    runtime: LocalRuntime, services: Services, ref: TestDataRef, named: str
) -> None:
    with pytest.raises(LaunchError, match=named):
        await runtime.launch(with_data(services, ref))


async def test_without_test_data_the_variable_is_not_set(
    runtime: LocalRuntime, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALHUB_TEST_DATA_DIR", "/elsewhere")
    command = f"{sys.executable} -c \"import os; print('EVALHUB_TEST_DATA_DIR' in os.environ)\""
    run = a_run({"command": command}, callback_url=services.upstream.url)
    assert (await finished(runtime, run))[1] == "False\n"


async def test_a_directory_that_was_removed_after_the_submission_fails_the_launch(
    runtime: LocalRuntime, tmp_path: Path
) -> None:
    run = replace(a_run({"command": "true"}), test_data_path=str(tmp_path / "gone"))
    with pytest.raises(LaunchError, match="does not exist any more"):
        await runtime.launch(run)

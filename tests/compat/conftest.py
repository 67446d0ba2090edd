"""Fixtures for the tests with the published SDK: its environment, and a server with scripted adapters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, processes_with, wait_until
from harness.config import steps_command
from harness.sdk import LOOPBACK_WITHOUT_PROXY, RemoteClient, Sdk
from harness.server import API, TERMINAL

CLIENT_SCRIPT = Path(__file__).parent / "scripts" / "client.py"

ClientOf = Callable[..., RemoteClient]
Serving = Callable[[Config], AbstractContextManager[RunningServer]]


@pytest.fixture(scope="session")
def sdk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sdk:
    """The SDK's environment, created once per pytest cache, or once per run without a cache."""
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("eval-hub-sdk") if cache else tmp_path_factory.mktemp("eval-hub-sdk")
    return Sdk.installed(folder, home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def client_of(sdk: Sdk) -> ClientOf:
    """Factory of one of the SDK's clients for a server."""

    def make(server: RunningServer, kind: str = "SyncEvalHubClient") -> RemoteClient:
        return RemoteClient(sdk, CLIENT_SCRIPT, kind, f"http://localhost:{server.port}")

    return make


@pytest.fixture(scope="session")
def serving(client_of: ClientOf) -> Serving:
    """Runs a server. At the end, the SDK's models parse all its records; then running jobs are cancelled."""

    @contextmanager
    def run(config: Config) -> Iterator[RunningServer]:
        with RunningServer(config.folder, env=LOOPBACK_WITHOUT_PROXY) as server:
            yield server
            with client_of(server) as client:
                jobs = assert_all_is_parsed(server, client)
            for job_id in jobs:
                if server.job(job_id)["status"]["state"] not in TERMINAL:
                    assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204
        wait_until(lambda: not processes_with(str(config.folder)), "the end of every adapter")

    return run


def assert_all_is_parsed(server: RunningServer, client: RemoteClient) -> list[str]:
    """Read every job and every provider, alone and in its list; returns the jobs' ids."""
    jobs = ids(server.get(f"{API}/jobs?limit=1000")["items"])
    assert ids(client("jobs.list", limit=1000)) == jobs
    assert ids([client("jobs.get", job_id) for job_id in jobs]) == jobs
    providers = ids(server.get(f"{API}/providers")["items"])
    assert ids(client("providers.list")) == providers
    assert ids([client("providers.get", provider_id) for provider_id in providers]) == providers
    return jobs


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["resource"]["id"] for item in items]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that adapters of provider ``gated`` wait for."""
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture
def closed_gate(gate: Path) -> Path:
    gate.unlink(missing_ok=True)
    return gate


@pytest.fixture(scope="module")
def server(serving: Serving, gate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(
        tmp_path_factory.mktemp("compat") / "config",
        supervisor={"exit_grace": "300ms", "stop_grace": "1s"},
        local={"max_parallel": 50},  # some tests leave jobs that hang
    )
    result = '{"acc": 0.75, "label": "good", "n": 3}'
    config.provider(
        steps_command("say:hello", "running", f"completed:{result}"),
        "b",
        "c",
        provider_id="quick",
        benchmark={
            "description": "Two answers",
            "url": "http://example.test/b",
            "metrics": ["acc"],
            "num_few_shot": 5,
            "dataset_size": 14042,
            "tags": ["short"],
            "primary_score": {"metric": "acc", "lower_is_better": False},
            "pass_criteria": {"threshold": 0.5},
            "agent": {
                "result_interpretation": "More is better",
                "score_ranges": [{"range": "0-0.5", "meaning": "bad"}],
            },
        },
    )
    config.scripted("say:about to break", "running", "failed:boom", "exit:1", provider_id="breaks")
    config.scripted("say:first", "running", f"await:{gate}", "say:second", "completed", provider_id="gated")
    bar = "for i in 1 2 3 4 5 6 7 8 9; do printf '%s0%%\\r' $i; sleep 0.05; done; echo done"
    config.provider(
        f"{bar}; {bar}; while [ ! -e {gate} ]; do sleep 0.02; done; {bar}; exit 1", provider_id="bars"
    )
    config.scripted("say:hello", "running", "hang", provider_id="hangs")
    config.scripted("hang", provider_id="silent")
    config.write(
        "providers/described.yaml",
        {
            "id": "described",
            "name": "described",
            "title": "Described",
            "description": "A provider with everything but benchmarks",
            "tags": ["a", "b"],
            "agent": {"target_type": "agent", "evaluates": ["safety"], "summary": "s", "hints": ["h"]},
            "runtime": {"local": {"command": "true"}},
        },
    )
    config.write("providers/bare.yaml", {"id": "bare", "name": "bare"})
    with serving(config) as running:
        yield running


@pytest.fixture(scope="module", params=["SyncEvalHubClient", "AsyncEvalHubClient"])
def client(
    request: pytest.FixtureRequest, client_of: ClientOf, server: RunningServer
) -> Iterator[RemoteClient]:
    """Either of the SDK's clients."""
    with client_of(server, request.param) as remote:
        yield remote

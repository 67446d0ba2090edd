"""``evalhub server …``: the SDK's command line runs this distribution's server and sidecar."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from evalhub_quickstart.endpoint import DemoEndpoint
from harness import free_port, processes_with, wait_until
from harness.sdk import Finished, Sdk

pytestmark = pytest.mark.slow


class Workstation:
    """A user's home directory, and an environment with the SDK and this distribution."""

    def __init__(self, sdk: Sdk, home: Path) -> None:
        self.sdk = sdk
        self.home = home
        self.port = free_port()
        self.state = home / ".config" / "evalhub"
        self.jobs_dir = home / "jobs"

    def __call__(self, *words: str) -> str:
        done = self.run(*words)
        assert done.status == 0, done
        return done.output

    def run(self, *words: str) -> Finished:
        return self.sdk.run("evalhub", *words, timeout_s=120)

    def configure(self, **sections: Any) -> None:
        document = {
            "service": {"port": self.port},
            "database": {"driver": "sqlite", "url": "file::eval_hub:?mode=memory&cache=shared"},
            **sections,
        }
        file = self.home / "my-server.yaml"
        file.write_text(yaml.safe_dump(document), "utf-8")
        self("config", "set", "server_config_file", str(file))
        self("config", "set", "base_url", f"http://localhost:{self.port}")

    @property
    def sidecar_url(self) -> str:
        config = yaml.safe_load((self.state / "server" / "default" / "config.yaml").read_text("utf-8"))
        return config["sidecar"]["base_url"]

    @property
    def processes(self) -> list[str]:
        """Names of the running programs."""
        words = [psutil.Process(pid).cmdline() for pid in processes_with(str(self.home))]
        return sorted({Path(word).name for line in words for word in line if "/bin/eval-" in word})


@pytest.fixture(scope="session")
def sdk_with_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path], Sdk]:
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("eval-hub-sdk") if cache else tmp_path_factory.mktemp("eval-hub-sdk")
    return lambda home: Sdk.installed_with_server(folder, home)


@pytest.fixture
def evalhub(sdk_with_server: Callable[[Path], Sdk], tmp_path: Path) -> Iterator[Workstation]:
    """A workstation whose server, if any, is stopped after the test."""
    workstation = Workstation(sdk_with_server(tmp_path), tmp_path)
    yield workstation
    workstation.run("server", "stop")


def test_start_runs_a_server_and_a_sidecar_that_complete_a_job(evalhub: Workstation):
    evalhub.configure(local={"jobs_dir": str(evalhub.jobs_dir)})
    assert "Server started (PID" in evalhub("server", "start")
    assert evalhub.processes == ["eval-hub-server", "eval-runtime-sidecar"]
    status = evalhub("server", "status")
    assert re.search(r"Server is running \(PID \d+\)\.\n  Health: healthy\n  Version: \d", status)
    assert evalhub("health").startswith("EvalHub service: healthy (")
    assert "quickstart" in evalhub("providers", "list", "--format", "csv"), "the bundled providers serve"

    with DemoEndpoint() as model:
        words = ("--model-url", model.url, "--model-name", "demo", "--param", "num_examples=3", "--wait")
        output = evalhub(
            *("eval", "run", "--name", "first", "--provider", "quickstart", "-b", "arithmetic"),
            *words,
            *("--poll-interval", "0.1"),
        )
    job_id = output.splitlines()[-1].split()[1]
    assert output.splitlines()[-1] == f"Job {job_id} finished with state: completed"
    (results,) = json.loads(evalhub("eval", "results", job_id, "--format", "json"))
    assert results["metrics"]["num_samples"] == 3
    assert results["metrics"]["num_errors"] == 0
    spec = json.loads((evalhub.jobs_dir / job_id / "0/quickstart/arithmetic/meta/job.json").read_text())
    assert spec["callback_url"] == evalhub.sidecar_url
    assert spec["model"]["url"] == f"{evalhub.sidecar_url}/model/{job_id}/v1"

    assert evalhub("server", "stop") == "Server stopped.\n"
    assert evalhub.processes == []
    assert evalhub("server", "status") == "Server is not running.\n"


def test_a_second_start_is_refused_and_the_first_server_continues(evalhub: Workstation):
    evalhub.configure()
    evalhub("server", "start")
    again = evalhub.run("server", "start")
    assert again.status == 1
    assert "is already running" in again.errors
    assert evalhub("health").startswith("EvalHub service: healthy (")


def test_a_server_in_the_foreground_exits_with_its_sidecar(evalhub: Workstation):
    evalhub.configure()
    foreground = evalhub.sdk.start_in_background("evalhub", "server", "run")
    wait_until(lambda: "Health: healthy" in evalhub("server", "status"), "a healthy server", 60)
    assert evalhub.processes == ["eval-hub-server", "eval-runtime-sidecar"]
    os.killpg(foreground.pid, signal.SIGINT)
    foreground.wait(30)
    wait_until(lambda: evalhub.processes == [], "the end of server and sidecar")


def test_a_failed_start_reports_the_cause_and_leaves_no_process(evalhub: Workstation):
    evalhub.configure(service={"port": evalhub.port, "max_header_bytes": -1})
    failed = evalhub.run("server", "start")
    assert failed.status == 1
    assert "service.max_header_bytes: -1 is below 0" in failed.errors
    assert evalhub.processes == []

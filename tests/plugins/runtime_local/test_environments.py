"""Providers with a managed environment or a venv: how their adapters run, and what clients see if they cannot."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from evalhub_runtime_local.environments import MAX_VENVS, ListedEnvironments
from evalhub_server.environments.frameworks import FRAMEWORKS
from evalhub_server.models.runtime import ENVIRONMENT
from harness import Config, RunningServer
from harness.config import STEPS
from harness.frameworks import stand_in
from harness.server import API, job_request

FIX = "Run: eval-hub-server adapters install inspect"
REPORT = """\
import json, os, sys
names = ("PATH", "VIRTUAL_ENV", "PYTHONPATH", "HF_HOME", "DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "COPIED", "ABSENT")
seen = {name: os.environ.get(name) for name in names}
open("seen.json", "w").write(json.dumps({**seen, "cwd": os.getcwd(), "prefix": sys.executable}))
"""


def provider(config: Config, provider_id: str, **local: Any) -> None:
    benchmarks = [{"id": "b", "name": "b", "category": "test"}]
    document = {"id": provider_id, "name": provider_id, "runtime": {"local": local}, "benchmarks": benchmarks}
    config.write(f"providers/{provider_id}.yaml", document)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("environments")


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[RunningServer]:
    config = Config(base / "config")
    script = config.write("report.py", REPORT)
    steps = f"exec python -S -E '{STEPS}' completed"
    report = f"python '{script}' && {steps}"
    variables = [
        {"name": "COPIED", "value_from_env": "OF_THE_USER"},
        {"name": "ABSENT", "value_from_env": "NOT_SET_ANYWHERE"},
    ]
    provider(config, "managed", command=report, environment="garak", env=variables)
    provider(config, "missing", command="python x", environment="inspect")
    provider(config, "own", command=report, venv=str(base / "venv"), cwd=str(base))
    provider(config, "no-venv", command="python x", venv=str(base / "nothing"))
    provider(config, "secretive", command="true", env=[{"name": "X", "value_from_env": "DB_URL"}])
    provider(config, "plain", command=steps.replace("python", f"'{sys.executable}'"))
    config.write(
        "providers/none.yaml", {"id": "none", "name": "none", "benchmarks": [{"id": "b", "name": "b"}]}
    )
    stand_in(base / "adapters", "garak", version="0.9")
    (base / "venv" / "bin").mkdir(parents=True)
    (base / "venv" / "bin" / "python").symlink_to(sys.executable)
    environ = {
        "EVALHUB_ADAPTERS_DIR": str(base / "adapters"),
        "DB_URL": f"file:{base}/x.db",
        "OF_THE_USER": "from the user",
        "HF_HOME": "/hugging",
        "DO_NOT_TRACK": "of the user",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }
    with RunningServer(config.folder, env=environ) as running:
        yield running


def card_and_environment(
    server: RunningServer, provider_id: str
) -> tuple[dict[str, Any], dict[str, Any], Path]:
    job_id = server.submit(provider=provider_id)
    job = server.finished(job_id)
    assert job["status"]["state"] == "completed", server.log_text()
    directory = server.configdir / "jobs" / job_id / "0" / provider_id / "b"
    (card,) = server.get(f"{API}/jobs/{job_id}/card")["results"]["benchmarks"]
    return card, job, directory


def test_a_managed_environment_runs_with_its_programs_its_packages_and_in_the_job_directory(
    server: RunningServer, base: Path
):
    card, _, directory = card_and_environment(server, "managed")
    seen = json.loads((directory / "seen.json").read_text("utf-8"))
    path = base / "adapters" / "garak" / "20260101-stand-in"
    assert seen["PATH"].startswith(f"{path}/bin{os.pathsep}/")
    assert (seen["VIRTUAL_ENV"], seen["cwd"]) == (str(path), str(directory))
    packages = Path(seen["PYTHONPATH"])
    assert packages.parent == base / "adapters" / "packages"
    assert {each.name for each in packages.iterdir()} == {"evalhub_adapters", "evalhub_common"}
    assert (seen["HF_HOME"], seen["HF_HUB_DISABLE_TELEMETRY"]) == ("/hugging", "1")
    assert seen["DO_NOT_TRACK"] == "of the user"
    assert (seen["COPIED"], seen["ABSENT"]) == ("from the user", None)
    assert card["framework"] == {"name": "garak", "version": "0.9"}


def test_a_venv_of_the_user_comes_first_on_path_and_changes_nothing_else(server: RunningServer, base: Path):
    card, _, _ = card_and_environment(server, "own")
    seen = json.loads((base / "seen.json").read_text("utf-8"))
    assert seen["PATH"].startswith(f"{base}/venv/bin{os.pathsep}")
    assert (seen["VIRTUAL_ENV"], seen["cwd"]) == (str(base / "venv"), str(base))
    assert seen["HF_HUB_DISABLE_TELEMETRY"] is None
    assert "framework" not in card


@pytest.mark.parametrize(
    ("provider_id", "text"),
    [
        ("missing", f"cannot run on this computer: the framework 'inspect' is not installed. {FIX}"),
        ("no-venv", "Create it, or correct runtime.local.venv."),
        ("secretive", "value_from_env: DB_URL, which is a secret of the server. Name another variable."),
    ],
)
def test_a_job_that_cannot_start_is_refused(server: RunningServer, provider_id: str, text: str):
    answer = server.call("POST", f"{API}/jobs", job_request(provider=provider_id))
    assert answer.refusal == (400, "local_runtime_not_enabled")
    assert text in answer.body["message"]
    check = server.call("POST", f"{API}/job-checks", job_request(provider=provider_id)).body
    assert (check["valid"], check["message_code"]) == (False, "local_runtime_not_enabled")


def test_providers_report_whether_they_can_run(server: RunningServer, base: Path):
    items = server.get(f"{API}/providers")["items"]
    found = {item["resource"]["id"]: item["runnable"] for item in items}
    assert {name for name, runnable in found.items() if runnable == {"local": True}} == {
        "managed",
        "own",
        "plain",
        "secretive",
    }
    assert found["missing"] == {
        "local": False,
        "reason": "the framework 'inspect' is not installed",
        "fix": FIX,
    }
    assert found["none"]["reason"] == "its provider has no command for local mode"
    assert found["no-venv"]["reason"] == f"there is no virtual environment at {base}/nothing"
    secretive = server.get(f"{API}/providers/secretive")
    assert secretive["runtime"]["local"]["env"] == [{"name": "X", "value": "", "value_from_env": "DB_URL"}]


def test_an_install_is_seen_without_a_restart(server: RunningServer, base: Path):
    listed = server.call("GET", f"{API}/providers?benchmarks=false")
    one = server.call("GET", f"{API}/providers/missing")
    path = stand_in(base / "adapters", "inspect")
    try:
        for before, url in ((listed, "providers?benchmarks=false"), (one, "providers/missing")):
            answer = server.call("GET", f"{API}/{url}", headers={"If-None-Match": before.headers["etag"]})
            assert answer.status == 200
        assert server.get(f"{API}/providers/missing")["runnable"] == {"local": True}
    finally:
        (path.parent / "current").unlink()
        path.rename(base / "moved")
    assert server.get(f"{API}/providers/missing")["runnable"]["local"] is False


def test_a_venv_that_appears_or_vanishes_changes_the_list(server: RunningServer, base: Path):
    venv = base / "nothing"
    server.get(f"{API}/providers")  # the first list makes the server notice the venvs

    def status(etag: str) -> int:
        return server.call("GET", f"{API}/providers", headers={"If-None-Match": etag}).status

    without = server.call("GET", f"{API}/providers").headers["etag"]
    assert status(without) == 304
    (venv / "bin").mkdir(parents=True)
    try:
        assert status(without) == 200
        created = server.call("GET", f"{API}/providers").headers["etag"]
        assert status(created) == 304
    finally:
        (venv / "bin").rmdir()
    assert status(created) == 200


def test_a_list_is_not_current_with_the_tag_of_the_first_one(tmp_path: Path):
    """The tag of a list is older than the list, so the venvs that it names count from the next one."""
    environments = ListedEnvironments()
    first = environments.state()
    environments.readiness({"command": "x", "venv": str(tmp_path)})
    assert environments.state() != first


def test_the_number_of_venvs_that_count_is_limited(tmp_path: Path):
    environments = ListedEnvironments()
    states: set[str] = set()
    for number in range(2 * MAX_VENVS):
        environments.readiness({"command": "x", "venv": str(tmp_path / str(number))})
        states.add(environments.state())
    assert len(states) == 2 * MAX_VENVS
    assert environments.state().count(str(tmp_path)) <= MAX_VENVS


def test_an_environment_whose_directory_is_deleted_changes_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("EVALHUB_ADAPTERS_DIR", str(tmp_path / "adapters"))
    path = stand_in(tmp_path / "adapters", "inspect")
    environments = ListedEnvironments()
    before = environments.state()
    path.rename(tmp_path / "moved")
    assert environments.state() != before


def test_the_state_of_environments_costs_few_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each request for a list of providers compares it. An object for a path costs a dozen calls."""
    monkeypatch.setenv("EVALHUB_ADAPTERS_DIR", str(tmp_path / "adapters"))
    stand_in(tmp_path / "adapters", "inspect")
    environments = ListedEnvironments()
    environments.readiness({"command": "x", "venv": str(tmp_path)})
    environments.state()
    calls = 0

    def count(_frame: FrameType, kind: str, _: object) -> None:
        nonlocal calls
        calls += kind == "call"

    sys.setprofile(count)
    try:
        environments.state()
    finally:
        sys.setprofile(None)
    assert calls <= 20


def test_providers_over_rest_are_checked(server: RunningServer):
    body: dict[str, Any] = {"name": "x", "runtime": {"local": {"command": "c", "environment": "torch"}}}
    answer = server.call("POST", f"{API}/providers", body)
    assert answer.refusal == (400, "request_validation_failed")
    body["runtime"]["local"] = {
        "command": "c",
        "environment": "garak",
        "env": [{"name": "A", "value_from_env": "B"}],
    }
    answer = server.call("POST", f"{API}/providers", body)
    assert answer.status == 201
    assert answer.body["runnable"] == {"local": True}
    assert answer.body["runtime"]["local"]["env"] == [{"name": "A", "value": "", "value_from_env": "B"}]


def test_the_names_in_the_contract_are_those_of_the_frameworks():
    assert tuple(FRAMEWORKS) == ENVIRONMENT.limit

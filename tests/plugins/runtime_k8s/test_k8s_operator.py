"""A server as the operator starts it: its environment, its configuration, and how they are mounted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from harness import RunningServer
from harness.kube import FakeCluster
from harness.manifests import FOLDER, acceptable, as_recorded, objects_of_cluster, recorded
from harness.server import API, job_request
from harness.waiting import wait_until

ENVIRONMENT = {
    "API_HOST": "127.0.0.1",
    "PORT": "8444",
    "LOG_LEVEL": "INFO",
    "SERVICE_URL": "https://evalhub.team-a.svc.cluster.local:8443",
    "EVALHUB_INSTANCE_NAME": "evalhub",
    "EVALHUB_HARDWARE_PROFILES_NAMESPACE": "opendatahub",
    "MLFLOW_CA_CERT_PATH": "",
    "MLFLOW_WORKSPACE": "team-a",
    "MLFLOW_TOKEN_PATH": "/var/run/secrets/mlflow/token",
    "METRICS_HOST": "0.0.0.0",
    "METRICS_PORT": "8081",
    "MAX_CONCURRENT_EVALUATIONS": "10",
    "DEFAULT_TIMEOUT_MINUTES": "60",
    "MAX_RETRY_ATTEMPTS": "3",
}

CONFIG: dict[str, Any] = {
    "service": {
        "port": 8444,
        "disable_auth": False,
        "termination_file": "/tmp/termination-log",
        "eval_init_image": "registry.example/evalhub:1",
    },
    "env_mappings": {
        "PORT": "service.port",
        "DISABLE_AUTH": "service.disable_auth",
        "MLFLOW_TRACKING_URI": "mlflow.tracking_uri",
        "MLFLOW_INSECURE_SKIP_VERIFY": "mlflow.insecure_skip_verify",
    },
    "database": {
        "driver": "sqlite",
        "url": "file::eval_hub:?mode=memory&cache=shared",
        "max_open_conns": 25,
        "max_idle_conns": 5,
    },
    "otel": {"enabled": False},
    "prometheus": {"enabled": True},
    "sidecar": {
        "base_url": "http://localhost:8080",
        "eval_hub": {"http_timeout": 30000000000},
        "sidecar_container": {
            "image": "registry.example/evalhub:1",
            "resources": {
                "requests": {"cpu": "200m", "memory": "512Mi"},
                "limits": {"cpu": "500m", "memory": "2Gi"},
            },
        },
    },
}

PROVIDER: dict[str, Any] = {
    "id": "garak",
    "name": "Garak",
    "runtime": {"k8s": {"image": "registry.example/garak:1", "image_pull_policy": "Always"}},
    "benchmarks": [{"id": "quick", "name": "Quick", "category": "safety", "metrics": ["rate"]}],
}


def mounted(folder: Path, files: dict[str, str]) -> Path:
    """Files as Kubernetes mounts them: each a link into a folder that an update replaces."""
    data = folder / "..2026_01_01_00_00_00.1"
    data.mkdir(parents=True)
    (folder / "..data").symlink_to(data.name)
    for name, text in files.items():
        (data / name).write_text(text)
        (folder / name).symlink_to(f"..data/{name}")
    return folder


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    secrets = mounted(tmp_path / "secrets", {"db-url": "file::secret:?mode=memory\n"})
    config = CONFIG | {
        "secrets": {"dir": str(secrets), "mappings": {"db-url": "database.url", "x:optional": "mlflow.token"}}
    }
    folder = mounted(tmp_path / "config", {"config.yaml": yaml.safe_dump(config)})
    mounted(folder / "providers", {"garak.yaml": yaml.safe_dump(PROVIDER)})
    mounted(folder / "collections", {})
    return folder


def checked(config_dir: Path, **environ: str) -> dict[str, Any]:
    """What ``eval-hub-server check`` finds; a start would read all of the same."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    env = kept | ENVIRONMENT | {"EVAL_HUB_CONFIG_DIR": str(config_dir)} | environ
    command = [sys.executable, "-m", "evalhub_server", "check", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_the_operators_environment_and_configuration_are_accepted(config_dir: Path):
    found = checked(config_dir)
    assert [finding["severity"] for finding in found["findings"]] == ["warning"]
    assert "service.disable_auth" in found["findings"][0]["message"]
    assert found["providers"] == 1


def test_a_postgresql_database_is_accepted(config_dir: Path, tmp_path: Path):
    (tmp_path / "secrets" / "db-url").unlink()
    (tmp_path / "secrets" / "db-url").write_text("postgres://u:p@db.test:5432/evalhub?sslmode=require")
    file = config_dir / "config.yaml"
    text = file.read_text()
    file.unlink()
    file.write_text(text.replace("driver: sqlite", "driver: pgx"))
    found = checked(config_dir)
    assert [finding["severity"] for finding in found["findings"]] == ["warning", "warning", "info"]
    assert "db.test" in found["findings"][1]["message"]  # the database cannot be reached
    assert "samples" in found["findings"][2]["message"]  # several servers would need a bucket


def test_what_it_maps_to_keys_that_we_do_not_have_is_no_error(config_dir: Path):
    checked(config_dir, DISABLE_AUTH="true", MLFLOW_INSECURE_SKIP_VERIFY="true")


# --- A real server on a fake cluster ---


@pytest.fixture
def server(cluster: FakeCluster, tmp_path: Path) -> Iterator[RunningServer]:
    """Started as the operator starts it, with the recorded providers, on the cluster of the recording."""
    files = {file.name: file.read_text("utf-8") for file in (FOLDER / "config" / "providers").iterdir()}
    config = CONFIG | {
        "secrets": {
            "dir": str(mounted(tmp_path / "secrets", {})),
            "mappings": {"db-url:optional": "database.url"},
        }
    }
    text = yaml.safe_dump(config).replace("evalhub:1", "evalhub:1.0.2")
    folder = mounted(tmp_path / "config", {"config.yaml": text})
    mounted(folder / "providers", files)
    mounted(folder / "collections", {})
    cluster.seed(*objects_of_cluster())
    environ = ENVIRONMENT | {
        "EVAL_HUB_CONFIG_DIR": str(folder),
        "KUBECONFIG": str(cluster.kubeconfig(tmp_path)),
    }
    own = {"PORT": "0", "METRICS_HOST": "127.0.0.1", "METRICS_PORT": "0"}  # a pod has all ports for itself
    with RunningServer(folder, flags=(), env=environ | own) as running:
        running.headers = {"X-Tenant": "team-a", "X-User": "somebody"}
        yield running


def test_requests_make_the_objects_that_the_released_server_made(server: RunningServer, cluster: FakeCluster):
    for name in ("j1", "j2", "j3", "hf"):
        cases = [case for case in recorded() if case["request"]["name"] == name]
        answer = server.call("POST", f"{API}/jobs", cases[0]["request"])
        assert answer.status == 202, answer
        job_id: str = answer.body["resource"]["id"]
        wait_until(lambda: len(cluster.jobs(job_id=job_id)) == len(cases), f"{len(cases)} Jobs")  # noqa: B023
        created = objects_created(cluster, job_id)
        for case in cases:
            objects = as_recorded(created[case["benchmark_index"]], job_id, case["job_id"])
            assert objects == acceptable(case["case"], case["objects"]), case["case"]


def objects_created(cluster: FakeCluster, job_id: str) -> dict[int, dict[str, Any]]:
    """Benchmark index → kind → what was sent to the API."""
    found: dict[int, dict[str, Any]] = {}
    for call in cluster.calls:
        if call.verb == "create" and call.resource in ("secrets", "configmaps", "jobs"):
            body = cast("dict[str, Any]", call.body)
            labels = body["metadata"]["labels"]
            if labels["job_id"] == job_id:
                found.setdefault(int(labels["benchmark_index"]), {})[body["kind"]] = body
    return found


def test_a_profile_that_cannot_be_used_refuses_the_job(server: RunningServer, cluster: FakeCluster):
    for name, status, code in (
        ("missing", 404, "hardware_profile_not_found"),
        ("off", 400, "hardware_profile_disabled"),
    ):
        request = job_request("b1", provider="plain", hardware_config={"hardware_profile_name": name})
        answer = server.call("POST", f"{API}/jobs", request)
        assert answer.refusal == (status, code)
    assert server.get(f"{API}/jobs")["total_count"] == 0
    assert cluster.jobs() == []

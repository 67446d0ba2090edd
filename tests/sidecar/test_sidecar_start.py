"""Start and exit of the sidecar, and access control."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.answering import AnsweringServer
from harness.certificates import Certificate
from harness.imports import loaded_by
from harness.sidecar import PROGRAM, RunningSidecar

EVENTS = "/api/v1/evaluations/jobs/j/events"
GOOD = {
    "base_url": "http://localhost:18080",
    "local_mode": True,
    "eval_hub": {"base_url": "http://localhost:1"},
}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *words], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("", "Input data was truncated"),
        ("{}", "missing required field `base_url`"),
        (
            {**GOOD, "base_url": "http://localhost"},
            "base_url: must be an http or https address with a host and a port",
        ),
        ({**GOOD, "base_url": "localhost:8080"}, "base_url: must be"),
        ({**GOOD, "eval_hub": None}, "eval_hub.base_url: must be an http or https address with a host"),
        ({**GOOD, "eval_hub": {"base_url": "http://"}}, "eval_hub.base_url: must be"),
        ({**GOOD, "local": {"job_cache_entry_ttl": "2 hours"}}, "'2 hours' is not a duration"),
        ({**GOOD, "local_mode": "yes"}, "Expected `bool`, got `str` - at `$.local_mode`"),
        ({**GOOD, "model": {"url": "ftp://x"}}, "model.url: must be"),
        ({**GOOD, "mlflow": {"tracking_uri": "x"}}, "mlflow.tracking_uri: must be"),
    ],
)
def test_an_invalid_configuration_is_named(tmp_path: Path, config: Any, complaint: str):
    file = tmp_path / "config.json"
    file.write_text(config if isinstance(config, str) else json.dumps(config), "utf-8")
    done = run("-sidecarconfig", str(file))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"eval-runtime-sidecar: {file}: ")
    assert complaint in done.stderr


def test_a_missing_configuration_is_named():
    done = run("--sidecarconfig=/no/such.json")
    assert done.returncode == 1
    assert "/no/such.json: cannot be read: No such file or directory. Name the configuration" in done.stderr


def test_an_unknown_flag_is_wrong_usage():
    assert run("-nope").returncode == 2


def test_a_port_in_use_is_named(tmp_path: Path, server: AnsweringServer):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**GOOD, "base_url": f"http://127.0.0.1:{server.port}"}), "utf-8")
    done = run("-sidecarconfig", str(file))
    assert done.returncode == 1
    assert f"cannot listen at http://127.0.0.1:{server.port}: " in done.stderr


def test_unknown_keys_are_ignored(tmp_path: Path, server: AnsweringServer):
    config = {"local_mode": True, "eval_hub": {"base_url": server.url, "more": 1}, "otel": {"enabled": False}}
    with RunningSidecar(tmp_path, config) as sidecar:
        assert sidecar.call("POST", EVENTS, {}).status == 204


def test_a_signal_stops_the_sidecar_with_status_0(tmp_path: Path, server: AnsweringServer):
    with RunningSidecar(tmp_path, {"local_mode": True, "eval_hub": {"base_url": server.url}}) as sidecar:
        idle = sidecar.connection()
        idle.request("GET", "/health")
        idle.getresponse().read()
        assert sidecar.terminate() == 0
        idle.close()
    assert [line["msg"] for line in sidecar.log_lines()] == [
        "Sidecar started",
        "Sidecar stopping",
        "Sidecar stopped",
    ]


def test_a_workstations_sidecar_listens_on_loopback_only(sidecar: RunningSidecar):
    listening = [c for c in psutil.Process(sidecar.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert {c.laddr.ip for c in listening} <= {"127.0.0.1", "::1"}
    assert {c.laddr.port for c in listening} == {sidecar.port}


@pytest.mark.parametrize("path", [EVENTS, "/model/j/v1/models"])
@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("Host", "evil.test:8080", "host_not_allowed"),
        ("Host", "[", "host_not_allowed"),
        ("Origin", "http://evil.test", "origin_not_allowed"),
        ("Origin", "null", "origin_not_allowed"),
    ],
)
def test_requests_of_web_pages_are_refused(
    sidecar: RunningSidecar, server: AnsweringServer, path: str, header: str, value: str, code: str
):
    answer = sidecar.call("POST", path, {}, {header: value})
    assert answer.refusal == (403, code)
    assert server.requests == []


@pytest.mark.parametrize(
    "headers", [{"Host": "127.0.0.1"}, {"Host": "[::1]:1"}, {"Origin": "http://localhost:3000"}]
)
def test_pages_and_programs_of_this_host_are_allowed(
    sidecar: RunningSidecar, server: AnsweringServer, headers: dict[str, str]
):
    assert sidecar.call("POST", EVENTS, {}, headers).status == 204


@pytest.mark.parametrize("variable", ["EVALHUB_CA_CERT_PATH", "EVALHUB_INSECURE_SKIP_VERIFY"])
def test_environment_variables_configure_trust_in_the_server(
    tmp_path: Path, tls_server: AnsweringServer, localhost: Certificate, variable: str
):
    config = {"local_mode": True, "eval_hub": {"base_url": tls_server.url}}
    value = str(localhost.crt) if variable == "EVALHUB_CA_CERT_PATH" else "true"
    with RunningSidecar(tmp_path, config, {variable: value}) as sidecar:
        assert sidecar.call("GET", "/api/v1/evaluations/jobs").body == "secure"


def test_it_imports_nothing_of_the_server():
    heavy = {"evalhub_server", "litestar", "kubernetes_asyncio", "pydantic", "uvicorn", "structlog", "yaml"}
    assert not heavy & loaded_by("import evalhub_sidecar.__main__, evalhub_sidecar.app")

"""The section ``mlflow``, the selection of the tracker, and the credentials of server and adapters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from evalhub_server.cli.selection import selection_warnings, tracker_names
from evalhub_server.errors import SettingsError
from evalhub_server.plugins import PluginContext, Tracker
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.settings import Settings, load_settings
from evalhub_tracking_mlflow.credentials import Credentials
from evalhub_tracking_mlflow.settings import MlflowSettings
from harness import RunningServer
from harness.imports import loaded_by
from harness.server import API, job_request

URI = "http://mlflow.test:5000"


def load(folder: Path, text: str = "service: {port: 0}", **environ: str) -> Settings:
    (folder / "config.yaml").write_text(text, "utf-8")
    return load_settings(
        local=True, configdir=folder, environ=environ, plugin_sections=load_plugins().sections()
    )


def make(settings: Settings) -> Tracker:
    return load_plugins().create(Tracker, "mlflow", settings.sections, PluginContext())


@pytest.mark.parametrize(
    ("text", "environ", "names"),
    [
        ("service: {port: 0}", {}, ()),
        ("service: {port: 0}", {"MLFLOW_TRACKING_URI": URI}, ("mlflow",)),
        ("service: {port: 0}", {"MLFLOW_TRACKING_URI": ""}, ()),
        (f"MLflow: {{Tracking_URI: {URI}}}", {}, ("mlflow",)),
        (f"mlflow: {{tracking_uri: {URI}}}\nplugins: {{trackers: []}}", {}, ()),
        (f"mlflow: {{tracking_uri: {URI}}}\nplugins: {{trackers: [other]}}", {}, ("other",)),
    ],
)
def test_the_address_of_an_mlflow_selects_the_tracker_unless_others_are_chosen(
    tmp_path: Path, text: str, environ: dict[str, str], names: tuple[str, ...]
):
    settings = load(tmp_path, text, **environ)
    assert tracker_names(settings) == names
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("{}", "mlflow.tracking_uri: is missing"),
        ("{tracking_uri: 'sqlite:///mlflow.db'}", "Start one with: mlflow server"),
        ("{tracking_uri: databricks}", "is not the http or https URL"),
        ("{tracking_uri: 'http://:5000'}", "is not the http or https URL"),
        ("{tracking_uri: 'http://h:port'}", "is not the http or https URL"),
        (f"{{tracking_uri: {URI}, ca_cert_path: /nowhere/ca.pem}}", "mlflow.ca_cert_path: /nowhere/ca.pem"),
        (f"{{tracking_uri: {URI}, http_timeout: soon}}", "mlflow.http_timeout: 'soon' is not a duration"),
    ],
)
def test_invalid_settings_are_refused_with_their_key(tmp_path: Path, section: str, words: str):
    settings = load(tmp_path, f"mlflow: {section}")
    with pytest.raises(SettingsError, match=words):
        make(settings)


def test_a_file_that_holds_no_certificates_is_refused(tmp_path: Path):
    (tmp_path / "ca.pem").write_text("no certificate", "utf-8")
    settings = load(tmp_path, f"mlflow: {{tracking_uri: {URI}, ca_cert_path: {tmp_path / 'ca.pem'}}}")
    with pytest.raises(SettingsError, match="must be a PEM file of certificates"):
        make(settings)


def test_an_invalid_tracking_uri_keeps_the_server_from_starting(tmp_path: Path):
    load(tmp_path, "mlflow: {tracking_uri: 'file:./mlruns'}")
    for words in (["--local"], ["check", "--local"]):
        command = [sys.executable, "-m", "evalhub_server", *words, "--configdir", str(tmp_path)]
        environ = {"PATH": "/usr/bin:/bin", "PORT": "0"}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        said = done.stdout + done.stderr
        assert "config.yaml:1: mlflow.tracking_uri: 'file:./mlruns' is not the http or https URL" in said


@pytest.mark.parametrize(
    "uri", ["file:./mlruns", "databricks", "postgresql://ada:secret-word@db.test/mlflow"]
)
def test_a_variable_that_is_meant_for_other_programs_is_a_warning(tmp_path: Path, uri: str):
    settings = load(tmp_path, "service: {port: 0}", MLFLOW_TRACKING_URI=uri)
    assert tracker_names(settings) == ()
    (warning,) = map(str, selection_warnings(settings))
    assert warning.startswith("environment variable MLFLOW_TRACKING_URI: mlflow.tracking_uri: '")
    assert "so jobs with an experiment are refused" in warning
    assert "secret-word" not in warning


def test_a_server_starts_with_such_a_variable_and_logs_it(tmp_path: Path):
    load(tmp_path, "service: {port: 0}")
    with RunningServer(tmp_path, env={"MLFLOW_TRACKING_URI": "databricks"}) as server:
        job = job_request("arithmetic", provider="quickstart", experiment={"name": "e"})
        answer = server.call("POST", f"{API}/jobs", job)
        assert answer.refusal == (400, "mlflow_required_for_experiment")
    assert any("'databricks' is not the http" in line["msg"] for line in server.log_lines())


def test_such_a_variable_is_an_error_if_mlflow_is_selected(tmp_path: Path):
    settings = load(tmp_path, "plugins: {trackers: [mlflow]}", MLFLOW_TRACKING_URI="databricks")
    assert tracker_names(settings) == ("mlflow",)
    assert selection_warnings(settings) == []
    with pytest.raises(SettingsError, match="'databricks' is not the http or https URL"):
        make(settings)


def test_the_client_is_imported_only_if_mlflow_is_selected():
    loaded = loaded_by("from evalhub_tracking_mlflow.plugin import evalhub_trackers; evalhub_trackers()")
    assert "aiohttp" not in loaded


def test_a_token_file_is_read_again_and_preferred(tmp_path: Path):
    file = tmp_path / "token"
    credentials = Credentials(MlflowSettings(tracking_uri=URI, token="fixed", token_path=str(file)))
    assert credentials.headers() == {"Authorization": "Bearer fixed"}
    file.write_text("first\n", "utf-8")
    assert credentials.headers() == {"Authorization": "Bearer first"}
    file.write_text("Bearer second\n", "utf-8")
    assert credentials.headers() == {"Authorization": "Bearer second"}
    assert credentials.environment()["MLFLOW_TRACKING_TOKEN"] == "second"
    file.unlink()
    with pytest.raises(OSError, match="token"):
        Credentials(MlflowSettings(tracking_uri=URI, token_path=str(file))).headers()
    assert Credentials(MlflowSettings(tracking_uri=URI, token_path=str(file))).environment() == {
        "MLFLOW_TRACKING_URI": URI
    }


def test_a_password_in_the_address_is_used_and_not_shown():
    credentials = Credentials(MlflowSettings(tracking_uri="https://ada:pass%20word@mlflow.test/prefix/"))
    assert credentials.base_url == "https://mlflow.test/prefix"
    assert credentials.headers() == {"Authorization": "Basic YWRhOnBhc3Mgd29yZA=="}
    assert credentials.environment() == {"MLFLOW_TRACKING_URI": "https://ada:pass%20word@mlflow.test/prefix/"}


def test_adapters_get_the_variables_of_their_clients(tmp_path: Path):
    basic = MlflowSettings(tracking_uri=URI, token="Basic YWRhOnB3", ca_cert_path="/ca.pem")
    assert Credentials(basic).environment() == {
        "MLFLOW_TRACKING_URI": URI,
        "MLFLOW_TRACKING_USERNAME": "ada",
        "MLFLOW_TRACKING_PASSWORD": "pw",
        "MLFLOW_TRACKING_SERVER_CERT_PATH": "/ca.pem",
    }
    assert Credentials(MlflowSettings(tracking_uri=URI)).headers() == {}

"""``eval-hub-server init``: the created configuration works without changes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from evalhub_notify_webhook.settings import WebhookSettings
from evalhub_server.cli.init import FILES, template_text
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.settings import load_settings
from harness import RunningServer
from harness.program import run_program
from harness.server import API


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_program(*arguments)


def test_the_created_configuration_is_valid_and_runs_a_job(tmp_path: Path):
    folder = tmp_path / 'it\'s "my" config'
    made = run("init", str(folder))
    assert (made.returncode, made.stderr) == (0, "")
    for word in ("check --local", str(folder).split("'", maxsplit=1)[0], "curl", "sample_adapter.py"):
        assert word in made.stdout

    checked = run("check", "--local", "--configdir", str(folder))
    assert checked.returncode == 0
    assert "1 provider, 1 collection: 0 errors, 0 warnings" in checked.stdout

    with RunningServer(folder, env={"PORT": "0"}, data_dir=tmp_path / "data") as server:
        request = {
            "name": "first",
            "collection": {"id": "sample"},
            "model": {"url": "http://localhost:11434/v1", "name": "m"},
        }
        answer = server.call("POST", f"{API}/jobs", request)
        assert answer.status == 202, answer
        job = server.finished(answer.body["resource"]["id"])
        log = server.logs(answer.body["resource"]["id"])
    assert job["status"]["state"] == "completed", job
    (result,) = job["results"]["benchmarks"]
    assert result["metrics"] == {"exact_match": 0.75, "num_samples": 4}
    assert job["results"]["test"]["pass"] is True
    assert "Capital of France? Paris" in log


@pytest.mark.parametrize("name", FILES.values())
def test_existing_files_are_not_overwritten_and_nothing_is_written(tmp_path: Path, name: str):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine", "utf-8")
    done = run("init", str(tmp_path))
    assert done.returncode == 1
    assert f"{tmp_path / name}: exists and is not overwritten" in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
    assert (tmp_path / name).read_text("utf-8") == "mine"


def test_a_directory_that_cannot_be_created_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    done = run("init", str(tmp_path / "file"))
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


def test_each_setting_of_the_template_has_its_description_above(tmp_path: Path):
    text = template_text("config.yaml")
    assert "@" not in text
    assert "  # Port of the API. 0 takes a free one.\n  port: 8080\n" in text
    assert "#   # Endpoint that messages about jobs are posted to.\n#   url: https://hooks" in text


def test_the_commented_settings_of_the_template_exist(tmp_path: Path):
    uncommented = re.sub(r"(?m)^( *)# (?=[a-z_]+:( |$)|  )", r"\1", template_text("config.yaml"))
    assert len(re.findall(r"^ *# [a-z_]+:( |$)", uncommented, re.MULTILINE)) == 0
    values = re.sub(r"(/etc/evalhub/(cert|key).pem|~/.evalhub-token)$", "", uncommented, flags=re.MULTILINE)
    (tmp_path / "config.yaml").write_text(values, "utf-8")
    settings = load_settings(
        local=True, configdir=tmp_path, environ={}, plugin_sections=load_plugins().sections()
    )
    assert [str(w) for w in settings.warnings if "no such directory" not in w.message] == []
    assert set(settings.sections["secrets"]["mappings"]) == {"db_url", "mlflow_token:optional"}
    assert settings.sections["local"]["max_parallel"] == 4
    assert settings.sections["mlflow"].keys() == {"tracking_uri", "token_path", "ca_cert_path"}
    assert tuple(settings.sections["webhook"]["events"]) == WebhookSettings().events

"""The pytest plugin of the distribution: fixtures over a real server, and no cost for tests that use none of them."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from evalhub_server.settings import ENVIRONMENT
from evalhub_server.testing import FilledRecords, ServerConfig, ServerProcess
from evalhub_server.testing.filled_record import unfilled
from evalhub_server.testing.server_process import NOT_INHERITED
from harness.packaging import PROJECT

UNRELATED = """
import sys

def test_what_is_imported():
    found = {name.partition(".")[0] for name in sys.modules if name.startswith("evalhub")}
    assert found == {"evalhub_pytest"}
    assert vars(sys.modules["evalhub_pytest"]).keys().isdisjoint({"yaml", "msgspec", "psutil", "subprocess"})
"""

WITH_FIXTURES = """
import os

import pytest

@pytest.fixture
def evalhub_config(evalhub_config):
    evalhub_config.environment["GREETING"] = "from the environment"
    evalhub_config.add_provider("other", {"local": {"command": 'echo "$GREETING"'}}, ["b"])
    return evalhub_config

def test_a_job_has_what_it_was_submitted_with(evalhub_server, evalhub_run_job):
    job = evalhub_run_job(score=0.25, samples=2, log_lines=["first", "second"], name="scored")
    assert (job["name"], job["status"]["state"]) == ("scored", "completed")
    assert job["results"]["benchmarks"][0]["metrics"]["score"] == 0.25
    job_id = job["resource"]["id"]
    job = evalhub_server.client.jobs.wait(job_id, samples_timeout_s=30)
    assert len(evalhub_server.client.samples.list(job_id, 0)["items"]) == 2
    assert "first\\nsecond\\n" in "".join(evalhub_server.client.jobs.logs(job_id))
    (failed,) = evalhub_run_job(failure="no data")["status"]["benchmarks"]
    assert failed["error_message"]["message"] == "no data"
    (crashed,) = evalhub_run_job(exit_status=7)["status"]["benchmarks"]
    assert "exit code 7" in crashed["error_message"]["message"]
    other = evalhub_run_job(provider="other", benchmark="b")
    assert "from the environment" in "".join(evalhub_server.client.jobs.logs(other["resource"]["id"]))

def test_a_job_that_hangs_outlives_a_crash_and_not_the_test(evalhub_server):
    job_id, url = evalhub_server.submit(hangs=True), evalhub_server.url
    evalhub_server.kill()
    assert evalhub_server.pid == 0
    evalhub_server.start()
    assert evalhub_server.url == url
    assert evalhub_server.client.jobs.get(job_id)["status"]["state"] in ("pending", "running")
    evalhub_server.restart()

def test_what_a_killed_server_leaves_is_killed(evalhub_server):
    job_id = evalhub_server.submit(hangs=True)
    state = lambda: evalhub_server.client.jobs.get(job_id)["status"]["state"]
    evalhub_server.until(lambda: state() == "running", "the start of the adapter")
    evalhub_server.kill()

def test_records(evalhub_records):
    assert evalhub_records.job.benchmarks

def test_fails(evalhub_server):
    assert "a wrong" == "text"
"""


def run_pytest(folder: Path, text: str, **environment: str) -> str:
    """Run pytest with this plugin alone, over a file outside of this project; returns the output."""
    (folder / "test_of_another_project.py").write_text(text, "utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", "utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "evalhub_pytest",
            "-p",
            "no:cacheprovider",
            "-q",
            "--tb=short",
        ],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.stdout + done.stderr


def test_tests_without_its_fixtures_import_nothing_of_the_server(tmp_path: Path) -> None:
    broken = {
        "EVAL_HUB_CONFIG_DIR": "/no/such/directory",
        "EVALHUB_LOAD_PLUGINS": "no-such-plugin",
        "PORT": "x",
    }
    output = run_pytest(tmp_path, UNRELATED, **broken)
    assert "1 passed" in output, output


def test_pytest_finds_it_by_its_entry_point() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"evalhub": "evalhub_pytest"}


@pytest.mark.slow
def test_its_fixtures_run_jobs_on_a_server(tmp_path: Path) -> None:
    output = run_pytest(tmp_path, WITH_FIXTURES)
    assert "1 failed, 4 passed" in output, output
    assert "assert 'a wrong' == 'text'" in output
    shown = output.partition("eval-hub-server log")[2]
    assert '"msg":"API Server starting"' in shown, "the log of a failed test"


def test_records_have_no_defaults() -> None:
    assert [unfilled(record) for record in FilledRecords.build()] == [[], [], [], []]


def test_a_server_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    config = ServerConfig(tmp_path / "config")
    config.sections["plugins"] = {"runtime": "no-such-runtime"}
    with pytest.raises(AssertionError, match=r"cannot start:[\s\S]*no-such-runtime"):
        ServerProcess(config, tmp_path / "data").start()


def test_no_variable_of_the_user_configures_the_server() -> None:
    assert [name for name in ENVIRONMENT if not name.startswith(NOT_INHERITED)] == []

"""``eval-hub-server demo``: results, progress display, errors and interrupts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import processes_with, wait_until
from harness.terminal import run_in_terminal

COMMAND = [sys.executable, "-m", "evalhub_server", "demo"]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment with a marker to find processes by, and with variables that the demo has to ignore."""
    return {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "PORT": "1",
        "DB_URL": "postgres://nowhere",
        "API_HOST": "192.0.2.1",
        "http_proxy": "http://192.0.2.1:3128",
    }


def demo(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=env, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_demo_completes_and_shows_progress_and_results(env: dict[str, str], tmp_path: Path):
    done = demo(env)
    assert (done.returncode, done.stderr) == (0, "")
    for fragment in (
        "arithmetic: completed",
        "accuracy 0.92",
        "latency",
        "is completed; score",
        "records are in",
    ):
        assert fragment in done.stdout
    (jobs_dir,) = tmp_path.glob("evalhub-demo-*")
    assert str(jobs_dir) in done.stdout
    assert len(list(jobs_dir.rglob("results/metrics.json"))) == 4


def test_json_prints_the_final_resource_alone(env: dict[str, str]):
    done = demo(env, "--json", "--num-examples", "3")
    assert (done.returncode, done.stderr) == (0, "")
    job = json.loads(done.stdout)
    assert job["status"]["state"] == "completed"
    assert len(job["results"]["benchmarks"]) >= 3
    assert all(result["metrics"]["num_samples"] == 3 for result in job["results"]["benchmarks"])


def test_model_url_is_evaluated_with_the_api_key_of_the_environment(env: dict[str, str]):
    from evalhub_quickstart.endpoint import DemoEndpoint

    with DemoEndpoint() as endpoint:
        arguments = ("--json", "--num-examples", "2", "--model-url", endpoint.url, "--model-name", "mine")
        done = demo({**env, "OPENAI_API_KEY": "sk-do-not-print"}, *arguments)
    assert done.returncode == 0
    assert json.loads(done.stdout)["model"] == {"url": endpoint.url, "name": "mine"}
    assert "sk-do-not-print" not in done.stdout + done.stderr


def test_an_unreachable_endpoint_exits_with_status_1_and_the_reason(env: dict[str, str]):
    done = demo(env, "--model-url", "http://127.0.0.1:9/v1", "--model-name", "none")
    assert done.returncode == 1
    assert "did not complete" in done.stderr
    assert "http://127.0.0.1:9/v1" in done.stderr


@pytest.mark.parametrize("arguments", [["--model-url", "http://x"], ["--model-name", "x"]])
def test_model_url_and_model_name_require_each_other(env: dict[str, str], arguments: list[str]):
    done = demo(env, *arguments)
    assert done.returncode == 1
    assert "also needs" in done.stderr


def test_an_interrupt_cancels_the_job_and_leaves_nothing_running(env: dict[str, str], tmp_path: Path):
    with subprocess.Popen(
        [*COMMAND, "--model-url", "http://192.0.2.1:81/v1", "--model-name", "silent"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        wait_until(lambda: len(processes_with(str(tmp_path))) > 1, "adapters", 90)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"Evaluation job cancelled" in complaint
    assert processes_with(str(tmp_path)) == []


def test_in_a_terminal_the_results_are_a_table(env: dict[str, str], tmp_path: Path):
    with (tmp_path / "stderr").open("w+b") as errors:
        status, text = run_in_terminal(
            [*COMMAND, "--num-examples", "3"], env, columns=120, stderr=errors.fileno()
        )
        assert (status, errors.read()) == (0, b"")
    assert "Benchmark" in text
    assert "┃" in text
    assert "is completed; score" in text


@pytest.mark.parametrize("flag", ["--model-url", "--model-name"])
def test_an_empty_model_url_is_refused(env: dict[str, str], flag: str):
    done = demo(env, f"{flag}=", "--num-examples", "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"Invalid value for '{flag}': is empty; leave it out to evaluate the stand-in" in done.stderr

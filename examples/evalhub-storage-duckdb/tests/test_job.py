"""A job in a real server with the configuration of the example."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalhub_server.testing import ServerConfig, ServerProcess

CONFIG = Path(__file__).parents[1] / "example" / "config" / "config.yaml"


@pytest.fixture
def evalhub_config(evalhub_config: ServerConfig) -> ServerConfig:
    evalhub_config.sections = yaml.safe_load(CONFIG.read_text("utf-8"))
    return evalhub_config


def test_a_job_survives_a_crash_of_the_server(
    evalhub_server: ServerProcess, evalhub_run_job: Callable[..., Any]
):
    job = evalhub_run_job(score=0.5)
    evalhub_server.kill()
    evalhub_server.start()
    found: Any = evalhub_server.client.jobs.get(job["resource"]["id"])
    assert found["status"]["state"] == "completed"
    (before,), (after,) = job["results"]["benchmarks"], found["results"]["benchmarks"]
    assert after["metrics"] == before["metrics"] == {"score": 0.5}
    assert (evalhub_server.data_dir / "evalhub.duckdb").is_file()

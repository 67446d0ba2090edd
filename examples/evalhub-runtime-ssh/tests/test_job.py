"""A job in a real server with the configuration of the example."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from evalhub_server.testing import ServerConfig, ServerProcess

EXAMPLE = Path(__file__).parents[1] / "example" / "config"


@pytest.fixture
def evalhub_config(evalhub_config: ServerConfig) -> ServerConfig:
    evalhub_config.sections = yaml.safe_load((EXAMPLE / "config.yaml").read_text("utf-8"))
    evalhub_config.providers["dice"] = yaml.safe_load(
        (EXAMPLE / "providers" / "dice.yaml").read_text("utf-8")
    )
    return evalhub_config


def test_a_job_outlives_its_server(evalhub_server: ServerProcess):
    throws, parameters = 5, {"num_examples": 5, "pause_s": 0.5}
    benchmark = {"id": "sixes", "provider_id": "dice", "parameters": parameters}
    model = {"url": "http://model.invalid/v1", "name": "none"}
    jobs: Any = evalhub_server.client.jobs
    job_id = jobs.create({"name": "a job", "model": model, "benchmarks": [benchmark]})["resource"]["id"]

    def log() -> str:
        return "".join(jobs.logs(job_id))

    evalhub_server.until(lambda: "1 of 5" in log(), "the first line of the adapter")
    evalhub_server.kill()
    evalhub_server.start()
    job: Any = evalhub_server.wait(job_id)
    assert job["status"]["state"] == "completed", job
    assert job["results"]["benchmarks"][0]["metrics"]["num_samples"] == throws
    assert [f"{throw + 1} of 5" in log() for throw in range(throws)] == [True] * throws

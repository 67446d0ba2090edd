"""A job in a real server with the configuration of the example."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalhub_server.testing import ServerConfig, ServerProcess

EXAMPLE = Path(__file__).parents[1] / "example"


@pytest.fixture
def evalhub_config(evalhub_config: ServerConfig, tmp_path: Path) -> ServerConfig:
    evalhub_config.sections = yaml.safe_load((EXAMPLE / "config" / "config.yaml").read_text("utf-8"))
    evalhub_config.sections["bucket"]["url"] = tmp_path.as_uri()
    return evalhub_config


def test_the_card_of_a_job_is_exported(
    evalhub_server: ServerProcess, evalhub_run_job: Callable[..., Any], tmp_path: Path
):
    exports = yaml.safe_load((EXAMPLE / "job.yaml").read_text("utf-8"))["exports"]
    job_id = evalhub_run_job(exports=exports)["resource"]["id"]
    (export,) = evalhub_server.wait_for_exports(job_id)
    card = tmp_path / exports["bucket"]["folder"] / f"{job_id}.json"
    assert (export["state"], export["reference"]) == ("succeeded", card.as_uri())
    assert job_id in card.read_text("utf-8")

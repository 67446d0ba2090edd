"""The distributions in ``examples``: installed beside the server's wheel, tested, and used together by a job."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import RunningServer, wait_until
from harness.packaging import EXAMPLES, Built, Environment

NAMES = ("evalhub-exporter-bucket",)
"""``evalhub-runtime-thread`` has tests of its own, in :mod:`test_third_party`."""


@pytest.fixture(scope="module")
def examples(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """An environment with the server, the examples, and what their tests need."""
    environment = Environment.create(tmp_path_factory.mktemp("examples") / "env")
    environment.pip("install", str(built.wheel), *(f"{EXAMPLES / name}[dev]" for name in NAMES))
    yield environment
    shutil.rmtree(environment.folder)


def example_config() -> dict[str, Any]:
    """The configurations of all examples in one."""
    config: dict[str, Any] = {"plugins": {}}
    for name in NAMES:
        own = yaml.safe_load((EXAMPLES / name / "example" / "config" / "config.yaml").read_text("utf-8"))
        config["plugins"] |= own.pop("plugins")
        config |= own
    return config


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_passes_its_own_tests(examples: Environment, name: str):
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / name))
    done = examples.run("python", *command)
    assert " passed" in done.stdout


@pytest.mark.slow
def test_a_job_uses_all_examples(examples: Environment, tmp_path: Path):
    config = example_config()
    cards = tmp_path / "cards"
    cards.mkdir()
    config["bucket"]["url"] = cards.as_uri()
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    requested = yaml.safe_load(
        (EXAMPLES / "evalhub-exporter-bucket" / "example" / "job.yaml").read_text("utf-8")
    )
    with RunningServer(folder, data_dir=tmp_path / "data", python=examples.python) as server:
        job_id = server.submit("arithmetic", provider="quickstart", exports=requested["exports"])
        # The model does not exist, so the benchmark fails, in the adapter.
        assert server.finished(job_id)["status"]["state"] == "failed"
        card = cards / requested["exports"]["bucket"]["folder"] / f"{job_id}.json"
        wait_until(card.exists, "the evaluation card")
    assert json.loads(card.read_text("utf-8"))["metadata"]["evaluation_job_id"] == job_id

"""The distributions in ``examples``: installed beside the server's wheel, tested, and used together by a job."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import RunningServer, wait_until
from harness.moto import needs_moto
from harness.packaging import EXAMPLES, Built, Environment, run

NAMES = ("evalhub-exporter-bucket", "evalhub-storage-duckdb")
"""``evalhub-runtime-thread`` has tests of its own, in :mod:`test_third_party`."""


@pytest.fixture(scope="module")
def examples(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """An environment with the server, its kit for tests, and the examples."""
    environment = Environment.create(tmp_path_factory.mktemp("examples") / "env")
    environment.pip("install", f"{built.wheel}[testing]", "hatchling")
    environment.pip("install", "--no-build-isolation", *(str(EXAMPLES / name) for name in NAMES))
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


@needs_moto
@pytest.mark.slow
def test_the_exporter_passes_the_contract_suite_with_a_bucket():
    """In this environment: moto takes longer to install than all examples."""
    folder = EXAMPLES / "evalhub-exporter-bucket"
    done = run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/test_bucket.py"], folder)
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
    assert (tmp_path / "data" / "evalhub.duckdb").is_file()
    with RunningServer(folder, data_dir=tmp_path / "data", python=examples.python) as server:
        assert server.job(job_id)["status"]["state"] == "failed"
    assert json.loads(card.read_text("utf-8"))["metadata"]["evaluation_job_id"] == job_id

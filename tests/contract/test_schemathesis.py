"""schemathesis: requests generated from the OpenAPI document, valid and invalid, also in chains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Config, RunningServer

FOLDER = Path(__file__).parent / "schemathesis"
VERSION = "schemathesis==4.32.5"  # another one may find more, or know another configuration
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "20")
STREAMS = {"stream_jobs", "stream_job"}
"""Operations that the configuration leaves out."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def schemathesis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, in an environment of its own: it brings a whole test stack of other versions."""
    folder = tmp_path_factory.mktemp("schemathesis")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", VERSION], check=True)
    return folder / "bin" / "schemathesis"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    config = Config(tmp_path / "config")
    benchmarks = ("arithmetic", "json_format")
    config.provider("exit 3", *benchmarks, provider_id="quickstart")
    members = [{"id": benchmark, "provider_id": "quickstart"} for benchmark in benchmarks]
    collection = {"id": "quickstart-v1", "name": "Quickstart", "category": "general", "benchmarks": members}
    config.write("collections/quickstart-v1.yaml", collection)
    with RunningServer(config.folder) as running:
        yield running


def test_responses_conform_to_the_document(schemathesis: Path, server: RunningServer, tmp_path: Path):
    document = server.get("/openapi.json")
    operations = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document), "utf-8")
    command: list[str | Path] = [schemathesis, "--config-file", FOLDER / "schemathesis.toml", "run", file]
    command += ["--url", f"http://127.0.0.1:{server.port}", "--max-examples", EXAMPLES]
    command += ["--continue-on-failure", "--generation-deterministic"]
    env = {**os.environ, "SCHEMATHESIS_HOOKS": str(FOLDER / "hooks.py")}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert f"Tested: {len(set(operations) - STREAMS)}\n" in done.stdout
    # Test data that only a cluster has are valid in requests, and the launch of their benchmarks fails here.
    errors = [
        line
        for line in server.log_lines()
        if line["level"] == "error" and not line.get("error", "").startswith("test_data_ref")
    ]
    assert errors == []

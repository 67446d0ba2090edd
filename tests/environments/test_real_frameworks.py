"""A real framework, installed from the lock by pip alone, and an adapter that runs in its environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evalhub_server.environments.frameworks import FRAMEWORKS
from evalhub_server.environments.lock_file import Lock
from harness import Config, RunningServer
from harness.config import STEPS
from harness.frameworks import installed_framework
from harness.server import API

pytestmark = pytest.mark.slow


def test_inspect_is_installed_by_pip_and_runs_adapters(tmp_path: Path):
    variables = installed_framework("inspect")
    expected = Lock(FRAMEWORKS["inspect"].lock).version_of("inspect-ai")
    command = [sys.executable, "-m", "evalhub_server", "adapters", "doctor", "inspect", "--json"]
    done = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=600, check=False
    )
    (report,) = json.loads(done.stdout)["environments"]
    states = {check["check"]: check["state"] for check in report["checks"]}
    assert (done.returncode, set(states.values())) == (0, {"ok"}), report

    config = Config(tmp_path / "config")
    version = (
        "from importlib.metadata import version; import sys; sys.exit(version('inspect-ai') != sys.argv[1])"
    )
    steps = f"exec python '{STEPS}' completed"
    local = {"environment": "inspect", "command": f'python -c "{version}" {expected} && {steps}'}
    benchmarks = [{"id": "b", "name": "b", "category": "test"}]
    config.write("providers/real.yaml", {"id": "real", "runtime": {"local": local}, "benchmarks": benchmarks})
    with RunningServer(config.folder, env=variables) as server:
        job_id = server.submit(provider="real")
        assert server.finished(job_id)["status"]["state"] == "completed", server.logs(job_id)
        (card,) = server.get(f"{API}/jobs/{job_id}/card")["results"]["benchmarks"]
    assert card["framework"] == {"name": "inspect", "version": expected}

"""What leans on uvicorn's internals, with the lowest and the newest version that pyproject.toml allows."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness.packaging import PROJECT

pytestmark = pytest.mark.slow

LEANING_ON_INTERNALS = (
    "tests/web/test_uvicorn_protocol.py",
    "tests/web/test_uvicorn_server.py",
    "tests/contract/test_methods.py",
    "tests/contract/test_paths_and_heads.py",
    "tests/contract/test_request_bodies.py",
    "tests/contract/test_request_limits.py",
)


def allowed() -> str:
    """uvicorn's requirement, such as ``uvicorn>=1,<2``."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    (requirement,) = (each for each in project["dependencies"] if each.startswith("uvicorn>="))
    return requirement


@pytest.mark.parametrize("end", ["lowest", "newest"])
def test_requests_are_limited_and_answered_at_both_ends_of_the_range(tmp_path: Path, end: str):
    requirement = allowed()
    if end == "lowest":
        requirement = requirement.partition(",")[0].replace(">=", "==")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--target", tmp_path / "uvicorn", requirement], check=True)
    # Before site-packages on the path of this pytest and of the servers that it starts.
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "uvicorn")}
    found = [sys.executable, "-c", "import uvicorn; print(uvicorn.__file__)"]
    assert str(tmp_path) in subprocess.run(found, env=env, capture_output=True, text=True, check=True).stdout
    pytest_ = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider"]
    command = [*pytest_, f"--basetemp={tmp_path / 'tests'}", *LEANING_ON_INTERNALS]
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

"""The command that compares servers: ``python -m benchmarks``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_command_measures_two_trees_in_turns(tmp_path: Path) -> None:
    """The smallest setting: both trees are this one."""
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--quick",
        "--before",
        str(ROOT),
        "--only",
        "health,job of 1",
    ]
    command += ["--rounds", "1", "--seconds", "0.1", "--jobs", "8", "--json", str(tmp_path / "figures.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    assert rows[0] == "| measurement | this | before | before / this |"
    assert [row.split(",")[0] for row in rows[2:] if row] == ["| health", "| job of 1", "| job of 1"]
    figures = json.loads((tmp_path / "figures.json").read_text())["measurements"]
    health = next(each for each in figures if (each["name"], each["unit"]) == ("health", "CPU µs"))
    assert len(health["values"]["this"]) == len(health["values"]["before"]) == 1

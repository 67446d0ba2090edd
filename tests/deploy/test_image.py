"""The image's Containerfile: programs, user and entry point that Jobs and the operator rely on."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from evalhub_runtime_k8s import paths
from harness.mcp import PROGRAM, REQUIREMENT

ROOT = Path(__file__).parents[2]
RECIPE = (ROOT / "Containerfile").read_text("utf-8")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def instruction(word: str) -> str:
    """Arguments of the last instruction with this name."""
    return re.findall(rf"^{word} (.+)$", RECIPE, re.MULTILINE)[-1]


LINKS = {target: script for script, target in re.findall(r"ln -s venv/bin/(\S+) (\S+)", RECIPE)}


@pytest.mark.parametrize("program", ["/app/eval-hub", paths.SIDECAR_PROGRAM, paths.INIT_PROGRAM])
def test_every_program_is_a_script_of_the_distribution(program: str):
    assert LINKS[program] in PROJECT["project"]["scripts"]


def test_the_mcp_server_is_the_one_that_works_with_this_server():
    assert LINKS["/app/evalhub-mcp"] == PROGRAM
    assert f" {REQUIREMENT}\n" in RECIPE


def test_the_default_command_runs_the_server():
    assert instruction("CMD") == '["/app/eval-hub"]'


def test_an_init_process_runs_every_program():
    assert instruction("ENTRYPOINT") == '["/usr/bin/tini", "--"]'
    assert " tini " in RECIPE


def test_it_runs_as_a_number_that_is_not_root():
    assert int(instruction("USER")) > 0


def test_the_extras_that_it_installs_exist():
    (extras,) = re.findall(r"pip install .*'/src\[(.+)\]'", RECIPE)
    assert set(extras.split(",")) <= set(PROJECT["project"]["optional-dependencies"])


def test_every_input_of_the_distribution_is_copied_into_the_build():
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert ignored[0] == "**"
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {Path(package).parts[0] for package in [*wheel["packages"], *wheel["force-include"]]}
    needed |= {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"], "pyproject.toml", "docs"}
    assert needed - let_in == set()

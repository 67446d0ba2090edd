"""The distributions in ``examples``: installed beside the server's wheel, and tested."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

import pytest

from harness.moto import needs_moto
from harness.packaging import EXAMPLES, Built, Environment, run

NAMES = ("evalhub-exporter-bucket", "evalhub-runtime-ssh", "evalhub-storage-duckdb")
"""``evalhub-runtime-thread`` has tests of its own, in :mod:`test_third_party`."""
OVER_SSH = "OverSsh and (killed_server or all_descendants or arrive)"
"""The tests of a runtime that depend most on the connection; all of them take a minute longer."""


@pytest.fixture(scope="module")
def examples(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """An environment with the server, its kit for tests, and the examples."""
    environment = Environment.create(tmp_path_factory.mktemp("examples") / "env")
    environment.pip("install", f"{built.wheel}[testing]", "hatchling")
    environment.pip("install", "--no-build-isolation", *(str(EXAMPLES / name) for name in NAMES))
    yield environment
    shutil.rmtree(environment.folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tests"), [*((name, "not OverSsh") for name in NAMES), ("evalhub-runtime-ssh", OVER_SSH)]
)
def test_it_passes_its_own_tests(examples: Environment, name: str, tests: str):
    """The contract suites, and a job in a server with the configuration of the example."""
    command = ("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-k", tests, str(EXAMPLES / name))
    done = examples.run("python", *command)
    assert " passed" in done.stdout or "needs sshd" in done.stdout


@needs_moto
@pytest.mark.slow
def test_the_exporter_passes_the_contract_suite_with_a_bucket():
    """In this environment: moto takes longer to install than all examples."""
    folder = EXAMPLES / "evalhub-exporter-bucket"
    done = run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/test_bucket.py"], folder)
    assert " passed" in done.stdout

"""Server and SDK in one environment, installed in either order, as wheel and editable."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.packaging import PROJECT, SDK, Built, Environment

pytestmark = pytest.mark.slow

OURS = [
    "evalhub_adapters",
    "evalhub_common",
    "evalhub_server",
    "evalhub_quickstart",
    "evalhub_sidecar",
    "evalhub_init",
    "evalhub_runtime_local",
    "evalhub_storage_sqlite",
]
THEIRS = ["evalhub", "evalhub.cli.main", "evalhub.adapter"]

IMPORT = """
import importlib, json, sys
print(json.dumps({name: importlib.import_module(name).__file__ for name in sys.argv[1:]}))
"""
RECORDS = """
import importlib.metadata, json
names = ("eval-hub-server", "eval-hub-sdk")
print(json.dumps({name: [str(file) for file in importlib.metadata.files(name)] for name in names}))
"""


class Together(NamedTuple):
    """An environment, and the installation of either distribution in it, once or repeatedly."""

    environment: Environment
    install: dict[str, list[str]]
    source: Path
    """Below this our packages lie."""

    def put(self, name: str) -> None:
        self.environment.pip("install", "--no-index", "--no-build-isolation", *self.install[name])

    @contextlib.contextmanager
    def without(self, name: str) -> Iterator[None]:
        self.environment.pip("uninstall", "--yes", name)
        try:
            yield
        finally:
            self.put(name)

    def answer(self, code: str, *arguments: str, folder: Path | None = None) -> Any:
        done = self.environment.run("python", "-c", code, *arguments, folder=folder)
        return json.loads(done.stdout)

    def server_works(self) -> None:
        files = self.answer(IMPORT, *OURS)
        assert [file for file in files.values() if not Path(file).is_relative_to(self.source)] == []
        version = self.environment.run(
            "python", "-c", "import evalhub_server as e; print(e.__version__)"
        ).stdout
        for script in ("eval-hub-server", "eval-hub"):
            assert self.environment.run(script, "--version").stdout == f"eval-hub-server {version}"
        assert "sqlite" in self.environment.run("eval-hub-server", "plugins").stdout

    def sdk_works(self) -> None:
        files = self.answer(IMPORT, *THEIRS)
        assert [
            file for file in files.values() if not Path(file).is_relative_to(self.environment.folder)
        ] == []
        assert self.environment.run("evalhub", "--version").stdout.strip() == "evalhub, version 1.0.6"

    def both_work(self) -> None:
        self.server_works()
        self.sdk_works()
        self.environment.pip("check")


@pytest.fixture(scope="module", params=["wheel", "editable"])
def together(
    request: pytest.FixtureRequest,
    template: Environment,
    sdk_wheels: Path,
    built: Built,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Together]:
    """Either kind, with the SDK installed first; the tests of one alone install the other again, last."""
    kind = request.param
    environment = template.clone(tmp_path_factory.mktemp("together").resolve() / "env")
    install = {
        "eval-hub-sdk": ["--find-links", str(sdk_wheels), SDK],
        "eval-hub-server": [str(built.wheel)] if kind == "wheel" else ["--editable", str(PROJECT)],
    }
    result = Together(environment, install, environment.folder if kind == "wheel" else PROJECT)
    for name in ("eval-hub-sdk", "eval-hub-server"):
        result.put(name)
    yield result
    shutil.rmtree(environment.folder)


def test_both_can_be_imported_and_run(together: Together):
    together.both_work()


def test_both_can_be_imported_from_the_folder_of_the_checkout(together: Together):
    # A folder called evalhub lies here, and "python -c" looks here first.
    files = together.answer(IMPORT, *OURS, *THEIRS, folder=PROJECT)
    assert Path(files["evalhub"]).is_relative_to(together.environment.folder)


def test_no_file_belongs_to_both(together: Together):
    records = together.answer(RECORDS)
    assert set(records["eval-hub-server"]) & set(records["eval-hub-sdk"]) == set()


def test_the_demo_runs_with_what_is_installed(together: Together):
    done = together.environment.run("eval-hub-server", "demo", "--num-examples", "1", "--json")
    job = json.loads(done.stdout)
    assert job["status"]["state"] == "completed"
    assert [result["id"] for result in job["results"]["benchmarks"] if not result["metrics"]] == []


def test_without_the_sdk_the_server_works(together: Together):
    with together.without("eval-hub-sdk"):
        together.server_works()
    together.both_work()


def test_without_the_server_the_sdk_works(together: Together):
    with together.without("eval-hub-server"):
        together.sdk_works()
    together.both_work()

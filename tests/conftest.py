"""Fixtures for the whole tree."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import processes_with
from harness.environments import installed
from harness.mlflow import REQUIREMENT, VERSION, MlflowServer


@pytest.fixture(autouse=True)
def nothing_is_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test that has a folder leaves a process behind that it started below it."""
    if "tmp_path" not in request.fixturenames:
        yield
        return
    folder = str(request.getfixturevalue("tmp_path"))
    yield
    assert processes_with(folder) == []


@pytest.fixture(scope="session")
def mlflow_environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow, installed once per machine where pytest keeps a cache, else once per run."""
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("mlflow") if cache else tmp_path_factory.mktemp("mlflow")
    return installed(folder, VERSION, REQUIREMENT)


@pytest.fixture(scope="module")
def mlflow(mlflow_environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(mlflow_environment, tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``crt`` and ``key`` of localhost."""
    folder = tmp_path_factory.mktemp("certificate")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out crt -days 2"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(["openssl", *words.split(), *subject], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def tls_context(certificate: Path) -> ssl.SSLContext:
    """A server's, with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "crt", certificate / "key")
    return context

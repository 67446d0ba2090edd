"""Fixtures: stand-ins for a server and a model, and a sidecar in front of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from harness.answering import AnsweringServer, Reply
from harness.certificates import Certificate
from harness.sidecar import Pod, RunningSidecar

LocalJob = Callable[..., str]


@pytest.fixture(scope="module")
def module_server() -> Iterator[AnsweringServer]:
    with AnsweringServer() as upstream:
        yield upstream


@pytest.fixture
def server(module_server: AnsweringServer) -> AnsweringServer:
    """A stand-in for the EvalHub server that accepts all requests."""
    return module_server.reset(lambda _: Reply(204))


@pytest.fixture
def model() -> Iterator[AnsweringServer]:
    """A stand-in for a model."""
    with AnsweringServer(
        lambda _: Reply(200, b'{"choices": []}', {"Content-Type": "application/json"})
    ) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a local server."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def local_job(data_dir: Path) -> LocalJob:
    """Writes the file of a new job as the local runtime does; returns the job's id."""

    def write(url: str, **model: Any) -> str:
        job_id = str(uuid4())
        folder = data_dir / "jobs" / job_id
        folder.mkdir(parents=True)
        (folder / "sidecar-job-info.json").write_text(json.dumps({"model": {"url": url, **model}}), "utf-8")
        return job_id

    return write


@pytest.fixture(scope="module")
def sidecar(data_dir: Path, module_server: AnsweringServer) -> Iterator[RunningSidecar]:
    """The sidecar of a workstation."""
    config = {"local_mode": True, "eval_hub": {"base_url": module_server.url}}
    with RunningSidecar(data_dir / "sidecar", config, {"EVALHUB_DATA_DIR": str(data_dir)}) as running:
        yield running


@pytest.fixture
def tls_server(localhost: Certificate) -> Iterator[AnsweringServer]:
    """An HTTPS server that accepts all requests."""
    with AnsweringServer(lambda _: Reply(200, b"secure"), tls=localhost) as upstream:
        yield upstream


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)

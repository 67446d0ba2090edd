"""A real MLflow for these tests, installed once per machine where pytest keeps a cache, else once per run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.environments import installed
from harness.mlflow import REQUIREMENT, VERSION, MlflowServer


@pytest.fixture(scope="session")
def mlflow_environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("mlflow") if cache else tmp_path_factory.mktemp("mlflow")
    return installed(folder, VERSION, REQUIREMENT)


@pytest.fixture(scope="module")
def mlflow(mlflow_environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(mlflow_environment, tmp_path_factory.mktemp("server")) as server:
        yield server

"""Builds and environments that the packaging tests share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.packaging import SDK, Built, Environment, build_distributions


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build_distributions(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="session")
def sdk_wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the published SDK, for ``--find-links``."""
    return tmp_path_factory.mktemp("sdk")


@pytest.fixture(scope="session")
def template(
    built: Built, sdk_wheels: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Environment]:
    """An environment with the dependencies of server and SDK, but neither of the two; its clones install offline."""
    environment = Environment.create(tmp_path_factory.mktemp("template") / "env")
    environment.pip("download", "--no-deps", "--dest", str(sdk_wheels), SDK)
    environment.pip(
        "install", "--find-links", str(sdk_wheels), SDK, str(built.wheel), "hatchling", "editables"
    )
    environment.pip("uninstall", "--yes", "eval-hub-sdk", "eval-hub-server")
    yield environment
    shutil.rmtree(environment.folder)

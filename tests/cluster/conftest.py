"""Fixtures: a real server process in cluster mode, over the fake cluster's HTTP API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer
from harness.kube import TENANT, FakeCluster

NewServer = Callable[..., RunningServer]

QUICK: dict[str, Any] = {
    "poll_interval": "100ms",
    "exit_grace": "100ms",
    "image_pull_timeout": "300ms",
    "container_error_timeout": "300ms",
    "unschedulable_notice": "300ms",
}


def a_config(folder: Path) -> Config:
    return Config(folder, kubernetes=QUICK, supervisor={"stop_grace": "2s"})


def a_server(config: Config, cluster: FakeCluster, folder: Path, **env: str) -> RunningServer:
    """A server with all its data in ``folder``; another one with the same folder acts as its restart."""
    server = RunningServer(
        config.folder,
        data_dir=folder / "data",
        flags=("--configdir", str(config.folder)),
        env={"KUBECONFIG": str(cluster.kubeconfig(folder)), **env},
    )
    server.headers = {"X-Tenant": TENANT, "X-User": "alice"}
    return server


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    with FakeCluster() as running:
        yield running


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return a_config(tmp_path / "config")


@pytest.fixture
def new_server(cluster: FakeCluster, config: Config, tmp_path: Path) -> NewServer:
    """Factory of servers with the same cluster and directory; ``env`` is added to their environment."""

    def make(**env: str) -> RunningServer:
        return a_server(config, cluster, tmp_path, **env)

    return make


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[FakeCluster]:
    with FakeCluster() as running:
        running.suspend_new_jobs()  # those with a queue
        yield running


@pytest.fixture(scope="module")
def shared_server(
    shared_cluster: FakeCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server for many tests. It has one provider per script, with the script's name."""
    folder = tmp_path_factory.mktemp("shared")
    config = a_config(folder / "config")
    for script in ("exits:3", "exits:0", "oom", "unschedulable", "waits:ImagePullBackOff", "stops"):
        config.image(
            f"script.test/{script}",
            *("a", "b", "c", "MMLU_Pro"),
            provider_id=script.replace(":", "-").lower(),
            env={"TEXT": "first\nlast words\n"},
        )
    profiles = {"EVALHUB_HARDWARE_PROFILES_NAMESPACE": "profiles"}
    with a_server(config, shared_cluster, folder, **profiles) as running:
        yield running

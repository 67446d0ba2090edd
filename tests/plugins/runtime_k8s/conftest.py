"""A fake cluster, and the real client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from kubernetes_asyncio import client
from kubernetes_asyncio.client import ApiClient, Configuration

from harness.kube import FakeCluster
from harness.kube.api import TOKEN


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    with FakeCluster() as running:
        yield running


@pytest.fixture
async def api(cluster: FakeCluster) -> AsyncIterator[ApiClient]:
    """The real client of the server's service account."""
    settings = Configuration(host=cluster.url)
    settings.api_key = {"BearerToken": f"Bearer {TOKEN}"}
    async with client.ApiClient(settings) as opened:
        yield opened


@pytest.fixture
def kubeconfig(cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runtime under test finds the cluster."""
    file = cluster.kubeconfig(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(file))
    return file

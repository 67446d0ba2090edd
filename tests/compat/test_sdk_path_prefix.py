"""The SDK's client behind a reverse proxy under a path prefix."""

from __future__ import annotations

import pytest

from compat.conftest import CLIENT_SCRIPT
from harness import Config, RunningServer
from harness.reverse_proxy import ReverseProxy
from harness.sdk import LOOPBACK_WITHOUT_PROXY, RemoteClient, Sdk
from harness.server import job_request

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("strips", [False, True])
def test_the_client_works_with_the_prefix_in_its_base_url(
    sdk: Sdk, tmp_path_factory: pytest.TempPathFactory, strips: bool
):
    config = Config(tmp_path_factory.mktemp("prefix") / "config", service={"root_path": "/evalhub"})
    config.scripted("running", "completed")
    with (
        RunningServer(config.folder, env=LOOPBACK_WITHOUT_PROXY) as server,
        ReverseProxy(server.port, "/evalhub", strips=strips) as proxy,
        RemoteClient(
            sdk, CLIENT_SCRIPT, "SyncEvalHubClient", f"http://localhost:{proxy.port}/evalhub"
        ) as client,
    ):
        assert client("health")["status"] == "healthy"
        assert [provider["name"] for provider in client("providers.list")] == ["scripted"]
        job_id = client("jobs.submit", job_request())["resource"]["id"]
        server.finished(job_id)
        assert client("jobs.get", job_id)["status"]["state"] == "completed"
        assert [job["resource"]["id"] for job in client("jobs.list")] == [job_id]

"""The published MCP server's resources and tools, over this server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compat.conftest import ids
from harness import RunningServer
from harness.mcp import McpSession, RefusedError, mcp_session
from harness.server import API

pytestmark = pytest.mark.slow

MODEL = {"url": "http://127.0.0.1:9/v1", "name": "m"}


@pytest.fixture(scope="module")
def mcp(
    server: RunningServer, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[McpSession]:
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("eval-hub-mcp") if cache else tmp_path_factory.mktemp("eval-hub-mcp")
    with mcp_session(folder, tmp_path_factory.mktemp("home"), f"http://localhost:{server.port}") as session:
        yield session


def submitted(mcp: McpSession, provider_id: str, benchmark_id: str = "b") -> str:
    benchmark = {"id": benchmark_id, "provider_id": provider_id, "parameters": {"num_examples": 2}}
    job = mcp.tool("submit_evaluation", name="from-mcp", tags=["mcp"], model=MODEL, benchmarks=[benchmark])
    assert job["state"] == "pending"
    return job["job_id"]


def test_providers_and_their_benchmarks_are_read(mcp: McpSession, server: RunningServer):
    providers = server.get(f"{API}/providers")["items"]
    assert ids(mcp.read("providers")) == ids(providers)
    assert mcp.read("providers/quick")["name"] == "quick"
    offered = [benchmark["id"] for provider in providers for benchmark in provider.get("benchmarks", ())]
    assert sorted(benchmark["id"] for benchmark in mcp.read("benchmarks")) == sorted(offered)
    assert mcp.read("benchmarks/c")["id"] == "c"
    assert len(mcp.read("benchmarks?label=short")) == 2
    assert mcp.read("benchmarks?label=long") == []


def test_providers_are_found_by_what_they_evaluate(mcp: McpSession):
    found = mcp.tool("discover_providers", target_type="agent", evaluates=["safety"])
    assert [provider["id"] for provider in found["providers"]] == ["described"]


def test_collections_are_read(mcp: McpSession, server: RunningServer):
    body = {"name": "both", "category": "test", "benchmarks": [{"id": "b", "provider_id": "quick"}]}
    made = server.call("POST", f"{API}/collections", body).body["resource"]["id"]
    assert made in ids(mcp.read("collections"))
    assert mcp.read(f"collections/{made}")["name"] == "both"
    job = mcp.tool("submit_evaluation", name="all", model=MODEL, collection={"id": made})["job_id"]
    assert server.finished(job)["status"]["state"] == "completed"


def test_a_job_is_submitted_and_followed_to_its_results(mcp: McpSession, server: RunningServer):
    job_id = submitted(mcp, "quick")
    server.finished(job_id)
    status = mcp.tool("get_job_status", job_id=job_id)
    assert (status["state"], status["progress_percent"]) == ("completed", 100)
    assert [(benchmark["id"], benchmark["status"]) for benchmark in status["benchmarks"]] == [
        ("b", "completed")
    ]
    (result,) = mcp.read(f"jobs/{job_id}")["results"]["benchmarks"]
    assert result["metrics"]["acc"] == 0.75
    assert job_id in ids(mcp.read("jobs?status=completed"))
    assert job_id not in ids(mcp.read("jobs?status=running"))


def test_a_job_is_cancelled(mcp: McpSession, server: RunningServer):
    job_id = submitted(mcp, "hangs")
    server.in_state(job_id, "running")
    mcp.tool("cancel_job", job_id=job_id)
    assert mcp.tool("get_job_status", job_id=job_id)["state"] == "cancelled"


def test_errors_name_unknown_benchmarks_and_jobs(mcp: McpSession):
    with pytest.raises(RefusedError, match="resource_does_not_exist"):
        submitted(mcp, "quick", "nope")
    with pytest.raises(RefusedError, match="resource_not_found"):
        mcp.tool("cancel_job", job_id="nope")
    with pytest.raises(RefusedError, match="not found"):
        mcp.read("jobs/nope")


def test_job_ids_are_completed(mcp: McpSession):
    job_id = submitted(mcp, "quick")
    template = {"type": "ref/resource", "uri": "evalhub://jobs/{id}"}
    offered = mcp.call("completion/complete", ref=template, argument={"name": "id", "value": job_id[:8]})
    assert offered["completion"]["values"] == [job_id]

"""``/api/v1/ready``: the state of the server, and its components for information."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from evalhub_server.cli.server import Server
from evalhub_server.domain.record import JobRecord
from evalhub_server.engine import readiness
from evalhub_server.engine.clock import utc_now
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.readiness import ComponentChecks
from evalhub_server.engine.run_builder import RunBuilder
from evalhub_server.engine.server_state import Role
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.settings import SupervisorSettings, load_settings
from evalhub_server.testing.echo import EchoRuntime
from evalhub_server.testing.memory import MemoryStorage
from harness import Answer, Config, RunningServer, wait_until
from harness.disk import full_disk, needs_a_full_disk, needs_mounts, small_disk
from harness.raw import raw_request
from harness.server import API

READY = "/api/v1/ready"


def ready(server: RunningServer) -> Answer:
    return server.call("GET", READY)


def test_it_requires_neither_tenant_nor_token(tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123456789abcdef\n")
    sections = {"plugins": {"runtime": "local"}, "service": {"auth_token_file": str(token)}}
    config = Config(tmp_path / "config", **sections)
    flags = ("--configdir", str(config.folder))  # without --local, requests for resources need a tenant
    with RunningServer(config.folder, flags=flags, data_dir=tmp_path / "data") as server:
        answer = ready(server)
        assert (answer.status, answer.body["status"]) == (200, "ready")
        healthy = {"storage": "ok", "runtime": "ok", "disk": "ok"}
        wait_until(lambda: ready(server).body["components"] == healthy, "checks within their time limits")
        assert raw_request(server.port, "HEAD", READY).status == 200
        assert raw_request(server.port, "POST", READY).status == 405


def test_without_a_data_directory_there_is_no_disk(tmp_path: Path):
    with RunningServer(Config(tmp_path / "config").folder) as server:
        healthy = {"storage": "ok", "runtime": "ok"}
        wait_until(lambda: ready(server).body["components"] == healthy, "checks within their time limits")
        assert raw_request(server.port, "POST", READY).refusal == (405, "method_not_allowed")


@needs_a_full_disk
def test_a_storage_that_cannot_be_written_is_reported_and_does_not_fail_it(tmp_path: Path):
    config = Config(tmp_path / "config")
    config.provider("sleep 600 # waits for the test's own events")
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        job_id = server.submit()
        wait_until(lambda: len(list(config.jobs_dir.rglob("*.pid"))) == 1, "the adapter's start")
        with full_disk(server.pid):
            assert server.report(job_id, "running", phase="loading_data").status == 503
            answer = wait_until(
                lambda: (found := ready(server)).body["components"]["storage"] != "ok" and found,
                "the storage to be reported",
            )
            assert answer.status == 200
            assert answer.body["components"]["storage"] == "unavailable"
            assert server.get("/api/v1/health")["status"] == "healthy"
        wait_until(lambda: ready(server).body["components"]["storage"] == "ok", "the storage to recover")
        assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204


@needs_mounts
def test_a_full_disk_is_reported_and_does_not_fail_it(tmp_path: Path):
    with small_disk(tmp_path / "small") as folder:
        data = folder / "data"
        data.mkdir(mode=0o700)
        with RunningServer(Config(tmp_path / "config").folder, data_dir=data) as server:
            answer = wait_until(
                lambda: (found := ready(server)).body["components"]["disk"] != "unavailable" and found,
                "a check of the disk within its time limit",
            )
            assert (answer.status, answer.body["components"]["disk"]) == (200, "full")


class SlowStorage(MemoryStorage):
    """Reads take 0.2 s, in a thread."""

    async def get_job(self, job_id: str, tenant: str | None) -> JobRecord:
        await asyncio.to_thread(time.sleep, 0.2)
        return await super().get_job(job_id, tenant)


async def test_a_result_counts_if_it_is_there_when_a_late_event_loop_notices_the_limit(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(readiness, "CHECK_TIMEOUT_S", 0.4)
    store, runtime = JobStore(SlowStorage()), EchoRuntime()
    runs = RunBuilder("http://localhost:8080", runtime.provider_key, [])
    checks = ComponentChecks(store, Supervisor(store, runtime, runs, SupervisorSettings(), utc_now), None)
    checking = asyncio.create_task(checks())
    for _ in range(10):  # until the read waits for its thread
        await asyncio.sleep(0)
    time.sleep(0.6)  # noqa: ASYNC251  this is what makes the loop late
    assert (await checking).storage == "ok"


async def test_it_is_503_while_the_server_starts_stops_or_has_lost_its_data_directory(tmp_path: Path):
    config = Config(tmp_path / "config")
    settings = load_settings(local=True, configdir=config.folder, environ={"PORT": "0"})
    async with Server(settings, load_plugins()) as server:
        assert server.state.refusal is not None
        assert server.state.refusal.code == "server_starting"
        serving = asyncio.create_task(server.serve(), name="server")
        port = int(server.url.rpartition(":")[2])

        async def answer(path: str = READY) -> Answer:
            return await asyncio.to_thread(raw_request, port, "GET", path)

        assert (await answer()).status == 200
        server.state.set_role(Role.FOLLOWER)
        assert (await answer()).body["role"] == "follower"
        assert 'evalhub_server_role{role="follower"} 1' in (await answer("/metrics")).body
        server.state.set_role(Role.OUSTED)
        assert (await answer()).refusal == (503, "server_ousted")
        assert (await answer("/api/v1/health")).body["role"] == "ousted"
        server.state.set_stopping()
        stopping = await answer()
        assert stopping.refusal == (503, "server_stopping")
        assert stopping.headers["retry-after"] == "5"
        server.state.set_data_directory_lost()
        assert (await answer()).refusal == (503, "data_directory_lost")
        assert (await answer("/api/v1/health")).status == 200
        server.stop()
        await serving

"""Retention of a real server: what is deleted, what stays, and what a killed server leaves to do."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from evalhub_runtime_local.runtime import LocalRuntime
from evalhub_runtime_local.settings import LocalSettings
from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.domain.retention import RetentionPolicy
from evalhub_server.engine import retention as module
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.retention import Retention
from evalhub_server.engine.sample_folder import SampleFolder
from evalhub_server.engine.sample_store import SampleStore
from evalhub_server.models.common import State
from evalhub_server.plugins import JobQuery, PluginContext
from evalhub_server.settings import SampleSettings
from evalhub_server.testing.builders import a_job
from evalhub_storage_sqlite.storage import SqliteStorage
from harness import Config, RunningServer, wait_until
from harness.program import run_program
from harness.server import API

WRITER = Path(__file__).parents[1] / "harness" / "sample_writer.py"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def configured(folder: Path, **retention: Any) -> Config:
    config = Config(folder, local={"jobs_dir": ""}, retention=retention, samples={"max_artifact_bytes": 1000})
    source = config.write("samples.jsonl", json.dumps({"sample_id": "1", "metrics": {"acc": 1}}) + "\n")
    config.provider(
        f"seq 100; exec '{sys.executable}' '{WRITER}' '{source}' artifacts",
        benchmark={"primary_score": {"metric": "acc"}},
    )
    return config


def prune(config: Config, data: Path, *options: str, status: int = 0) -> list[str]:
    command = ("prune", "--local", "--configdir", str(config.folder), "--data-dir", str(data))
    done = run_program(*command, *options)
    assert done.returncode == status, done.stderr
    return (done.stdout + done.stderr).splitlines()


def finished(server: RunningServer) -> str:
    job_id = server.submit()
    server.finished(job_id)
    wait_until(
        lambda: server.job(job_id)["status"]["benchmarks"][0].get("samples", {}).get("state") == "stored",
        "samples",
    )
    return job_id


def stored_files(data: Path, job_id: str) -> list[Path]:
    return [path for path in (data / "samples" / job_id).rglob("*") if path.is_file()]


@pytest.mark.slow
def test_files_are_deleted_and_records_and_metrics_stay(tmp_path: Path) -> None:
    data = tmp_path / "data"
    config = configured(tmp_path / "config", samples_for="1ms", logs_for="1ms")
    with RunningServer(config.folder, data_dir=data) as server:
        job_id = finished(server)
        before = server.job(job_id)
        planned = prune(config, data, "--dry-run")
        assert [line.split()[1] for line in planned[:-1]] == ["samples", "logs"]
        assert planned[-1].startswith("would delete 2 (")
        assert stored_files(data, job_id)
        assert "in use by another server" in prune(config, data, status=1)[-1]
    assert prune(config, data)[-1].startswith("deleted 2 (")
    assert prune(config, data)[-1] == "deleted 0 (0 bytes)"
    assert not stored_files(data, job_id)
    with RunningServer(config.folder, data_dir=data) as server:
        after = server.job(job_id)
        assert after["results"]["benchmarks"][0]["metrics"] == before["results"]["benchmarks"][0]["metrics"]
        samples = after["status"]["benchmarks"][0]["samples"]
        assert samples["state"] == "none"
        assert "retention.samples_for" in samples["message"]
        assert server.call("GET", f"{API}/jobs/{job_id}/benchmarks/0/samples").status == 404
        assert "--- the log was deleted at " in server.logs(job_id)
        assert [path.name for path in (data / "jobs" / job_id).rglob("*") if path.is_file()] == ["jobrun.log"]


def test_jobs_beyond_the_newest_are_deleted_with_their_files(tmp_path: Path) -> None:
    data = tmp_path / "data"
    config = configured(tmp_path / "config", keep_last_per_model_and_benchmark=1)
    with RunningServer(config.folder, data_dir=data) as server:
        old, new = finished(server), finished(server)
    assert [line.split()[:2] for line in prune(config, data)[:-1]] == [[old, "job"]]
    assert not (data / "jobs" / old).exists()
    assert not (data / "samples" / old).exists()
    with RunningServer(config.folder, data_dir=data) as server:
        assert server.call("GET", f"{API}/jobs/{old}").status == 404
        assert server.call("GET", f"{API}/jobs/{new}/benchmarks/0/samples").status == 200


def test_jobs_of_baselines_and_pinned_jobs_are_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    config = configured(tmp_path / "config")
    with RunningServer(config.folder, data_dir=data) as server:
        named, pinned, other, newest = (finished(server) for _ in range(4))
        assert server.call("PUT", f"{API}/baselines/main", {"job_id": named}).status == 200
        assert server.call("PUT", f"{API}/jobs/{pinned}/pin").status == 204
    config = configured(tmp_path / "again", samples_for="1ms")
    printed = prune(config, data)
    assert not stored_files(data, other)
    assert not stored_files(data, newest)
    assert stored_files(data, named)
    assert stored_files(data, pinned)
    assert not any(job_id in line for line in printed for job_id in (named, pinned))


def test_a_baseline_is_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    config = configured(tmp_path / "config", keep_last_per_model_and_benchmark=1, samples_for="1ms")
    with RunningServer(config.folder, data_dir=data) as server:
        old, new = finished(server), finished(server)
        answer = server.call("PUT", "/api/v1/evaluations/baselines/best", {"job_id": old})
        assert answer.status in (200, 201), answer
        assert [line.split()[:2] for line in prune(config, data, "--dry-run")[:-1]] == [[new, "samples"]]
    assert [line.split()[:2] for line in prune(config, data)[:-1]] == [[new, "samples"]]


def test_nothing_is_deleted_without_a_policy(tmp_path: Path) -> None:
    config = configured(tmp_path / "config")
    assert "no limit is set" in prune(config, tmp_path / "data", status=1)[-1]


def ended(**changes: Any) -> JobRecord:
    job = a_job()
    benchmarks = tuple(replace(each, state=State.COMPLETED) for each in job.benchmarks)
    return with_changes(job, state=State.COMPLETED, benchmarks=benchmarks, updated_at=LONG_AGO, **changes)


@pytest.mark.asyncio
async def test_a_pass_visits_every_job_and_leaves_what_is_exempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    monkeypatch.setattr(module, "MAX_DELETIONS", 8)
    storage = SqliteStorage(tmp_path / "evalhub.db")
    await storage.open()
    store = JobStore(storage)
    jobs = [ended() for _ in range(10)]  # all of one moment or of several
    pinned, baseline, running = ended(pinned=True), ended(), a_job()
    for job in (*jobs, pinned, baseline, running):
        await store.add(job)
    runtime = LocalRuntime(LocalSettings(jobs_dir=str(tmp_path / "jobs")), PluginContext())
    samples = SampleStore(SampleFolder(tmp_path / "samples"), SampleSettings())

    async def baselines() -> set[str]:
        return {baseline.id}

    retention = Retention(
        store, runtime, samples, RetentionPolicy(keep_for_s=60), lambda: datetime.now(UTC), baselines
    )
    assert len(await retention.prune()) == 8
    assert len(await retention.prune()) == 2
    assert await retention.prune() == []
    left = await store.list(JobQuery())
    assert {job.id for job in left.items} == {pinned.id, baseline.id, running.id}
    await storage.close()


class Leaving(LocalRuntime):
    """Removes everything but what is refused, as in a cluster without rights."""

    async def remove(self, job_id: str, tenant: str) -> str | None:
        await super().remove(job_id, tenant)
        return "Secrets may be left"


@pytest.mark.asyncio
async def test_what_is_left_of_a_deleted_job_is_logged(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "evalhub.db")
    await storage.open()
    store = JobStore(storage)
    await store.add(ended())
    runtime = Leaving(LocalSettings(jobs_dir=str(tmp_path / "jobs")), PluginContext())
    samples = SampleStore(SampleFolder(tmp_path / "samples"), SampleSettings())

    async def baselines() -> set[str]:
        return set()

    retention = Retention(
        store, runtime, samples, RetentionPolicy(keep_for_s=60), lambda: datetime.now(UTC), baselines
    )
    with capture_logs() as lines:
        assert len(await retention.prune()) == 1
    assert [line["left"] for line in lines if "left" in line] == ["Secrets may be left"]
    assert not (await store.list(JobQuery())).items
    await storage.close()


@pytest.mark.slow
def test_a_running_server_deletes_in_the_background_and_continues_after_a_kill(tmp_path: Path) -> None:
    data = tmp_path / "data"
    config = configured(tmp_path / "config")
    with RunningServer(config.folder, data_dir=data) as server:
        jobs = [finished(server) for _ in range(3)]
    first = stored_files(data, jobs[0])
    assert first
    for (
        path
    ) in first:  # as a server that was killed between the deletion of the files and the change of the record
        path.unlink()
    config = configured(tmp_path / "again", samples_for="1ms")
    with RunningServer(config.folder, data_dir=data) as server:
        for job_id in jobs:
            wait_until(
                lambda job_id=job_id: (
                    server.job(job_id)["status"]["benchmarks"][0]["samples"]["state"] == "none"
                ),
                "the deletion",
                90,
            )
        assert not any(stored_files(data, job_id) for job_id in jobs)

"""The metric of the space that the server's data occupy."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import msgspec

from evalhub_server.engine.sample_bucket import SampleBucket
from evalhub_server.engine.sample_folder import SampleFolder, occupied
from evalhub_server.engine.stored_bytes import StoredBytes
from evalhub_server.settings import SampleSettings, connection_of
from evalhub_server.testing import MemoryStorage
from harness import Config, RunningServer, free_port, wait_until
from harness.moto import needs_moto
from harness.server import API

WRITER = Path(__file__).parents[1] / "harness" / "sample_writer.py"
SERIES = re.compile(r'^evalhub_stored_bytes\{kind="(\w+)"\} (\S+)$', re.MULTILINE)


def sizes(server: RunningServer) -> dict[str, float]:
    return {kind: float(value) for kind, value in SERIES.findall(server.get("/metrics"))}


def test_the_metrics_have_the_size_of_everything_and_a_hard_delete_removes_the_files(tmp_path: Path) -> None:
    config = Config(tmp_path / "config", local={"jobs_dir": ""}, samples={"max_artifact_bytes": 1000})
    source = config.write("samples.jsonl", json.dumps({"sample_id": "1", "metrics": {"acc": 1}}) + "\n")
    config.provider(
        f"seq 9; exec '{sys.executable}' '{WRITER}' '{source}' artifacts",
        benchmark={"primary_score": {"metric": "acc"}},
    )
    data = tmp_path / "data"
    with RunningServer(config.folder, data_dir=data) as server:
        job_id = server.submit()
        server.finished(job_id)
        wait_until(lambda: any((data / "samples" / job_id).rglob("artifacts/*")), "the artifacts")
        wait_until(
            lambda: server.job(job_id)["status"]["benchmarks"][0].get("samples", {}).get("state") == "stored",
            "samples",
        )
        wait_until(lambda: sizes(server), "the measurement")
        found = sizes(server)
        assert found.keys() == {"database", "samples", "artifacts", "jobs"}
        assert all(value > 0 for value in found.values())
        assert server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true").status == 204
        assert SampleFolder(data / "samples").sizes() == {"samples": 0, "artifacts": 0}
        assert sum(size for _, size in occupied(data / "jobs")) == 0


@needs_moto
async def test_a_bucket_that_is_unavailable_leaves_the_other_sizes(tmp_path: Path) -> None:
    s3 = {
        "endpoint": f"http://127.0.0.1:{free_port()}",
        "access_key_id": "an-id",
        "secret_access_key": "a-secret",
    }
    settings = msgspec.convert({"url": "s3://samples/x", "s3": s3}, SampleSettings)
    bucket = SampleBucket(connection_of(settings, {}), tmp_path / "cache", 0)
    stored = StoredBytes(MemoryStorage(), bucket, tmp_path)
    assert stored.gauge().values == {}
    assert stored._task is not None
    await stored._task
    assert stored.gauge().values == {("jobs",): 0}

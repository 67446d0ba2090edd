"""Crashes while samples are being stored: nothing is lost, and nothing incomplete is served."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, processes_with, wait_until
from harness.server import API

WRITER = Path(__file__).parents[1] / "harness" / "sample_writer.py"
COUNT = 60_000


@pytest.fixture
def config(tmp_path: Path) -> Config:
    source = tmp_path / "in.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for number in range(COUNT):
            file.write(
                json.dumps({"sample_id": str(number), "metrics": {"acc": 1}, "input": "x" * 50}) + "\n"
            )
    short = tmp_path / "short.jsonl"
    short.write_text('{"sample_id": "a"}\n{"sample_id": "b"}\n', "utf-8")
    made = Config(tmp_path / "config", supervisor={"exit_grace": "100ms"})
    made.provider(
        f"exec '{sys.executable}' '{WRITER}' '{source}' artifacts",
        benchmark={"primary_score": {"metric": "acc"}},
    )
    made.provider("sleep 600 # waits for uploads", provider_id="waits")
    made.provider(
        f"'{sys.executable}' '{WRITER}' '{short}'; until [ -e {tmp_path}/gate ]; do sleep 0.05; done",
        provider_id="lingers",
    )
    return made


@pytest.fixture
def server(config: Config, tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(config.folder, data_dir=tmp_path / "data") as running:
        yield running


def stored_files(data: Path) -> list[str]:
    return sorted(path.name for path in (data / "samples").glob("**/*") if path.is_file())


def samples_of(server: RunningServer, job_id: str) -> dict[str, Any]:
    return server.job(job_id)["status"]["benchmarks"][0].get("samples", {})


def test_samples_are_complete_after_a_kill_while_they_are_read(server: RunningServer, tmp_path: Path):
    job_id = server.submit()
    data = tmp_path / "data"
    wait_until(lambda: any(".part-" in name for name in stored_files(data)), "a file that is being written")
    server.kill()
    assert any(".part-" in name for name in stored_files(data))
    server.start()
    samples = wait_until(
        lambda: (found := samples_of(server, job_id)).get("state") == "stored" and found, "the samples"
    )
    assert samples["count"] == COUNT
    assert [each["name"] for each in samples["artifacts"]] == ["logs/é.html", "report.txt", "too-large.bin"]
    assert server.get(f"{API}/jobs/{job_id}/benchmarks/0/samples?offset={COUNT - 1}")["total_count"] == COUNT
    assert not any(".part-" in name for name in stored_files(data))
    assert server.job(job_id)["status"]["state"] == "completed"


@pytest.mark.slow
@pytest.mark.parametrize("exits", ["before", "after"])
def test_samples_are_stored_if_the_server_dies_between_result_and_exit(
    server: RunningServer, tmp_path: Path, exits: str
):
    job_id = server.submit(provider="lingers")
    server.finished(job_id)
    assert samples_of(server, job_id) == {}
    server.kill()
    if exits == "before":
        (tmp_path / "gate").touch()
        wait_until(lambda: not processes_with(job_id), "the exit of the adapter")
    server.start()
    (tmp_path / "gate").touch()
    samples = wait_until(
        lambda: (found := samples_of(server, job_id)).get("state") == "stored" and found, "the samples"
    )
    assert samples["count"] == 2


@pytest.mark.slow
def test_a_benchmark_whose_workload_is_lost_says_why_it_has_no_samples(
    server: RunningServer, config: Config, tmp_path: Path
):
    handles = [server.submit(provider="lingers"), server.submit(provider="lingers")]
    for job_id in handles:
        server.finished(job_id)
    server.kill()
    (tmp_path / "gate").touch()
    wait_until(lambda: not processes_with(str(config.jobs_dir)), "the exit of the adapters")
    shutil.rmtree(config.jobs_dir)
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "evalhub.db")) as database, database:
        # As of a crash between the launch and the note of it.
        (seq,) = database.execute("SELECT seq FROM jobs WHERE id = ?", (handles[0],)).fetchone()
        (text,) = database.execute("SELECT doc FROM benchmarks WHERE seq = ?", (seq,)).fetchone()
        document = {name: value for name, value in json.loads(text).items() if name != "handle"}
        database.execute("UPDATE benchmarks SET doc = ? WHERE seq = ?", (json.dumps(document).encode(), seq))
    server.start()
    reasons = ("its workload was lost when the server stopped", "its job directory does not exist any more")
    for job_id, reason in zip(handles, reasons, strict=True):
        samples = wait_until(
            lambda job_id=job_id: (found := samples_of(server, job_id)).get("state") == "none" and found,
            "the reason",
        )
        assert samples["message"] == reason
        answer = server.call("GET", f"{API}/jobs/{job_id}/benchmarks/0/samples")
        assert answer.refusal == (404, "samples_not_available")
        assert reason in answer.body["message"]


def test_samples_are_readable_after_the_loss_of_their_index(server: RunningServer, tmp_path: Path):
    job_id = server.submit(provider="waits")
    url = f"{API}/jobs/{job_id}/benchmarks/0/samples"
    assert server.call("PUT", url, b'{"sample_id": "a"}\n{"sample_id": "b"}\n').body["count"] == 2
    server.kill()
    (index,) = (tmp_path / "data" / "samples").glob("**/*.idx")
    index.write_bytes(index.read_bytes()[:-8])
    server.start()
    assert [each["sample_id"] for each in server.get(url)["items"]] == ["a", "b"]
    server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true")


def test_an_upload_that_is_broken_off_leaves_the_samples_as_they_were(server: RunningServer, tmp_path: Path):
    job_id = server.submit(provider="waits")
    url = f"{API}/jobs/{job_id}/benchmarks/0/samples"
    assert server.call("PUT", url, b'{"sample_id": "a"}\n').body["count"] == 1
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"PUT {url} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b'{"sample_id": "b"}\n')
        data = tmp_path / "data"
        wait_until(lambda: any(".part-" in name for name in stored_files(data)), "the upload's file")
    wait_until(
        lambda: not any(".part-" in name for name in stored_files(data)), "the removal of the upload's file"
    )
    assert [each["sample_id"] for each in server.get(url)["items"]] == ["a"]
    server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true")

"""``backup``, ``restore`` and ``verify`` of a real server: while it runs, elsewhere, killed, and of damaged data."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, wait_until
from harness.postgres import RunningPostgres, needs_postgres
from harness.program import run_program
from harness.server import API

WRITER = Path(__file__).parents[1] / "harness" / "sample_writer.py"
DATABASE = "evalhub.db"


def command(config: Config, *arguments: object) -> list[str]:
    options = ("--local", "--configdir", str(config.folder))
    return [sys.executable, "-m", "evalhub_server", *map(str, arguments), *options]


def run(config: Config, *arguments: object, status: int = 0) -> str:
    done = run_program(*command(config, *arguments)[3:])
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def sampled(folder: Path, **sections: Any) -> Config:
    """A configuration with a provider that writes a line of log, three samples and two artifacts."""
    config = Config(
        folder, **{"local": {"jobs_dir": ""}, "samples": {"max_artifact_bytes": 1000}, **sections}
    )
    source = config.write(
        "samples.jsonl",
        "".join(
            json.dumps({"sample_id": str(n), "input": f"q{n}", "metrics": {"acc": n % 2}}) + "\n"
            for n in range(3)
        ),
    )
    config.provider(
        f"echo 'a line of the log'; exec '{sys.executable}' '{WRITER}' '{source}' artifacts",
        benchmark={"primary_score": {"metric": "acc"}},
    )
    return config


def collected(server: RunningServer, job_id: str) -> str:
    server.finished(job_id)
    wait_until(
        lambda: server.job(job_id)["status"]["benchmarks"][0].get("samples", {}).get("state") == "stored",
        "the samples",
    )
    return job_id


def answers(server: RunningServer, job_id: str) -> list[Any]:
    benchmark = f"{API}/jobs/{job_id}/benchmarks/0"
    return [
        server.job(job_id),
        server.logs(job_id),
        server.get(f"{benchmark}/samples"),
        server.get(f"{benchmark}/artifacts"),
        server.get(f"{benchmark}/artifacts?name=report.txt"),
    ]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return sampled(tmp_path / "config")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data of a stopped server with two jobs, and a backup of them."""
    folder = tmp_path_factory.mktemp("prepared")
    config = sampled(folder / "config")
    with RunningServer(config.folder, data_dir=folder / "data") as server:
        for job_id in [server.submit() for _ in range(2)]:
            collected(server, job_id)
    run(config, "backup", folder / "backup", "--data-dir", folder / "data")
    return folder


@pytest.fixture
def data(prepared: Path, tmp_path: Path) -> Path:
    return shutil.copytree(prepared / "data", tmp_path / "data")


@pytest.fixture
def backup(prepared: Path, tmp_path: Path) -> Path:
    return shutil.copytree(prepared / "backup", tmp_path / "backup")


@pytest.mark.slow
def test_a_backup_of_a_live_server_serves_the_same_answers_elsewhere(config: Config, tmp_path: Path) -> None:
    data, backup, elsewhere = tmp_path / "data", tmp_path / "backup", tmp_path / "else" / "where"
    with RunningServer(config.folder, data_dir=data) as server:
        job_id = collected(server, server.submit())
        expected = answers(server, job_id)
        assert expected[1].count("a line of the log") == 1
        stop = threading.Event()
        busy = threading.Thread(target=lambda: _report_until(stop, server))
        busy.start()
        try:
            run(config, "backup", backup, "--data-dir", data)
        finally:
            stop.set()
            busy.join()
        assert run(config, "verify", backup).endswith("0 problems\n")
        assert run(config, "verify", "--data-dir", data).endswith("0 problems\n")
    shutil.rmtree(data)
    run(config, "restore", backup, "--data-dir", elsewhere)
    assert elsewhere.stat().st_mode & 0o077 == 0
    with RunningServer(config.folder, data_dir=elsewhere) as server:
        assert answers(server, job_id) == expected
        for job in server.get(f"{API}/jobs")["items"]:  # one that had not ended is continued
            server.finished(job["resource"]["id"])


def _report_until(stop: threading.Event, server: RunningServer) -> None:
    while not stop.is_set():
        job_id = server.submit()
        server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true")


def test_a_backup_needs_an_empty_directory_and_a_database(config: Config, data: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "is not empty" in run(config, "backup", tmp_path / "full", "--data-dir", data, status=1)
    assert "in memory" in run(config, "backup", tmp_path / "backup", status=1)
    missing = run(config, "backup", tmp_path / "backup", "--data-dir", tmp_path / "missing", status=1)
    assert f"There is no database {tmp_path}/missing/{DATABASE}" in missing
    assert not (tmp_path / "backup").exists()
    (tmp_path / "empty").mkdir()
    run(config, "backup", tmp_path / "empty", "--data-dir", data)
    assert "is not empty" in run(config, "restore", tmp_path / "empty", "--data-dir", data, status=1)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["backup", "restore"])
def test_a_killed_backup_or_restore_leaves_nothing_that_looks_complete(
    config: Config, data: Path, backup: Path, tmp_path: Path, verb: str
) -> None:
    target = tmp_path / "target"
    arguments = (target, "--data-dir", data) if verb == "backup" else (backup, "--data-dir", target)
    process = subprocess.Popen(command(config, verb, *arguments), stdout=subprocess.DEVNULL)
    while not _parts(tmp_path) and process.poll() is None:
        pass  # without a pause, in which it could complete
    process.kill()
    process.wait()
    assert _parts(tmp_path)
    assert not target.exists()
    assert "is no backup" in run(config, "verify", _parts(tmp_path)[0], status=1) or verb == "restore"
    run(config, verb, *arguments)
    assert target.exists()


def _parts(folder: Path) -> list[Path]:
    return list(folder.glob(".target.part-*"))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("pattern", "spoil"),
    [
        ("database", _cut),
        pytest.param("database", Path.unlink, marks=pytest.mark.slow),
        ("samples/*/0/*.jsonl", _change),
        pytest.param("samples/*/0/artifacts/*", Path.unlink, marks=pytest.mark.slow),
        pytest.param("jobs/**/*.log", _cut, marks=pytest.mark.slow),
    ],
)
def test_verify_lists_what_is_damaged_in_a_backup_and_restore_refuses_it(
    config: Config, backup: Path, tmp_path: Path, pattern: str, spoil: Any
) -> None:
    victim = sorted(backup.glob(pattern))[0]
    spoil(victim)
    assert str(victim.relative_to(backup)) in run(config, "verify", backup, status=1)
    assert "is damaged" in run(config, "restore", backup, "--data-dir", tmp_path / "new", status=1)
    assert not (tmp_path / "new").exists()


def test_a_manifest_that_leads_out_of_the_backup_is_refused(
    config: Config, backup: Path, tmp_path: Path
) -> None:
    manifest = backup / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"database"', '"samples/../../secret"'))
    assert "its manifest names" in run(config, "restore", backup, "--data-dir", tmp_path / "new", status=1)
    manifest.unlink()
    assert "is no backup" in run(config, "verify", backup, status=1)


def test_verify_finds_lost_files_and_records_that_cannot_be_read(config: Config, data: Path) -> None:
    samples, *_ = data.glob("samples/*/0/*.jsonl")
    _change(samples)
    assert f"{samples}: its content is not what job" in run(config, "verify", "--data-dir", data, status=1)
    samples.unlink()
    assert f"{samples}: No such file" in run(config, "verify", "--data-dir", data, status=1)
    with closing(sqlite3.connect(data / DATABASE)) as connection, connection:
        connection.execute("UPDATE benchmarks SET doc = '{}' WHERE seq = (SELECT min(seq) FROM jobs)")
    lines = run(config, "verify", "--data-dir", data, status=1).splitlines()
    assert [line for line in lines if line.startswith("error: ") and "job" in line and "index" in line]
    copied = run(config, "backup", data.with_name("new"), "--data-dir", data, status=1)
    assert "error: " in copied
    assert data.with_name("new").joinpath("manifest.json").exists()


@pytest.fixture(scope="module")
def postgres() -> Iterator[RunningPostgres]:
    with RunningPostgres() as server:
        yield server


@pytest.mark.slow
@needs_postgres
def test_postgresql_is_backed_up_live_and_restored_to_an_empty_schema(
    postgres: RunningPostgres, tmp_path: Path
) -> None:
    schemas = [asyncio.run(postgres.new_schema()) for _ in range(2)]
    configs = [
        sampled(tmp_path / schema, database={"driver": "pgx", "url": postgres.url(schema)})
        for schema in schemas
    ]
    data, backup, elsewhere = tmp_path / "data", tmp_path / "backup", tmp_path / "elsewhere"
    with RunningServer(configs[0].folder, data_dir=data) as server:
        job_id = collected(server, server.submit())
        expected = answers(server, job_id)
        run(configs[0], "backup", backup, "--data-dir", data)
        assert run(configs[0], "verify", "--data-dir", data) == "1 job, 0 problems\n"
        assert "in use by another server" in run(
            configs[0], "restore", backup, "--data-dir", tmp_path / "x", status=1
        )
    assert run(configs[0], "verify", backup) == "1 job, 0 problems\n"
    assert "has jobs" in run(configs[0], "restore", backup, "--data-dir", tmp_path / "y", status=1)
    shutil.rmtree(data)
    run(configs[1], "restore", backup, "--data-dir", elsewhere)
    with RunningServer(configs[1].folder, data_dir=elsewhere) as server:
        assert answers(server, job_id) == expected
    _cut(backup / "database")
    assert "it is incomplete" in run(configs[1], "verify", backup, status=1)

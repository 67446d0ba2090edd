"""A server that keeps samples and artifacts in a bucket: the same API, and what happens while the store is unavailable."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalhub_server.cli.check import examine
from harness import Config, RunningServer, free_port, wait_until
from harness.moto import KEYS, MotoServer, needs_moto
from harness.program import run_program
from harness.server import API

pytestmark = needs_moto

WRITER = Path(__file__).parents[1] / "harness" / "sample_writer.py"
BENCHMARK = {"primary_score": {"metric": "acc"}}
AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    with MotoServer(tmp_path_factory.mktemp("moto")) as running:
        yield running


def config_in(folder: Path, samples: dict[str, Any], count: int = 40) -> Config:
    config = Config(folder / "config", supervisor={"exit_grace": "100ms"}, samples=samples)
    source = config.write(
        "in.jsonl",
        "".join(
            json.dumps({"sample_id": f"q{n}", "metrics": {"acc": n % 2}, "output": f"Answer {n}"}) + "\n"
            for n in range(count)
        ),
    )
    config.provider(f"exec '{sys.executable}' '{WRITER}' '{source}' artifacts", benchmark=BENCHMARK)
    config.provider(f"env > '{folder / 'environment'}'", provider_id="environment")
    config.provider("sleep 600 # waits for uploads", benchmark=BENCHMARK, provider_id="waits")
    return config


@pytest.fixture(scope="module")
def server(moto: MotoServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that has its credentials from the environment."""
    folder = tmp_path_factory.mktemp("s3")
    samples = moto.settings("evaluations/2026", max_artifact_bytes=1000, max_artifacts=2)
    samples["s3"] = {"endpoint": moto.url, "region": "eu-central-1"}
    config = config_in(folder, samples)
    env = dict(zip(AWS, (KEYS["access_key_id"], KEYS["secret_access_key"], "a-session-token"), strict=True))
    with RunningServer(config.folder, data_dir=folder / "data", env=env) as running:
        yield running


def state_of(server: RunningServer, job_id: str) -> str:
    return server.job(job_id)["status"]["benchmarks"][0].get("samples", {}).get("state", "pending")


def stored_job(server: RunningServer) -> str:
    job_id = server.submit()
    wait_until(lambda: state_of(server, job_id) == "stored", "the samples")
    return job_id


def keys(moto: MotoServer, prefix: str) -> list[str]:
    listing = moto.call("GET", f"/samples?list-type=2&prefix={prefix}").decode()
    return re.findall("<Key>([^<]*)</Key>", listing)


def test_samples_are_listed_filtered_searched_and_downloaded(server: RunningServer):
    base = f"{API}/jobs/{stored_job(server)}/benchmarks/0/samples"
    page = server.get(f"{base}?outcome=failed&limit=3&facets=outcome&sort=-position")
    assert [each["sample_id"] for each in page["items"]] == ["q38", "q36", "q34"]
    assert page["total_count"] == 20
    assert page["facets"]
    assert server.get(f"{base}?q=answer%2039")["total_count"] == 1
    assert server.get(f"{base}?sample_id=q7")["items"][0]["output"] == "Answer 7"
    assert len(server.call("GET", f"{base}.jsonl").body.splitlines()) == 40
    assert len(server.call("GET", f"{base}.csv").body.splitlines()) == 41


def test_artifacts_are_stored_and_replaced(server: RunningServer):
    job_id = stored_job(server)
    base = f"{API}/jobs/{job_id}/benchmarks/0/artifacts"
    assert [each["name"] for each in server.get(base)["items"]] == ["logs/é.html", "report.txt"]
    assert server.call("GET", f"{base}?name=report.txt").body == "ok"
    assert server.call("HEAD", f"{base}?name=report.txt").headers["content-length"] == "2"
    waiting = server.submit(provider="waits")
    base = f"{API}/jobs/{waiting}/benchmarks/0"
    for content in (b"one", b"three"):
        assert server.call("PUT", f"{base}/artifacts?name=a.log", content).status == 200
    assert server.call("GET", f"{base}/artifacts?name=a.log").body == "three"
    assert server.call("PUT", f"{base}/samples", b'{"sample_id": "1"}\n').body["state"] == "stored"
    assert server.get(f"{base}/samples")["total_count"] == 1
    server.call("DELETE", f"{API}/jobs/{waiting}?hard_delete=true")


def test_a_rerun_gets_the_samples_that_are_finished(server: RunningServer, tmp_path: Path):
    job_id = stored_job(server)
    rerun = server.call("POST", f"{API}/jobs/{job_id}/reruns", json.dumps({"only": "all"}).encode()).body
    wait_until(lambda: state_of(server, rerun["resource"]["id"]) == "stored", "the samples of the rerun")
    previous = [*(server.configdir.parent / "data" / "samples-cache").glob("*.cached")]
    assert any(b'"sample_id":"q39"' in path.read_bytes() for path in previous)


def test_a_hard_delete_removes_the_objects_and_metrics_count_them(server: RunningServer, moto: MotoServer):
    job_id = stored_job(server)
    prefix = f"evaluations/2026/{job_id}"
    assert sorted(key.rpartition(".")[2] for key in keys(moto, prefix) if "artifacts" not in key) == [
        "gz",
        "idx",
    ]
    assert len([key for key in keys(moto, prefix) if "/artifacts/" in key]) == 2
    series = re.compile(r'^evalhub_stored_bytes\{kind="(samples|artifacts)"\} (\S+)$', re.MULTILINE)
    sizes = wait_until(lambda: series.findall(server.get("/metrics")), "the measurement")
    assert len(sizes) == 2
    assert all(float(size) > 0 for _, size in sizes)
    assert server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true").status == 204
    assert keys(moto, prefix) == []


def test_adapters_do_not_get_the_credentials(server: RunningServer):
    server.finished(server.submit(provider="environment"))
    environment = (server.configdir.parent / "environment").read_text()
    assert "EVALHUB_" in environment
    assert not any(name in environment for name in AWS)
    assert not any(value in server.log_text() for value in (*KEYS.values(), "a-session-token"))


def test_a_backup_has_the_records_and_names_the_bucket(
    server: RunningServer, moto: MotoServer, tmp_path: Path
):
    stored_job(server)
    status, text = run(
        server.configdir,
        "backup",
        str(tmp_path / "backup"),
        "--data-dir",
        str(server.configdir.parent / "data"),
    )
    assert status == 0
    assert "s3://samples/evaluations/2026 are not part of the backup" in text
    assert not (tmp_path / "backup" / "samples").exists()


def run(configdir: Path, command: str, *arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    done = run_program(command, *arguments, "--local", "--configdir", str(configdir), env=env)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_nothing_is_lost_while_the_store_is_unavailable(tmp_path: Path):
    """The store ends, a job finishes, the store comes back: its samples are stored then."""
    with MotoServer(tmp_path) as moto:
        config = config_in(tmp_path, moto.settings("x"))
        with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
            first = stored_job(server)
            waiting = server.submit(provider="waits")
            moto.kill()
            answers = [
                server.call("GET", f"{API}/jobs/{first}/benchmarks/0/samples"),
                server.call("GET", f"{API}/jobs/{first}/benchmarks/0/samples.csv"),
                server.call("PUT", f"{API}/jobs/{waiting}/benchmarks/0/samples", b'{"sample_id": "1"}\n'),
                server.call("DELETE", f"{API}/jobs/{first}?hard_delete=true"),
            ]
            for answer in answers:
                assert (answer.status, answer.body["message_code"]) == (503, "sample_store_unavailable")
                assert f"{moto.url} cannot be reached for s3://samples/x" in answer.body["message"]
                assert answer.headers["retry-after"]
            job_id = server.submit()
            assert server.finished(job_id)["status"]["state"] == "completed"
            wait_until(lambda: "Samples not recorded yet; retrying" in server.log_text(), "a first attempt")
            server.terminate()
            moto.start()
            server.start()
            wait_until(lambda: state_of(server, job_id) == "stored", "the samples")
            assert server.get(f"{API}/jobs/{job_id}/benchmarks/0/samples")["total_count"] == 40
            assert server.call("DELETE", f"{API}/jobs/{waiting}?hard_delete=true").status == 204


@pytest.mark.slow
def test_samples_are_complete_after_a_kill_while_they_are_stored(moto: MotoServer, tmp_path: Path):
    config, cache = config_in(tmp_path, moto.settings("killed"), 40_000), tmp_path / "data" / "samples-cache"
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        job_id = server.submit()
        wait_until(lambda: list(cache.glob(".part-*")), "a file that is being written")
        server.kill()
        assert not [key for key in keys(moto, "killed") if key.endswith(".idx")]
        server.start()
        wait_until(lambda: state_of(server, job_id) == "stored", "the samples")
        assert server.get(f"{API}/jobs/{job_id}/benchmarks/0/samples?offset=39999")["total_count"] == 40_000
        assert not list(cache.glob(".part-*"))


def test_a_server_does_not_start_without_its_bucket(moto: MotoServer, tmp_path: Path):
    config = config_in(tmp_path, {**moto.settings(), "url": "s3://no-such-bucket/x"})
    status, text = run(config.folder, "serve")
    assert (status, "samples.url: the bucket of s3://no-such-bucket/x does not exist" in text) == (1, True), (
        text
    )


def findings(config: Config) -> list[str]:
    report = examine(local=True, configdir=config.folder, data_dir=None, host=None, port=None)
    assert report.ok == (not report.findings)
    return [each.message for each in report.findings]


@pytest.mark.parametrize(
    ("url", "endpoint", "message"),
    [
        ("s3://no-such-bucket/x", "", "the bucket of s3://no-such-bucket/x does not exist"),
        (
            "s3://samples/x",
            "http://127.0.0.1:{free}",
            "cannot be reached for s3://samples/x (Connection refused",
        ),
        ("s3://samples/x", "moto:9000", "samples.s3.endpoint: 'moto:9000' is not an http or https address"),
        ("gs://samples/x", "", "samples.url: gs:// is not supported; write a folder or s3://bucket/prefix"),
    ],
)
def test_check_reports_what_is_wrong(moto: MotoServer, tmp_path: Path, url: str, endpoint: str, message: str):
    endpoint = endpoint.format(free=free_port()) or moto.url
    (found,) = findings(config_in(tmp_path, {"url": url, "s3": {"endpoint": endpoint, **KEYS}}))
    assert message in found


def test_check_reports_a_profile_that_is_missing(moto: MotoServer, tmp_path: Path):
    config = config_in(tmp_path, {"url": "s3://samples/x", "s3": {"profile": "missing"}})
    (found,) = findings(config)
    assert "there is no profile 'missing'" in found


def test_check_tries_the_bucket_and_leaves_nothing(moto: MotoServer, tmp_path: Path):
    assert findings(config_in(tmp_path, moto.settings("tried"))) == []
    assert keys(moto, "tried") == []


def test_the_extra_is_named_if_it_is_missing(
    moto: MotoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "obstore", None)
    (found,) = findings(config_in(tmp_path, moto.settings("x")))
    assert found == "samples.url: a store with S3 needs the extra s3: pip install 'eval-hub-server[s3]'"

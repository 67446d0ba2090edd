"""Exported tables over HTTP."""

from __future__ import annotations

import csv
import importlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlretrieve

import pytest

from harness import Config, RunningServer, wait_until
from harness.server import API

WRITER = Path(__file__).parents[1] / "harness" / "sample_writer.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("exports")
    source = folder / "in.jsonl"
    samples = [
        {"sample_id": f"q{n}", "metrics": {"acc": n % 2}, "input": "=1+1", "output": {"n": n}}
        for n in range(3)
    ]
    source.write_text("".join(json.dumps(each) + "\n" for each in samples), "utf-8")
    config = Config(folder / "config", supervisor={"exit_grace": "100ms"})
    command = f"exec '{sys.executable}' '{WRITER}' '{source}'"
    config.provider(command, "b", benchmark={"primary_score": {"metric": "acc"}})
    config.provider("exit 3", "b", provider_id="quick")
    with RunningServer(config.folder, data_dir=folder / "data") as running:
        yield running


@pytest.fixture(scope="module")
def jobs(server: RunningServer) -> list[str]:
    ids = [server.submit("b", name=name) for name in ("one", "two")]
    for job_id in ids:
        server.finished(job_id)
        wait_until(
            lambda job_id=job_id: (
                server.job(job_id)["status"]["benchmarks"][0].get("samples", {}).get("state") == "stored"
            ),
            what="the samples are stored",
        )
    return ids


def exported(server: RunningServer, **parameters: str) -> Any:
    answer = server.call("GET", f"{API}/export?{urlencode(parameters)}")
    assert answer.status == 200, answer
    assert answer.headers["content-security-policy"] == "sandbox"
    return answer.body


def test_benchmarks_as_json_oldest_first(server: RunningServer, jobs: list[str]):
    rows = exported(server)
    assert [row["job_id"] for row in rows] == jobs
    assert rows[0]["metric"] == "acc"
    assert rows[0]["n"] == 3
    assert rows[0]["value"] == server.job(jobs[0])["results"]["benchmarks"][0]["metrics"]["acc"]


def test_jobs_as_csv_in_the_requested_order(server: RunningServer, jobs: list[str]):
    text = exported(server, level="jobs", format="csv", jobs=",".join(reversed(jobs)))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["job_id"] for row in rows] == [*reversed(jobs)]
    assert {row["state"] for row in rows} == {"completed"}


def test_filters_are_those_of_the_list(server: RunningServer, jobs: list[str]):
    assert [row["job_id"] for row in exported(server, level="jobs", name="two")] == jobs[1:]
    assert exported(server, model_name="unheard of") == []


@pytest.mark.usefixtures("jobs")
def test_samples_as_rows(server: RunningServer):
    rows = exported(server, level="samples", name="one")
    assert [(row["sample_id"], row["value"], row["outcome"]) for row in rows] == [
        ("q0", 0.0, "failed"),
        ("q1", 1.0, "passed"),
        ("q2", 0.0, "failed"),
    ]
    text = exported(server, level="samples", name="one", format="csv")
    first = next(csv.DictReader(io.StringIO(text, newline="")))
    assert (first["input"], first["output"], first["value"]) == ("'=1+1", '{"n":0}', "0.0")


@pytest.mark.usefixtures("jobs")
def test_tables_for_documents(server: RunningServer):
    markdown = exported(server, format="md").splitlines()
    assert markdown[0].startswith("| job\\_id | job\\_name |")
    assert len(markdown) == 4
    assert exported(server, format="latex").startswith("\\begin{tabular}{")


@pytest.mark.parametrize("level", ["jobs", "benchmarks", "samples"])
@pytest.mark.usefixtures("jobs")
def test_parquet(server: RunningServer, tmp_path: Path, level: str):
    parquet: Any = importlib.import_module("pyarrow.parquet")
    file = tmp_path / "table.parquet"
    urlretrieve(f"http://127.0.0.1:{server.port}{API}/export?format=parquet&level={level}", file)
    assert parquet.read_table(file).num_rows == (6 if level == "samples" else 2)


@pytest.mark.slow
def test_a_table_of_many_jobs_is_whole(server: RunningServer, jobs: list[str]):
    """More jobs than one page of the storage."""
    ids = {server.submit("b", provider="quick", name="many") for _ in range(205)}
    rows = exported(server, level="jobs", name="many")
    assert {row["job_id"] for row in rows} == ids
    assert len(rows) == len(ids)
    for job_id in ids:
        server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true")


@pytest.mark.parametrize(
    ("parameters", "status", "code"),
    [
        ("format=xml", 400, "query_parameter_value_invalid"),
        ("level=cells", 400, "query_parameter_value_invalid"),
        ("colour=red", 400, "query_bad_parameter"),
        ("jobs=x&name=y", 400, "query_parameter_mismatch"),
        (f"jobs={','.join(map(str, range(1001)))}", 400, "query_parameter_invalid"),
        ("jobs=nothing", 404, "resource_not_found"),
    ],
)
def test_invalid_requests_are_refused(server: RunningServer, parameters: str, status: int, code: str):
    assert server.call("GET", f"{API}/export?{parameters}").refusal == (status, code)


def test_a_tenant_sees_its_own_jobs_only(server: RunningServer, jobs: list[str]):
    other = {"X-Tenant": "other", "X-User": "u"}
    assert server.call("GET", f"{API}/export", headers=other).body == []
    assert server.call("GET", f"{API}/export?jobs={jobs[0]}", headers=other).status == 404

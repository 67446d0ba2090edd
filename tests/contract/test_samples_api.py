"""Samples and artifacts over HTTP: what an adapter leaves, and what it uploads."""

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
BENCHMARK = {"primary_score": {"metric": "acc"}}
SCRIPTED = {"provider_id": "scripted", "id": "b", "benchmark_index": 0, "status": "completed"}


def writer(source: Path, *arguments: str) -> str:
    return f"exec '{sys.executable}' '{WRITER}' '{source}' " + " ".join(f"'{each}'" for each in arguments)


def sample(number: int, **members: Any) -> dict[str, Any]:
    return {
        "sample_id": f"q/{number}",
        "metrics": {"acc": number % 2, "f1": number / 10},
        "input": f"Question {number}",
        "output": "=1+1" if number == 1 else f"Answer {number}",
        "target": "x",
        "group": f"g{number % 3}",
        "tags": ["odd", "odd", "small"] if number in (1, 3) else ["odd"] if number % 2 else [],
        **members,
    }


def lines(*samples: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in samples)


SAMPLES = [sample(n) for n in range(9)] + [sample(9, error="timed out", error_kind="infrastructure")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("samples")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[RunningServer]:
    source = folder / "in.jsonl"
    source.write_bytes(
        b"\xef\xbb\xbf"
        + lines(*SAMPLES)
        + b'{"sample_id": "q/3"}\nnonsense\n\n{"sample_id": "\\ud800"}\n{"cut'
    )
    config = Config(
        folder / "config",
        supervisor={"exit_grace": "100ms"},
        samples={
            "max_bytes": 20_000,
            "max_sample_bytes": 5_000,
            "max_artifact_bytes": 1000,
            "max_artifacts": 2,
        },
    )
    config.provider(writer(source, "artifacts"), benchmark=BENCHMARK)
    config.provider("true", benchmark=BENCHMARK, provider_id="nothing")
    config.provider("sleep 600 # waits for uploads", benchmark=BENCHMARK, provider_id="waits")
    config.provider('ln -s /etc/passwd "$EVALHUB_SAMPLES_PATH"', benchmark=BENCHMARK, provider_id="link")
    config.provider('mkfifo "$EVALHUB_SAMPLES_PATH"', benchmark=BENCHMARK, provider_id="pipe")
    config.provider(
        'yes x | head -c 3000 > "$EVALHUB_SAMPLES_PATH"', benchmark=BENCHMARK, provider_id="rubbish"
    )
    with RunningServer(config.folder, data_dir=folder / "data") as running:
        yield running


def collected(server: RunningServer, job_id: str) -> dict[str, Any]:
    """Wait until the samples are no longer pending; returns the sample set."""
    return wait_until(
        lambda: (
            (samples := server.job(job_id)["status"]["benchmarks"][0].get("samples", {})).get(
                "state", "pending"
            )
            != "pending"
            and samples
        ),
        "the samples",
    )


@pytest.fixture(scope="module")
def job_id(server: RunningServer) -> str:
    job_id = server.submit()
    collected(server, job_id)
    return job_id


def path(job_id: str, suffix: str = "", **query: Any) -> str:
    text = urlencode(query, doseq=True)
    return f"{API}/jobs/{job_id}/benchmarks/0/samples{suffix}" + (f"?{text}" if text else "")


def numbers(page: dict[str, Any]) -> list[int]:
    return [int(item["sample_id"].removeprefix("q/")) for item in page["items"]]


def test_the_sample_set_describes_what_the_adapter_left(server: RunningServer, job_id: str):
    job = server.job(job_id)
    samples = job["status"]["benchmarks"][0]["samples"]
    assert samples == job["results"]["benchmarks"][0]["samples"]
    assert samples["state"] == "stored"
    assert (samples["count"], samples["errors"]) == (10, 1)
    assert samples["outcomes"] == {"passed": 4, "failed": 5, "error": 1}
    assert samples["metrics"] == ["acc", "f1"]
    assert samples["means"]["acc"] == 0.5
    assert (samples["bad_lines"], samples["duplicates"]) == (4, 1)
    assert [each["line"] for each in samples["problems"]] == [11, 12, 14, 15]
    assert "repeats sample 'q/3' in epoch 0" in samples["problems"][0]["reason"]
    # The adapter reports 0.75.
    assert samples["score_difference"] == {"metric": "acc", "reported": 0.75, "samples": 0.5}
    assert job["status"]["state"] == "completed"


def test_a_page_has_the_samples_in_the_order_of_the_file(server: RunningServer, job_id: str):
    page = server.get(path(job_id, limit=4))
    assert numbers(page) == [0, 1, 2, 3]
    assert page["total_count"] == 10
    assert page["items"][1] == {
        **SAMPLES[1],
        "epoch": 0,
        "outcome": "passed",
        "key_hash": page["items"][1]["key_hash"],
    }
    seen = numbers(page)
    while "next" in page:
        page = server.get(page["next"]["href"])
        seen += numbers(page)
    assert seen == list(range(10))
    assert numbers(server.get(path(job_id, limit=4, offset=8))) == [8, 9]
    assert numbers(server.get(path(job_id, offset=99))) == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"outcome": "passed"}, [1, 3, 5, 7]),
        ({"outcome": ["error", "failed"]}, [0, 2, 4, 6, 8, 9]),
        ({"outcome": "error|passed"}, [1, 3, 5, 7, 9]),
        ({"group": "g1"}, [1, 4, 7]),
        ({"group": ["g1", "g2"], "outcome": "passed"}, [1, 5, 7]),
        ({"group": "nowhere"}, []),
        ({"epoch": "1"}, []),
        ({"error_kind": "infrastructure"}, [9]),
        ({"missing": "error_kind", "sort": "-position", "limit": "2"}, [8, 7]),
        ({"missing": ["error", "tag"], "outcome": "failed"}, [0, 2, 4, 6, 8]),
        ({"missing": "group"}, []),
        ({"missing": "tag", "tag": "odd"}, []),
        ({"q": "question 7"}, [7]),
        ({"q": "metrics"}, []),
        ({"q": "TIMED out"}, [9]),
        ({"q": "="}, [1]),
        ({"q": "3"}, [3]),
        ({"q": "e", "outcome": "error"}, [9]),
        ({"tag": "odd"}, [1, 3, 5, 7, 9]),
        ({"tag": ["small", "none"], "outcome": "passed"}, [1, 3]),
        ({"tag": ""}, list(range(10))),
        ({"metric": "f1:ge:0.7"}, [7, 8, 9]),
        ({"metric": ["f1:gt:0.1", "f1:lt:0.3"]}, [2]),
        ({"metric": "latency_s:has"}, []),
        ({"metric": "f1:missing"}, []),
        ({"sort": "-f1", "limit": "3"}, [9, 8, 7]),
        ({"sort": "group", "outcome": "passed"}, [3, 1, 7, 5]),
        ({"sort": "-position", "limit": "2"}, [9, 8]),
        ({"sort": "-sample_id", "limit": "1"}, [9]),
        ({"sort": "latency_s", "limit": "1"}, [0]),
    ],
)
def test_lists_filter_search_and_sort(
    server: RunningServer, job_id: str, query: dict[str, Any], expected: list[int]
):
    assert numbers(server.get(path(job_id, **query))) == expected


def test_a_facet_counts_what_all_other_filters_select(server: RunningServer, job_id: str):
    page = server.get(path(job_id, outcome="passed", q="answer", facets="outcome,group"))
    facets = {each["name"]: each for each in page["facets"]}
    assert {each["value"]: each["count"] for each in facets["outcome"]["values"]} == {
        "failed": 5,
        "passed": 3,
        "error": 1,
    }
    assert {each["value"]: each["count"] for each in facets["group"]["values"]} == {"g0": 1, "g1": 1, "g2": 1}
    assert facets["group"]["distinct"] == 3


def test_a_sample_counts_for_each_of_its_tags(server: RunningServer, job_id: str):
    (facet,) = server.get(path(job_id, tag="small", facets="tag"))["facets"]
    assert facet["values"] == [{"value": "odd", "count": 5}, {"value": "small", "count": 2}]
    assert facet["distinct"] == 2


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"outcome": "pending"}, "query_parameter_value_invalid"),
        ({"sort": "colour"}, "query_parameter_value_invalid"),
        ({"metric": "f1:near:1"}, "query_parameter_invalid"),
        ({"metric": "f1:ge:nan"}, "query_parameter_invalid"),
        ({"metric": "bleu:ge:1"}, "query_parameter_value_invalid"),
        ({"facets": "colour"}, "query_parameter_value_invalid"),
        ({"epoch": "-1"}, "query_parameter_invalid"),
        ({"limit": "ten"}, "query_parameter_invalid"),
        ({"after": "3", "offset": "3"}, "query_parameter_mismatch"),
        ({"after": "3", "outcome": "failed"}, "query_parameter_invalid"),
        ({"q": "x" * 2000}, "query_parameter_invalid"),
        ({"colour": "red"}, "query_bad_parameter"),
        ({"sample_id": "q/1", "limit": "1"}, "query_bad_parameter"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(
    server: RunningServer, job_id: str, query: dict[str, str], code: str
):
    answer = server.call("GET", path(job_id, **query))
    assert (answer.status, answer.body["message_code"]) == (400, code)


def test_a_sample_has_a_permalink(server: RunningServer, job_id: str):
    page = server.get(path(job_id, sample_id="q/9"))
    assert page["total_count"] == 1
    assert page["items"][0]["error"] == "timed out"
    for query in ({"sample_id": "q/99"}, {"sample_id": "q/9", "epoch": 1}):
        answer = server.call("GET", path(job_id, **query))
        assert (answer.status, answer.body["message_code"]) == (404, "resource_not_found")


def test_samples_are_downloaded_as_json_lines(server: RunningServer, job_id: str):
    answer = server.call("GET", path(job_id, ".jsonl"))
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{job_id}-0.jsonl"')
    assert answer.headers["content-security-policy"] == "sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"
    found = [json.loads(line) for line in answer.body.splitlines()]
    assert [each["sample_id"] for each in found] == [each["sample_id"] for each in SAMPLES]
    filtered = server.call("GET", path(job_id, ".jsonl", outcome="passed", sort="-f1")).body.splitlines()
    assert [json.loads(line)["sample_id"] for line in filtered] == ["q/7", "q/5", "q/3", "q/1"]
    assert server.call("HEAD", path(job_id, ".jsonl")).status == 200


def test_a_csv_has_no_formulas(server: RunningServer, job_id: str):
    rows = list(csv.DictReader(io.StringIO(server.call("GET", path(job_id, ".csv")).body)))
    assert len(rows) == 10
    assert rows[1]["output"] == "'=1+1"
    assert (rows[1]["metrics.acc"], rows[1]["outcome"]) == ("1.0", "passed")
    assert rows[9]["error"] == "timed out"


def test_parquet_has_the_columns_of_the_csv(server: RunningServer, job_id: str, tmp_path: Path):
    parquet: Any = importlib.import_module("pyarrow.parquet")
    file = tmp_path / "samples.parquet"
    urlretrieve(f"http://127.0.0.1:{server.port}{path(job_id, '.parquet')}", file)
    table = parquet.read_table(file)
    text = server.call("GET", path(job_id, ".csv")).body
    assert table.column_names == next(csv.reader(io.StringIO(text)))
    assert table.num_rows == len(SAMPLES)


def test_parquet_needs_the_extra(tmp_path: Path):
    (tmp_path / "pyarrow.py").write_text("raise ImportError\n", "utf-8")
    config = Config(tmp_path / "config")
    config.provider("true", "b")
    with RunningServer(config.folder, env={"PYTHONPATH": str(tmp_path)}) as server:
        answer = server.call("GET", f"{API}/export?format=parquet")
        assert (answer.status, answer.body["message_code"]) == (501, "parquet_not_installed")


def test_artifacts_are_listed_and_downloaded_as_attachments(server: RunningServer, job_id: str):
    base = f"{API}/jobs/{job_id}/benchmarks/0/artifacts"
    items = server.get(base)["items"]
    assert [each["name"] for each in items] == ["logs/é.html", "report.txt"]
    answer = server.call("GET", f"{base}?{urlencode({'name': 'logs/é.html'})}")
    assert (answer.status, answer.body) == (200, "<script>alert(1)</script>")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert (
        answer.headers["content-disposition"]
        == "attachment; filename=\"_.html\"; filename*=UTF-8''%C3%A9.html"
    )
    assert answer.headers["content-security-policy"] == "sandbox"
    assert server.call("GET", f"{base}?name=../../secret").status == 404
    message = server.job(job_id)["status"]["benchmarks"][0]["samples"]["message"]
    assert "'too-large.bin' exceeds 1000 bytes" in message


@pytest.mark.parametrize(
    ("provider", "state", "message"),
    [
        ("nothing", "none", "its adapter left none"),
        ("link", "failed", "is a symbolic link"),
        ("pipe", "failed", "is not a regular file"),
        ("rubbish", "failed", "none of the 1500 lines is a sample"),
    ],
)
def test_a_benchmark_without_samples_says_why(server: RunningServer, provider: str, state: str, message: str):
    job_id = server.submit(provider=provider)
    samples = collected(server, job_id)
    assert samples["state"] == state
    assert message in samples["message"]
    answer = server.call("GET", path(job_id))
    assert (answer.status, answer.body["message_code"]) == (404, "samples_not_available")
    assert message in answer.body["message"]


@pytest.fixture
def waiting(server: RunningServer) -> Iterator[str]:
    job_id = server.submit(provider="waits")
    yield job_id
    server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true")


def test_uploaded_samples_are_available_at_once_and_survive_the_exit(server: RunningServer, waiting: str):
    assert server.call("GET", path(waiting)).body["message_code"] == "samples_not_available"
    first = server.call("PUT", path(waiting, attempt=1), lines(*SAMPLES[:3]))
    assert (first.status, first.body["state"], first.body["count"]) == (200, "stored", 3)
    assert server.call("PUT", path(waiting), lines(*SAMPLES[:3])).body == first.body
    assert numbers(server.get(path(waiting))) == [0, 1, 2]
    assert server.call("PUT", path(waiting), lines(*SAMPLES[:5])).body["count"] == 5
    server.call("DELETE", f"{API}/jobs/{waiting}")
    assert collected(server, waiting)["count"] == 5


def test_an_upload_of_another_attempt_is_refused(server: RunningServer, waiting: str):
    for suffix, body in (("samples", lines(SAMPLES[0])), ("artifacts", b"x")):
        answer = server.call("PUT", f"{API}/jobs/{waiting}/benchmarks/0/{suffix}?attempt=2&name=a", body)
        assert (answer.status, answer.body["message_code"]) == (409, "attempt_superseded")


@pytest.mark.parametrize("padding", ["", " " * 3000], ids=["samples", "blanks"])
def test_an_upload_above_the_limit_is_cut_like_a_file(server: RunningServer, waiting: str, padding: str):
    text = lines(*[sample(n, output="x" * 900) for n in range(40)])
    body = text.replace(b"\n", padding.encode() + b"\n")
    answer = server.call("PUT", path(waiting), body)
    assert (answer.status, answer.body["state"], answer.body.get("bad_lines", 0)) == (200, "cut", 0)
    assert "samples.max_bytes" in answer.body["message"]
    count = answer.body["count"]
    assert numbers(server.get(path(waiting))) == list(range(count))
    assert count == (6 if padding else 20_000 // (answer.body["bytes"] // count))
    assert server.call("PUT", path(waiting), body).body == answer.body


def test_an_upload_far_above_the_limit_is_refused_and_noted(server: RunningServer, waiting: str):
    answer = server.call("PUT", path(waiting), lines(*[sample(n, output="x" * 900) for n in range(200)]))
    assert (answer.status, answer.body["message_code"]) == (413, "upload_too_large")
    samples = server.job(waiting)["status"]["benchmarks"][0]["samples"]
    assert samples["state"] == "failed"
    assert "samples.max_bytes" in samples["message"]
    again = server.call("PUT", path(waiting), b"")  # as a sidecar does for an adapter that leaves no file
    assert again.body == samples


def test_an_artifact_is_uploaded_and_replaced(server: RunningServer, waiting: str):
    base = f"{API}/jobs/{waiting}/benchmarks/0/artifacts"
    for content in (b"one", b"three"):
        assert server.call("PUT", f"{base}?name=a/b.log", content).body["bytes"] == len(content)
    assert server.call("GET", f"{base}?name=a/b.log").body == "three"
    assert server.call("PUT", f"{base}?name=c.log", b"x" * 996).status == 413
    assert server.call("PUT", f"{base}?name=c.log", b"x").status == 200
    assert server.call("PUT", f"{base}?name=d.log", b"x").body["message_code"] == "upload_too_large"
    for name in ("", "../x", "/x", "a%0Ab", "a//b"):
        answer = server.call("PUT", f"{base}?name={name}", b"x")
        assert (answer.status, answer.body["message_code"]) == (400, "request_validation_failed"), name


def test_a_long_sample_is_shortened_in_lists_only(server: RunningServer, waiting: str):
    long = sample(1, output="y" * 3000, messages=[{"role": "user", "content": "z" * 1500}], pad=[0] * 6000)
    # The line is above what lists show whole, and below the limit of one sample.
    assert (
        server.call("PUT", path(waiting), json.dumps(long, separators=(",", ":")).encode()).body["state"]
        == "failed"
    )
    long["pad"] = []
    assert server.call("PUT", path(waiting), lines(long)).body["count"] == 1
    assert server.get(path(waiting, sample_id="q/1"))["items"][0]["output"] == "y" * 3000


def test_a_hard_delete_removes_the_files(server: RunningServer, folder: Path):
    job_id = server.submit()
    collected(server, job_id)
    stored = folder / "data" / "samples" / job_id
    assert list(stored.glob("**/*.jsonl"))
    assert server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true").status == 204
    assert not stored.exists()
    assert server.call("GET", path(job_id)).status == 404


def test_samples_of_other_tenants_are_invisible(server: RunningServer):
    body = {
        "name": "j",
        "model": {"url": "http://m/v1", "name": "m"},
        "benchmarks": [{"id": "b", "provider_id": "waits"}],
    }
    created = server.call("POST", f"{API}/jobs", body, {"X-Tenant": "a", "X-User": "u"})
    job_id = created.body["resource"]["id"]
    other = {"X-Tenant": "b", "X-User": "u"}
    for method, suffix, content in (
        ("GET", "samples", None),
        ("GET", "samples.jsonl", None),
        ("GET", "samples.csv", None),
        ("GET", "samples.parquet", None),
        ("PUT", "samples", b""),
        ("GET", "artifacts", None),
        ("PUT", "artifacts?name=x", b""),
    ):
        answer = server.call(method, f"{API}/jobs/{job_id}/benchmarks/0/{suffix}", content, other)
        assert (answer.status, answer.body["message_code"]) == (404, "resource_not_found"), suffix
    server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true")


def test_an_unknown_benchmark_is_not_found(server: RunningServer, job_id: str):
    for index, status in (("7", 404), ("-1", 400), ("x", 400)):
        for suffix in ("samples", "artifacts", "samples.csv"):
            assert server.call("GET", f"{API}/jobs/{job_id}/benchmarks/{index}/{suffix}").status == status


def test_errors_and_metadata_are_filters_and_facets(server: RunningServer):
    job_id = server.submit(provider="waits")
    made = [
        sample(n, metadata={"topic": "law" if n < 3 else "code", "a:b": n % 2, "unique": f"{n}" * 300})
        for n in range(6)
    ]
    made[5]["error"] = "timed out"
    assert server.call("PUT", path(job_id), lines(*made)).status == 200
    page = server.get(path(job_id, facets="error,metadata", metadata=["topic:law", "a:b:0"]))
    assert numbers(page) == [0, 2]
    assert {each["name"]: each["values"] for each in page["facets"]} == {
        "error": [{"value": "", "count": 2}],
        "metadata.topic": [{"value": "law", "count": 2}, {"value": "code", "count": 1}],
        "metadata.a:b": [{"value": "0", "count": 2}, {"value": "1", "count": 1}],
    }
    assert numbers(server.get(path(job_id, error="timed out"))) == [5]
    assert numbers(server.get(path(job_id, metadata=["topic:law", "topic:code"]))) == [0, 1, 2, 3, 4, 5]
    assert server.get(path(job_id, ".jsonl", metadata="topic:law")).count("\n") == 3
    refused = server.call("GET", path(job_id, metadata="unique:x"))
    assert (refused.status, refused.body["message_code"]) == (400, "query_parameter_value_invalid")
    assert "topic:" in refused.body["message"]

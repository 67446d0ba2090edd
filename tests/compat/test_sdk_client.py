"""The SDK's clients, synchronous and asynchronous, against a real server."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import RunningServer, processes_with, wait_until
from harness.sdk import RaisedError, RemoteClient
from harness.server import API

pytestmark = pytest.mark.slow

MODEL = {"url": "http://model.test/v1", "name": "m"}
OFTEN = {"poll_interval": 0.05}


def over(*benchmarks: str, **fields: Any) -> dict[str, Any]:
    """A submission over benchmarks, each given as ``provider/benchmark``."""
    listed = [dict(zip(("provider_id", "id"), b.split("/"), strict=True)) for b in benchmarks]
    return {"name": "a job", "model": MODEL, "benchmarks": listed, **fields}


def submitted(client: RemoteClient, *benchmarks: str, **fields: Any) -> str:
    return client("jobs.submit", over(*benchmarks, **fields))["resource"]["id"]


def states(job: dict[str, Any]) -> list[str]:
    return [benchmark["status"] for benchmark in job["status"]["benchmarks"]]


def await_polls(server: RunningServer, job_id: str, how_many: int = 3) -> None:
    """Return when the client has requested the job ``how_many`` more times."""

    def polls() -> int:
        return sum(line.get("uri") == f"{API}/jobs/{job_id}" for line in server.log_lines())

    already = polls()
    wait_until(lambda: polls() >= already + how_many, "the client's requests")


def test_health_is_healthy(client: RemoteClient):
    assert client("health")["status"] == "healthy"


def test_providers_and_their_benchmarks_are_found(client: RemoteClient):
    found = {provider["name"]: len(provider["benchmarks"]) for provider in client("providers.list")}
    expected = {
        "bare": 0,
        "bars": 1,
        "breaks": 1,
        "described": 0,
        "gated": 1,
        "hangs": 1,
        "quick": 2,
        "silent": 1,
    }
    assert found == expected
    assert [p["name"] for p in client("providers.list", target_type="agent")] == ["described"]
    assert [p["name"] for p in client("providers.list", evaluates="safety")] == ["described"]
    provider = client("providers.get", "described")
    assert (provider["title"], provider["tags"]) == ("Described", ["a", "b"])
    assert provider["agent"]["hints"] == ["h"]
    assert provider["runtime"]["local"]["command"] == "true"


def test_benchmarks_are_read_with_every_field(client: RemoteClient):
    assert [b["id"] for b in client("benchmarks.list", provider_id="quick")] == ["b", "c"]
    assert len(client("benchmarks.list", category="test", limit=3)) == 3
    assert client("benchmarks.list", category="none") == []
    assert client("benchmarks.list", provider_id="quick", limit=1) == [
        {
            "id": "b",
            "name": "b",
            "category": "test",
            "description": "Two answers",
            "url": "http://example.test/b",
            "metrics": ["acc"],
            "num_few_shot": 5,
            "dataset_size": 14042,
            "tags": ["short"],
            "primary_score": {"metric": "acc", "lower_is_better": False},
            "pass_criteria": {"threshold": 0.5},
            "agent": {
                "result_interpretation": "More is better",
                "score_ranges": [{"range": "0-0.5", "meaning": "bad"}],
            },
        }
    ]


def test_a_job_goes_from_submission_to_results(client: RemoteClient):
    job = client("jobs.submit", over("quick/b", "quick/c", tags=["nightly"], description="about it"))
    assert (job["effective_state"], states(job)) == ("pending", ["pending", "pending"])
    assert (job["tags"], job["description"]) == (["nightly"], "about it")
    ended = client("jobs.wait_for_completion", job["resource"]["id"], timeout=30, **OFTEN)
    assert (ended["status"]["state"], states(ended)) == ("completed", ["completed", "completed"])
    for benchmark in ended["status"]["benchmarks"]:
        assert benchmark["started_at"] <= benchmark["completed_at"]
    results = ended["results"]["benchmarks"]
    assert [(r["id"], r["provider_id"], r["benchmark_index"]) for r in results] == [
        ("b", "quick", 0),
        ("c", "quick", 1),
    ]
    assert results[0]["metrics"] == {"acc": 0.75, "label": "good", "n": 3}
    assert {schema["name"]: schema["type"] for schema in results[0]["metrics_schema"]} == {
        "acc": "numeric",
        "label": "numeric",
        "n": "numeric",
    }
    assert client("jobs.get", job["resource"]["id"]) == ended


def test_every_field_of_a_submission_is_returned(client: RemoteClient):
    rich = {
        "id": "b",
        "provider_id": "quick",
        "parameters": {"num_examples": 5, "nested": {"deep": [1, 2.5, "x", None, True]}},
        "primary_score": {"metric": "n", "lower_is_better": True},
        "pass_criteria": {"threshold": 0.25},
    }
    coordinates = {
        "oci_host": "quay.test",
        "oci_repository": "org/repo",
        "oci_tag": "t",
        "annotations": {"a": "1"},
    }
    fields = {
        "model": {**MODEL, "auth": {"secret_ref": "file:///nowhere"}},
        "benchmarks": [rich],
        "exports": {"oci": {"coordinates": coordinates, "k8s": {"connection": "registry"}}},
        "queue": {"name": "night", "kind": "kueue"},
    }
    job = client("jobs.submit", over("quick/b", **fields))
    assert {key: job[key] for key in fields} == {**fields, "benchmarks": [{**rich, "test_data_ref": None}]}
    ended = client("jobs.wait_for_completion", job["resource"]["id"], timeout=30, **OFTEN)
    assert ended["effective_state"] == "completed"
    assert ended["results"]["oci"]["status"]["state"] == "pending"  # quay.test does not exist
    assert {key: ended[key] for key in fields} == {key: job[key] for key in fields}


def test_jobs_with_a_directory_of_test_data_are_listed(
    client: RemoteClient, server: RunningServer, tmp_path: Path
):
    benchmark = {"id": "b", "provider_id": "quick", "test_data_path": str(tmp_path)}
    body = {"name": "a job", "model": MODEL, "benchmarks": [benchmark]}
    job_id = server.call("POST", f"{API}/jobs", body).body["resource"]["id"]
    assert server.finished(job_id)["benchmarks"] == [benchmark]
    wait_until(
        lambda: not processes_with(str(tmp_path)), "the exit of the adapter, which names the directory"
    )
    assert job_id in [job["resource"]["id"] for job in client("jobs.list", limit=1000)]


def test_jobs_with_test_data_are_listed(client: RemoteClient):
    refs = [
        {"s3": {"bucket": "b", "key": "k", "secret_ref": "s"}},
        {"pvc": {"claim_name": "claim"}},
        {"git": {"url": "http://127.0.0.1.test/x", "ref": "main", "secret_ref": ""}},
    ]
    benchmarks = [{"id": "b", "provider_id": "quick", "test_data_ref": ref} for ref in refs]
    job_id = client("jobs.submit", over(benchmarks=benchmarks))["resource"]["id"]
    ended = client("jobs.wait_for_completion", job_id, timeout=60, **OFTEN)
    assert states(ended) == ["failed"] * len(refs)
    (listed,) = [job for job in client("jobs.list", limit=1000) if job["resource"]["id"] == job_id]
    assert [
        next(k for k in ref if b["test_data_ref"].get(k))
        for ref, b in zip(refs, listed["benchmarks"], strict=True)
    ] == ["s3", "pvc", "git"]


@pytest.mark.parametrize(
    ("early", "early_state", "outcome"),
    [("quick", "completed", "completed"), ("breaks", "failed", "partially_failed")],
)
def test_waiting_lasts_until_every_benchmark_has_finished(
    client: RemoteClient, server: RunningServer, closed_gate: Path, early: str, early_state: str, outcome: str
):
    job_id = submitted(client, f"{early}/b", "gated/b", "gated/b")
    client.begin("jobs.wait_for_completion", job_id, timeout=30, **OFTEN)
    wait_until(lambda: states(server.job(job_id))[0] == early_state, "the end of the first benchmark")
    await_polls(server, job_id)
    assert client.waiting
    closed_gate.touch()
    job = client.answer()
    assert (job["status"]["state"], states(job)) == (outcome, [early_state, "completed", "completed"])


def test_waiting_stops_at_its_timeout(client: RemoteClient):
    job_id = submitted(client, "silent/b")
    with pytest.raises(RaisedError, match="TimeoutError") as raised:
        client("jobs.wait_for_completion", job_id, timeout=0.1, **OFTEN)
    assert job_id in raised.value.text


def test_logs_of_a_job_and_of_one_benchmark_are_read(client: RemoteClient):
    job_id = submitted(client, "quick/b", "breaks/b")
    client("jobs.wait_for_completion", job_id, timeout=30, **OFTEN)
    header = "=== pod={job}-{index} container=local benchmark_id=b ==="
    lines = [
        header.format(job=job_id, index=0),
        "hello",
        header.format(job=job_id, index=1),
        "about to break",
    ]
    assert client("jobs.get_logs", job_id) == "\n".join(lines)
    assert client("jobs.get_logs", job_id, benchmark_index=1) == "about to break"
    options = {"tail_lines": 1, "timestamps": True, "since_seconds": 3600}
    assert client("jobs.get_logs", job_id, benchmark_index=0, options=options).endswith("hello")
    with pytest.raises(RaisedError) as raised:
        client("jobs.get_logs", job_id, benchmark_index=2)
    assert raised.value.facts["status"] == 404


@pytest.mark.parametrize("benchmark_index", [None, 0])
def test_watched_logs_arrive_once_and_in_order(
    client: RemoteClient, server: RunningServer, closed_gate: Path, benchmark_index: int | None
):
    job_id = submitted(client, "gated/b")
    client.begin("jobs.watch_logs", job_id, benchmark_index=benchmark_index, timeout=30, **OFTEN)
    wait_until(lambda: "first" in server.logs(job_id), "the adapter's first line")
    await_polls(server, job_id)
    assert client.waiting
    closed_gate.touch()
    updates = client.answer()
    assert updates[-1]["state"] == "completed"
    text = "".join(update["logs"] for update in updates)
    assert text == client("jobs.get_logs", job_id, benchmark_index=benchmark_index)
    assert re.findall("first|second", text) == ["first", "second"]
    assert [update["logs"] for update in updates].count("") >= 1


@pytest.mark.parametrize("benchmark_index", [None, 1])
def test_progress_bars_of_three_benchmarks_are_watched_without_repeats(
    client: RemoteClient, server: RunningServer, closed_gate: Path, benchmark_index: int | None
):
    job_id = submitted(client, "bars/b", "bars/b", "bars/b")
    client.begin("jobs.watch_logs", job_id, benchmark_index=benchmark_index, timeout=30, **OFTEN)
    wait_until(lambda: server.logs(job_id, "?tail_lines=-1").count("done") == 6, "two bars of each")
    await_polls(server, job_id)
    closed_gate.touch()
    updates = client.answer()
    assert updates[-1]["state"] == "failed"
    text = "".join(update["logs"] for update in updates)
    assert text == client("jobs.get_logs", job_id, benchmark_index=benchmark_index)
    lines = [line for line in text.splitlines() if line and not line.startswith("===")]
    assert lines == ["done"] * (3 if benchmark_index is not None else 9)
    assert text.count("===") == (0 if benchmark_index is not None else 6)


def test_jobs_are_listed_newest_first_by_state_and_up_to_a_limit(client: RemoteClient):
    failed, finished, hanging = [submitted(client, f"{p}/b") for p in ("breaks", "quick", "hangs")]
    for job_id in (failed, finished):
        client("jobs.wait_for_completion", job_id, timeout=30, **OFTEN)
    assert [job["resource"]["id"] for job in client("jobs.list", limit=3)] == [hanging, finished, failed]
    listed = {
        state: [job["resource"]["id"] for job in client("jobs.list", status=state)]
        for state in ("completed", "failed")
    }
    assert (listed["completed"][0], listed["failed"][0]) == (finished, failed)
    assert {job["status"]["state"] for job in client("jobs.list", status="failed")} == {"failed"}
    assert client("jobs.cancel", hanging) is True


def test_a_running_job_is_cancelled_and_keeps_its_logs(client: RemoteClient, server: RunningServer):
    job_id = submitted(client, "hangs/b", "quick/b")
    wait_until(lambda: states(server.job(job_id)) == ["running", "completed"], "one running, one completed")
    assert client("jobs.cancel", job_id) is True
    assert processes_with(job_id) == []
    job = client("jobs.wait_for_completion", job_id, timeout=5)
    assert (job["status"]["state"], states(job)) == ("cancelled", ["cancelled", "completed"])
    assert job["status"]["benchmarks"][0]["error_message"]["message_code"] == "evaluation_job_cancelled"
    assert client("jobs.get_logs", job_id).count("hello") == 2
    assert client("jobs.cancel", job_id) is True


@pytest.mark.parametrize(("provider", "state"), [("quick", "completed"), ("breaks", "failed")])
def test_cancelling_a_finished_job_raises_the_servers_error(client: RemoteClient, provider: str, state: str):
    job_id = submitted(client, f"{provider}/b")
    before = client("jobs.wait_for_completion", job_id, timeout=30, **OFTEN)
    with pytest.raises(RaisedError) as raised:
        client("jobs.cancel", job_id)
    assert raised.value.kind == "JobCanNotBeCancelledError"
    assert raised.value.facts == {
        "job_id": job_id,
        "reason": f"The job {job_id} can not be cancelled because it is '{state}'.",
    }
    assert client("jobs.get", job_id) == before


@pytest.mark.parametrize("hard", [False, True])
def test_an_unknown_job_is_not_found(client: RemoteClient, hard: bool):
    with pytest.raises(RaisedError) as raised:
        client("jobs.cancel", "nope", hard_delete=hard)
    assert (raised.value.kind, raised.value.text) == ("JobNotFoundError", "Job 'nope' not found")
    with pytest.raises(RaisedError) as raised:
        client("jobs.get", "nope")
    assert (raised.value.kind, raised.value.facts["status"]) == ("HTTPStatusError", 404)
    assert raised.value.facts["body"]["message"] == "The evaluation job resource 'nope' was not found."


@pytest.mark.parametrize(("provider", "state"), [("hangs", "running"), ("quick", "completed")])
def test_a_hard_delete_leaves_nothing(client: RemoteClient, server: RunningServer, provider: str, state: str):
    job_id = submitted(client, f"{provider}/b")
    server.in_state(job_id, state)
    assert client("jobs.cancel", job_id, hard_delete=True) is True
    assert processes_with(job_id) == []
    for method in ("jobs.get", "jobs.get_logs"):
        with pytest.raises(RaisedError) as raised:
            client(method, job_id)
        assert raised.value.facts["status"] == 404
    with pytest.raises(RaisedError) as raised:
        client("jobs.cancel", job_id)
    assert raised.value.kind == "JobNotFoundError"


@pytest.mark.parametrize(
    ("request_fields", "status", "code"),
    [
        (over("nope/b"), 404, "resource_not_found"),
        (over("quick/nope"), 400, "resource_does_not_exist"),
        (over("quick/b", experiment={"name": "e"}), 400, "mlflow_required_for_experiment"),
        (over("quick/b", model={"name": "m"}), 400, "model_url_required"),
        (over("quick/b", name=""), 400, "request_validation_failed"),
    ],
)
def test_a_refused_submission_is_an_http_error_with_our_code(
    client: RemoteClient, request_fields: dict[str, Any], status: int, code: str
):
    with pytest.raises(RaisedError) as raised:
        client("jobs.submit", request_fields)
    assert raised.value.kind == "HTTPStatusError"
    assert (raised.value.facts["status"], raised.value.facts["body"]["message_code"]) == (status, code)


def test_tenants_do_not_see_each_others_jobs(client: RemoteClient):
    job = client("jobs.submit", over("quick/b"), tenant="red")
    job_id = job["resource"]["id"]
    assert job["resource"]["tenant"] == "red"
    assert job_id in [j["resource"]["id"] for j in client("jobs.list", tenant="red")]
    assert job_id not in [j["resource"]["id"] for j in client("jobs.list", tenant="blue")]
    with pytest.raises(RaisedError) as raised:
        client("jobs.cancel", job_id, tenant="blue")
    assert raised.value.kind == "JobNotFoundError"


def test_the_client_parses_jobs_in_every_state(client: RemoteClient, server: RunningServer):
    jobs = {
        "pending": submitted(client, "silent/b"),
        "running": submitted(client, "hangs/b"),
        "completed": submitted(client, "quick/b"),
        "failed": submitted(client, "breaks/b", "breaks/b"),
        "partially_failed": submitted(client, "quick/b", "breaks/b"),
        "cancelled": submitted(client, "silent/b"),
    }
    assert client("jobs.cancel", jobs["cancelled"]) is True
    for state, job_id in jobs.items():
        server.in_state(job_id, state)
        job = client("jobs.get", job_id)
        assert (job["status"]["state"], job["effective_state"]) == (state, state)
        assert job["status"]["message"]["message_origin"] == "server"
        assert job_id in [listed["resource"]["id"] for listed in client("jobs.list", status=state)]
    message = client("jobs.get", jobs["partially_failed"])["status"]["message"]["message"]
    assert message == "Some of the benchmarks failed. \nBenchmark b failed with message: boom\n"


def test_every_bundled_provider_is_listed(
    client_of: Callable[[RunningServer], RemoteClient], tmp_path: Path, request: pytest.FixtureRequest
):
    folder = tmp_path / "config"
    shutil.copytree(request.config.rootpath / "config", folder)
    with (
        RunningServer(folder, data_dir=tmp_path / "data", env={"PORT": "0"}) as server,
        client_of(server) as client,
    ):
        providers = client("providers.list")
        assert len(providers) == server.get(f"{API}/providers")["total_count"] > 0
        benchmarks = client("benchmarks.list")
        assert len(benchmarks) == sum(len(provider["benchmarks"]) for provider in providers) > 0

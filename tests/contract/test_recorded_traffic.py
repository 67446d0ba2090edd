"""Replay of recorded requests: status, code and shape of the response are those of the released server.

Resources that a recording needs are created first, and their ids replace the recorded ones; providers come from files with
the recorded ids.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.recordings import Recording, all_names, differences
from harness import Config, RunningServer, wait_until
from harness.server import API, Answer

OTHERWISE: dict[str, tuple[int, str, str]] = {
    "provider-create-empty": (400, "request_validation_failed", "decision 30"),
    "provider-create-bench-no-id": (400, "request_validation_failed", "decision 30"),
    "collection-patch-type-mismatch": (400, "invalid_json_request", "decision 4"),
    "collection-patch-pinned-type": (400, "invalid_json_request", "decision 4"),
    "job-list-limit0-offset-500": (200, "", "decision 7"),
    "event-collection-deleted": (204, "", "decision 17"),
}
"""Recordings that we answer with another status or code, and why."""

OTHER_WORDS = {"provider-patch-type-mismatch": "rest-api 1.4: of the text only the code matters"}

ELSEWHERE = {
    "job-create-mlflow": "needs MLflow: tests/plugins/tracking_mlflow",
    "job-create-mlflow-error": "needs MLflow: tests/plugins/tracking_mlflow",
    "job-get-mlflow-partial": "needs MLflow: tests/plugins/tracking_mlflow",
    "cluster-job-k8s-failed": "needs Kubernetes: tests/plugins/runtime_k8s",
    "job-create-runtime-start-failed": "needs a local sidecar: tests/plugins/runtime_local",
    "job-create-collection-empty": "decision 4: a collection cannot become empty any more; tests/domain has the code",
}

PROBE = Recording.read("provider-create")
SERVER_SET = {"resource", "status", "results"}
PENDING = Recording.read("job-create-minimal")
SLEEP = {"local": {"command": "sleep 600 # until the test ends it"}}
EVENT = {"provider_id": "b7297aed-db20-44a5-80a5-ee8de8bb3722"}


def configured(folder: Path) -> Config:
    """The providers and collections that recordings name, under their recorded ids."""
    config = Config(folder, local={"max_parallel": 500}, supervisor={"stop_grace": "500ms"})

    def provider(provider_id: str, document: dict[str, Any], **fields: Any) -> None:
        config.write(
            f"providers/{provider_id}.yaml", {**document, "id": provider_id, "runtime": SLEEP, **fields}
        )

    def collection(collection_id: str, *benchmarks: dict[str, Any], **fields: Any) -> None:
        document = {
            "id": collection_id,
            "name": "c",
            "category": "cat",
            "benchmarks": list(benchmarks),
            **fields,
        }
        config.write(f"collections/{collection_id}.yaml", document)

    probe = json.loads(PROBE.body or b"")
    provider(EVENT["provider_id"], probe)
    provider("e0a964d3-a211-49b2-8a21-93fd32da9c31", probe, runtime=None)
    tenants = {"name": "tp", "benchmarks": [{"id": "a", "name": "A"}]}
    provider("3680dcf4-5748-436c-818a-bd126da98d0a", tenants)
    taxonomy = json.loads(Recording.read("provider-create-taxonomy").body or b"")
    taxonomy["benchmarks"][0]["url"] = "http://u"
    provider("a32aaebe-626b-4386-b2bc-cfb060a1407a", taxonomy)
    provider("lm_evaluation_harness", {"name": "LM", "benchmarks": [{"id": "arc_easy"}]})
    pb1, pb2 = ({"id": name, **EVENT} for name in ("pb1", "pb2"))
    source = Recording.read("collection-get-after-run").answer
    collection(source["resource"]["id"], *source["benchmarks"], pass_criteria={"threshold": 0.9})
    collection(
        "9c9a32fe-81f0-4531-8799-5ac38cfc05d6", {**pb1, "weight": 3}, pb2, pass_criteria={"threshold": 0.6}
    )
    git = {"git": {"url": "https://h.com/x", "ref": "main"}}
    collection("0532f3fb-1c6c-4547-bb42-a99b264b211c", {**pb1, "weight": 4, "test_data_ref": git}, pb2)
    collection("safety-and-fairness-v1", pb1)
    return config


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(configured(tmp_path_factory.mktemp("recorded") / "config").folder) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Cluster mode as far as the API shows it; the workloads are local processes."""
    config = configured(tmp_path_factory.mktemp("cluster") / "config")
    with (config.folder / "config.yaml").open("a") as file:
        file.write("plugins: {runtime: local}\n")
    with RunningServer(config.folder, flags=("--configdir", str(config.folder))) as running:
        yield running


# --- what has to be there before a recording is sent


def create(server: RunningServer, kind: str, body: Any, headers: dict[str, str] | None = None) -> str:
    answer = server.call("POST", f"{API}/{kind}", body, headers)
    assert answer.status in (201, 202), answer
    return answer.body["resource"]["id"]


def events(server: RunningServer, job_id: str, *statuses: str) -> str:
    for index, (benchmark, status) in enumerate(zip(("pb1", "pb2"), statuses, strict=False)):
        event = {**EVENT, "id": benchmark, "benchmark_index": index, "status": status}
        answer = server.call("POST", f"{API}/jobs/{job_id}/events", {"benchmark_status_event": event})
        assert answer.status == 204, answer
    return job_id


def pending(server: RunningServer) -> str:
    return create(server, "jobs", PENDING.body)


def completed(server: RunningServer) -> str:
    return events(server, pending(server), "completed", "completed")


def cancelled(server: RunningServer) -> str:
    job_id = pending(server)
    assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204
    return job_id


def with_test_data(server: RunningServer) -> str:
    return create(server, "jobs", Recording.read("job-create-hf").body)


def over_a_collection(server: RunningServer) -> str:
    return create(server, "jobs", Recording.read("job-create-collection").body)


def own_provider(server: RunningServer) -> str:
    return create(server, "providers", {"name": "n1", "benchmarks": []})


def own_collection(server: RunningServer) -> str:
    return create(server, "collections", Recording.read("collection-create-minimal").body)


BEFORE: dict[str, Callable[[RunningServer], str]] = {
    "event-after-cancel": cancelled,
    "event-after-terminal": completed,
    "event-collection-deleted": over_a_collection,
    "event-completed-full": pending,
    "event-failed": pending,
    "event-missing-fields": pending,
    "event-pending": pending,
    "event-resolved-sha": with_test_data,
    "event-running": pending,
    "event-running-after-terminal": completed,
    "job-cancel": pending,
    "job-cancel-bad-param": pending,
    "job-cancel-completed-409": completed,
    "job-hard-delete": completed,
    "logs-bad-index": pending,
    "logs-bad-tail": pending,
    "provider-delete-ok": own_provider,
    "provider-patch-type-mismatch": own_provider,
    "collection-delete-ok": own_collection,
    **{name: own_collection for name in all_names() if name.startswith("collection-patch-") and Recording.read(name).status >= 400 and "system" not in name},
}  # fmt: skip


def lived(server: RunningServer, recording: Recording) -> str:
    """A job that was created and reported on like the recorded one."""
    recorded = recording.answer
    request = {key: value for key, value in recorded.items() if key not in SERVER_SET}
    resolved = "resolved_sha" in json.dumps(request)
    if resolved:  # the server has written the collection's members into the reference
        request["collection"] = {"id": request["collection"]["id"]}
    job_id = create(server, "jobs", request)
    results = {r["benchmark_index"]: r for r in recorded["results"].get("benchmarks", ())}
    for status in recorded["status"].get("benchmarks", ()):
        if status.get("error_message", {}).get("message_origin") == "server" and status["status"] == "failed":
            continue  # the server reports this failure itself
        event = {**results.get(status["benchmark_index"], {}), **status}
        event.pop("metrics_schema", None)
        if status["status"] == "cancelled":
            event |= {"status": "running", "error_message": None}
        if resolved:
            event["job_meta"] = {"resolved_sha": "abcdef1"}
        answer = server.call("POST", f"{API}/jobs/{job_id}/events", {"benchmark_status_event": event})
        assert answer.status == 204, answer
    if recorded["status"]["state"] == "cancelled":
        assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204
    wait_until(
        lambda: server.job(job_id)["status"]["state"] == recorded["status"]["state"], "the recorded state"
    )
    return job_id


def shown(server: RunningServer, recording: Recording) -> str:
    """A provider or collection like the one that the recording reads, clones or changes."""
    document = dict(recording.answer)
    kind = recording.path.split("/")[4]
    if recording.method in ("PATCH", "PUT"):
        document |= {"description": ""} if "/description" in str(recording.body) else {"name": "before"}
    resource_id = create(server, kind, document)
    if document.get("derived_from") and recording.method != "POST":
        resource_id = create(server, f"{kind}/{resource_id}/clones", None)
    if order := document.get("pinned_order"):
        patch = [{"op": "add", "path": "/pinned_order", "value": order}]
        assert server.call("PATCH", f"{API}/{kind}/{resource_id}", patch).status == 200
    return resource_id


def prepared(server: RunningServer, recording: Recording) -> tuple[Recording, dict[str, str]]:
    """The recording as it is to be sent, and what our answer has in place of what was recorded."""
    name = recording.name
    if name in BEFORE:
        made = BEFORE[name](server)
    elif (name.startswith("job-get-") and recording.status == 200) or name == "job-local-runtime-not-enabled":
        made = lived(server, recording)
    elif (recording.status == 200 and recording.path.count("/") == 5) or name.startswith("collection-clone-"):
        made = shown(server, recording)
    else:
        return recording, {}
    old = recording.resource_id
    return recording._replace(path=recording.path.replace(old, made)), {made: old}


def with_recorded_ids(answer: Answer, ids: dict[str, str], recording: Recording) -> Any:
    text = json.dumps(answer.body)
    for made, old in ids.items():
        text = text.replace(made, old)
    body = json.loads(text)
    if isinstance(body, dict) and isinstance(recording.answer, dict):
        for key, known in (("resource", "id"), ("derived_from", None)):
            if key in body and key in recording.answer:
                if known:
                    body[key][known] = recording.answer[key][known]
                else:
                    body[key] = recording.answer[key]
    return body


def as_decided(ours: Any, recording: Recording) -> Any:
    """Our answer without what decisions have added to it in one place only."""
    if recording.name == "job-list-bad-param":
        # Lists of jobs have further parameters, which follow the recorded ones.
        assert ours["message"].startswith(recording.answer["message"].removesuffix(".") + ", ")
        ours["message"] = recording.answer["message"]
    if not isinstance(ours, dict):
        return ours
    recorded = recording.answer
    if "status" in ours and "state" in ours["status"]:
        told = {b["benchmark_index"]: b for b in recorded["status"].get("benchmarks", ())}
        listed = {b["benchmark_index"]: b for b in ours["status"]["benchmarks"]}
        for benchmark in (*listed.values(), *ours["results"].get("benchmarks", ())):
            for addition in ("samples", "phases"):
                benchmark.pop(addition, None)
        for index, benchmark in listed.items():
            for time in ("started_at", "completed_at"):  # set by this server if the adapter did not report it
                if time not in told.get(index, {}):
                    benchmark.pop(time, None)
        # All benchmarks are listed, from the start and in their order (gap B8).
        ours["status"]["benchmarks"] = [
            listed[b["benchmark_index"]] for b in recorded["status"].get("benchmarks", ())
        ]
        if "benchmarks" not in recorded["status"]:
            del ours["status"]["benchmarks"]
    if recording.name == "collection-create-taxonomy-derived":
        assert ours["benchmarks"][0].pop("url") == "http://u"  # its provider has had it since the recording
    if recording.name == "job-get-collection-completed":
        # Decision 13: the loss counts as 1 - loss; 0.8 and 0.2 with weights 3 and 1.
        assert ours["results"]["test"].pop("score") == pytest.approx(0.8)
        recorded["results"]["test"].pop("score")
    if recording.name == "job-get-collection-materialised":
        # Decision 13 again, and the snapshot shows what came from the provider.
        assert ours["results"]["test"].pop("score") == pytest.approx(0.8)
        recorded["results"]["test"].pop("score")
        for member in ours["collection"]["benchmarks"]:
            member.pop("primary_score")
            member.pop("pass_criteria")
    if "items" in ours:
        # Other records, in another order (decision 6), but as many and of the same kind.
        assert len(ours["items"]) == len(recorded["items"])
        del ours["items"], recorded["items"]
        ours.pop("next", None)
        recorded.pop("next", None)
    return ours


SENT = [name for name in all_names() if name not in ELSEWHERE and not name.startswith(("cluster-", "logs-"))]


@pytest.mark.parametrize("name", SENT)
def test_a_recorded_request_gets_the_recorded_response(server: RunningServer, name: str):
    recording, ids = prepared(server, Recording.read(name))
    if "-list-page" in name or name in ("collection-list", "provider-list-nobench"):
        fill_lists(server, recording)
        recording = recording._replace(headers={**recording.headers, "X-Tenant": "lists"})
    answer = server.call(recording.method, recording.path, recording.body, recording.headers)
    check(answer, ids, recording)


def fill_lists(server: RunningServer, recording: Recording) -> None:
    tenant = {"X-Tenant": "lists"}
    kind = recording.path.split("/")[4].partition("?")[0]
    body = {
        "jobs": PENDING.body,
        "providers": {"name": "p", "benchmarks": []},
        "collections": Recording.read("collection-create-minimal").body,
    }[kind]
    while (
        len(
            server.call(
                "GET", f"{API}/{kind}?scope=tenant" if kind != "jobs" else f"{API}/jobs", headers=tenant
            ).body["items"]
        )
        < 5
    ):
        create(server, kind, body, tenant)


def check(answer: Answer, ids: dict[str, str], recording: Recording) -> None:
    name = recording.name
    status, code, _ = OTHERWISE.get(name, (recording.status, recording.code, ""))
    assert answer.status == status, answer
    assert "x-global-transaction-id" in answer.headers
    assert answer.headers["content-type"] == recording.answer_headers["content-type"]
    if status >= 400:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.body["message_code"] == code
        assert answer.body["trace"] == answer.headers["x-global-transaction-id"]
    if name in OTHERWISE:
        return
    if name in OTHER_WORDS:
        assert answer.body.keys() - {"errors"} == recording.answer.keys() | {"detail"}
        return
    if status == 204:
        assert answer.body == ""
        return
    ours = as_decided(with_recorded_ids(answer, ids, recording), recording)
    assert differences(recording.answer, ours) == []


@pytest.mark.parametrize(
    "name", [name for name in all_names() if name.startswith("cluster-") and name not in ELSEWHERE]
)
def test_cluster_mode_requires_identities_as_recorded(cluster: RunningServer, name: str):
    recording = Recording.read(name)
    answer = cluster.call(recording.method, recording.path, recording.body, recording.headers)
    check(answer, {}, recording)


def test_logs_are_as_recorded(tmp_path: Path):
    config = Config(tmp_path / "config")
    many = "i=1; while [ $i -le 1500 ]; do echo line$i; i=$((i+1)); done; echo err >&2; printf nolf; exit 1"
    config.provider(many, "a", provider_id="many")
    config.provider("echo hi; exit 1", "pb1", provider_id="one")
    with RunningServer(config.folder) as server:
        benchmarks = [{"id": "a", "provider_id": "many"}, {"id": "pb1", "provider_id": "one"}]
        job_id = server.submit(benchmarks=benchmarks)
        server.finished(job_id)
        for name in ("logs-job", "logs-benchmark"):
            recording = Recording.read(name)
            answer = server.call("GET", recording.path.replace(recording.resource_id, job_id))
            assert answer.status == recording.status
            assert answer.body == recording.answer.replace(recording.resource_id, job_id)
            for header in ("content-type", "trailer"):
                assert answer.headers[header] == recording.answer_headers[header]


@pytest.mark.parametrize("name", ["logs-404", "logs-bad-index", "logs-bad-tail"])
def test_invalid_log_requests_are_refused_as_recorded(server: RunningServer, name: str):
    recording, ids = prepared(server, Recording.read(name))
    check(server.call(recording.method, recording.path), ids, recording)


def test_a_log_over_the_limit_is_truncated_at_the_recorded_position(tmp_path: Path):
    recording = Recording.read("logs-truncated")
    config = Config(tmp_path / "config", service={"max_log_response_bytes": len(recording.answer)})
    config.provider("echo hello; exit 1")
    with RunningServer(config.folder) as server:
        job_id = server.submit()
        server.finished(job_id)
        text = server.logs(job_id, "?tail_lines=-1")
    assert text.startswith(recording.answer.replace(recording.resource_id, job_id) + "\n=== log truncated")


def test_every_exception_is_about_a_recording():
    assert OTHERWISE.keys() | OTHER_WORDS.keys() | ELSEWHERE.keys() | BEFORE.keys() <= set(all_names())
    assert len(all_names()) == 121

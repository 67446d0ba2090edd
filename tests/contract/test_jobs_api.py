"""Jobs over HTTP."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness import Config, RunningServer, wait_until
from harness.server import API

MODEL = {"url": "http://model.test/v1", "name": "m"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(
        tmp_path_factory.mktemp("api"),
        service={"port": 0, "max_log_response_bytes": 200},
        local={"max_parallel": 500},
    )
    config.provider("sleep 600 # waits for the test's own events", "b", "c")
    config.provider("printf 'one\\ntwo\\nthree\\n'; exit 1", provider_id="prints")
    config.provider("yes | head -c 100000; exit 1", provider_id="babbles")
    with RunningServer(config.folder) as running:
        yield running


def post(server: RunningServer, body: Any, **headers: str):
    return server.call("POST", f"{API}/jobs", body, headers)


def body(**fields: Any) -> dict[str, Any]:
    return {"name": "j", "model": MODEL, "benchmarks": [{"id": "b", "provider_id": "scripted"}], **fields}


def ids(page: dict[str, Any]) -> list[str]:
    return [item["resource"]["id"] for item in page["items"]]


def test_create_returns_202_with_the_resource_as_get_does(server: RunningServer):
    request = body(
        description="",
        tags=["x"],
        custom={"A": None},
        benchmarks=[
            {"id": "c", "provider_id": "scripted", "parameters": {"big": 12345678901234567890, "f": 1.0}}
        ],
    )
    answer = post(server, request)
    assert answer.status == 202
    assert answer.headers["content-type"] == "application/json"
    created = answer.body
    assert created["status"] == {
        "state": "pending",
        "message": {
            "message": "Evaluation job created",
            "message_code": "evaluation_job_created",
            "message_origin": "server",
        },
        "benchmarks": [{"provider_id": "scripted", "id": "c", "benchmark_index": 0, "status": "pending"}],
    }
    assert created["results"] == {}
    assert {key: created[key] for key in request} == request
    assert created["resource"]["created_at"] == created["resource"]["updated_at"]
    assert server.job(created["resource"]["id"]) == created


@pytest.mark.parametrize(
    ("request_body", "status", "code"),
    [
        ({}, 400, "request_validation_failed"),
        (b"", 400, "invalid_json_request"),
        (b"{", 400, "invalid_json_request"),
        (b'{"name": NaN}', 400, "invalid_json_request"),
        (b"[" * 100_000, 400, "invalid_json_request"),
        (b"\xff\xfe", 400, "invalid_json_request"),
        (body(name=5), 400, "invalid_json_request"),
        (body(hardware_config={"gpu": {"count": 2**63}}), 400, "invalid_json_request"),
        (body(name=""), 400, "request_validation_failed"),
        (body(benchmarks=[]), 400, "request_validation_failed"),
        (body(benchmarks=[{"id": "b", "provider_id": "nope"}]), 404, "resource_not_found"),
        (body(benchmarks=[{"id": "nope", "provider_id": "scripted"}]), 400, "resource_does_not_exist"),
        (body(benchmarks=None, collection={"id": "nope"}), 404, "resource_not_found"),
        (body(model={"name": "m"}), 400, "model_url_required"),
        (body(experiment={"name": "e"}), 400, "mlflow_required_for_experiment"),
        (b'{"name": "' + b"x" * (10 * 1024 * 1024) + b'"}', 413, "request_body_too_large"),
    ],
)
def test_invalid_creates_are_refused_and_store_nothing(
    server: RunningServer, request_body: Any, status: int, code: str
):
    before = server.get(f"{API}/jobs")["total_count"]
    answer = post(server, request_body)
    assert answer.refusal == (status, code)
    assert answer.body.keys() - {"errors"} == {"message_code", "message", "detail", "trace"}
    assert answer.body["detail"] == answer.body["message"]
    assert answer.body["trace"] == answer.headers["x-global-transaction-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert server.get(f"{API}/jobs")["total_count"] == before


@pytest.mark.parametrize(
    ("request_body", "errors"),
    [
        ({"name": "", "model": MODEL, "benchmarks": [{"id": "b"}]}, {
            "name": "is required",
            "benchmarks[0].provider_id": "is required",
        }),
        (body(benchmarks=[{"id": "", "provider_id": "scripted"}]), {"benchmarks[0].id": "is required"}),
        (body(benchmarks=[]), {
            "benchmarks": "must contain a benchmark, or the job must have a collection",
        }),
        (body(collection={"id": "c"}), {"benchmarks": "must be empty in a job with a collection"}),
        (body(model={"name": "m"}), {"model.url": "is required"}),
        (body(model={"name": 5, "url": "http://m"}), {"model.name": "Expected `str`, got `int`"}),
        (body(tags=["a,b"]), {"tags[0]": "is not a valid tag; use 1 to 128 characters without ',' and '|'"}),
        (b"{", None),
    ],
)  # fmt: skip
def test_errors_point_to_the_fields(server: RunningServer, request_body: Any, errors: dict[str, str] | None):
    answer = post(server, request_body)
    assert answer.status == 400
    found = answer.body.get("errors")
    assert found == (errors and [{"path": path, "message": text} for path, text in errors.items()])


@pytest.mark.parametrize(
    ("query", "headers", "error"),
    [
        ("limit=ten", {}, {"path": "limit", "message": "is not a valid integer"}),
        ("colour=red", {}, {"path": "colour", "message": "is unknown"}),
        (
            "",
            {"X-Tenant": "a\tb"},
            {"path": "X-Tenant", "message": "has characters that cannot be printed"},
        ),
    ],
)
def test_errors_point_to_query_parameters_and_headers(
    server: RunningServer, query: str, headers: dict[str, str], error: dict[str, str]
):
    answer = server.call("GET", f"{API}/jobs?{query}", headers=headers)
    assert answer.status == 400
    assert answer.body["errors"] == [error]


def test_requests_are_decoded_as_leniently_as_in_the_contract(server: RunningServer):
    text = (
        '{"NAME": "j", "zzz": 1, "description": null, "model": {"Url": "http://m", "name": "m", "auth": null},'
        ' "benchmarks": [{"id": "b", "provider_id": "scripted", "weight": null}]}'
    )
    answer = post(server, text.encode(), **{"Content-Type": "text/whatever"})
    assert answer.status == 202
    assert answer.body["name"] == "j"
    assert "null" not in json.dumps(answer.body)


def test_events_change_the_state_and_results_are_stored(server: RunningServer):
    job_id = post(server, body()).body["resource"]["id"]
    assert (
        server.report(job_id, "running", phase="initializing", started_at="2026-01-12T10:45:32Z").status
        == 204
    )
    assert server.job(job_id)["status"]["state"] == "running"
    result = {"metrics": {"acc": 0.25, "label": "x"}, "artifacts": {"a": 1}, "mlflow_run_id": "r"}
    answer = server.report(job_id, "completed", completed_at="2026-01-12T12:45:33.5+02:00", **result)
    assert (answer.status, answer.body) == (204, "")
    assert answer.headers["content-type"] == "application/json"
    job = server.job(job_id)
    assert job["status"]["state"] == "completed"
    (phase,) = job["status"]["benchmarks"][0].pop("phases")
    assert (phase["phase"], phase.keys()) == ("initializing", {"phase", "started_at", "duration_s"})
    assert job["status"]["benchmarks"] == [
        {
            "provider_id": "scripted",
            "id": "b",
            "benchmark_index": 0,
            "status": "completed",
            "phase": "initializing",
            "started_at": "2026-01-12T10:45:32Z",
            "completed_at": "2026-01-12T12:45:33.5+02:00",
        }
    ]
    (stored,) = job["results"]["benchmarks"]
    schema = [{"name": "acc", "type": "numeric"}, {"name": "label", "type": "numeric"}]
    assert stored == {
        "id": "b",
        "provider_id": "scripted",
        "benchmark_index": 0,
        "metrics_schema": schema,
        **result,
    }


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        ({"status": "cancelled"}, 400, "request_validation_failed"),
        ({"status": "running", "started_at": "yesterday"}, 400, "request_validation_failed"),
        ({"status": "running", "benchmark_index": 7}, 404, "resource_not_found"),
        ({"status": "running", "benchmark_index": -1}, 404, "resource_not_found"),
        ({"status": "running", "id": "c"}, 404, "resource_not_found"),
        ({"status": "running", "benchmark_index": "0"}, 400, "invalid_json_request"),
        ({"status": "running", "benchmark_index": 2**63}, 400, "invalid_json_request"),
        ({}, 400, "request_validation_failed"),
    ],
)
def test_invalid_events_are_refused_and_change_nothing(
    server: RunningServer, event: dict[str, Any], status: int, code: str
):
    job_id = post(server, body()).body["resource"]["id"]
    full = {"provider_id": "scripted", "id": "b", "benchmark_index": 0, **event}
    answer = server.call("POST", f"{API}/jobs/{job_id}/events", {"benchmark_status_event": full})
    assert answer.refusal == (status, code)
    assert server.job(job_id)["status"]["state"] == "pending"


def test_lists_are_newest_first_and_paged(server: RunningServer):
    made = [post(server, body(name="paged", tags=["paged"])).body["resource"]["id"] for _ in range(5)]
    first = server.get(f"{API}/jobs?name=paged&limit=2")
    assert ids(first) == made[:2:-1]
    assert (first["limit"], first["total_count"]) == (2, 5)
    assert first["first"]["href"] == f"{API}/jobs?name=paged&limit=2"
    assert first["next"]["href"] == f"{API}/jobs?limit=2&name=paged&offset=2"
    second = server.get(first["next"]["href"])
    third = server.get(second["next"]["href"])
    assert ids(second) + ids(third) == made[2::-1]
    assert "next" not in third
    beyond = server.get(f"{API}/jobs?name=paged&offset=99999999999999999")
    assert (beyond["items"], beyond["total_count"]) == ([], 5)
    assert server.get(f"{API}/jobs?name=paged&limit=0")["limit"] == 1000


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("tags=red", {"f1", "f2"}),
        ("tags=red,blue", {"f2"}),
        ("tags=blue%7Cgreen", {"f2", "f3"}),
        ("tags=red&tags=blue", {"f2"}),
        ("name=f1|f3", {"f1", "f3"}),
        ("name=a%2Bb", {"a+b"}),
        ("status=!pending&name=f1", set()),
        ("status=pending&name=f1", {"f1"}),
        ("owner=somebody", {"f3"}),
        ("owner=!somebody&tags=green|red", {"f1", "f2"}),
        ("owner=!nobody,!somebody&tags=green|red", {"f1", "f2"}),
        ("owner=!nobody&owner=!somebody&tags=green|red", {"f1", "f2"}),
        ("owner=!nobody,somebody", {"f3"}),
        ("owner=somebody,!somebody", set()),
        ("owner=somebody|!nobody&tags=green|red", {"f1", "f2", "f3"}),
        ("owner=!nobody|!somebody&tags=green|red", {"f1", "f2", "f3"}),
        ("owner=somebody|&tags=green|red", {"f1", "f2", "f3"}),
        ("owner=!&tags=green|red", {"f3"}),
        ("status=!running,!pending&name=f1", set()),
        ("status=!running,!completed&name=f1", {"f1"}),
        ("name=%20f4%20", {" f4 "}),
        ("name=f4", set()),
        ("tags=red,", set()),
        ("tags=red|", {"f1", "f2"}),
        ("tags=red%20,%20blue", {"f2"}),
        ("name=", {"f1", "f2", "f3", "a+b"}),
    ],
)
def test_lists_are_filtered(server: RunningServer, query: str, names: set[str]):
    if not server.get(f"{API}/jobs?name=f1")["items"]:
        post(server, body(name="f1", tags=["red"]))
        post(server, body(name="f2", tags=["red", "blue"]))
        post(server, body(name="f3", tags=["green"]), **{"X-User": "somebody"})
        post(server, body(name=" f4 "))
        post(server, body(name="a+b"))
    found = {item["name"] for item in server.get(f"{API}/jobs?limit=1000&{query}")["items"]}
    assert found >= names if query == "name=" else found == names


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("limit=x", "query_parameter_invalid", "The query parameter 'limit' is not a valid integer: 'x'."),
        (
            "limit=-1",
            "query_parameter_invalid",
            "The query parameter 'limit' is not a valid positive integer: '-1'.",
        ),
        (
            "offset=%2B1",
            "query_parameter_invalid",
            "The query parameter 'offset' is not a valid integer: '+1'.",
        ),
        (
            "foo=1",
            "query_bad_parameter",
            (
                "The parameter 'foo' is not a valid query parameter. Allowed parameters are: "
                "limit, offset, status, name, tags, owner, experiment_id, model_name, model_url, provider_id, benchmark_id, "
                "collection_id, experiment_name, derived_from, lineage, name_prefix, created_after, created_before, pinned, sort_by, running_first, view, facets."
            ),
        ),
    ],
)
def test_invalid_list_parameters_are_refused(server: RunningServer, query: str, code: str, message: str):
    answer = server.call("GET", f"{API}/jobs?{query}")
    assert (answer.status, answer.body["message_code"], answer.body["message"]) == (400, code, message)


def test_a_tenant_sees_its_own_jobs_and_a_client_without_tenant_all(server: RunningServer):
    mine = post(server, body(name="tenants"), **{"X-Tenant": "t1", "X-User": "u"}).body
    assert (mine["resource"]["tenant"], mine["resource"]["owner"]) == ("t1", "u")
    path = f"{API}/jobs/{mine['resource']['id']}"
    event = {"provider_id": "scripted", "id": "b", "benchmark_index": 0, "status": "running"}
    for method, below, sent in [
        ("GET", "", None),
        ("GET", "/logs", None),
        ("POST", "/events", {"benchmark_status_event": event}),
        ("DELETE", "", None),
        ("DELETE", "?hard_delete=true", None),
    ]:
        assert server.call(method, path + below, sent, {"X-Tenant": "t2"}).status == 404
    assert server.call("GET", path, None, {"X-Tenant": "t1"}).status == 200
    assert server.call("GET", path).status == 200
    count = {
        t: server.call("GET", f"{API}/jobs?name=tenants", None, {"X-Tenant": t} if t else {}).body[
            "total_count"
        ]
        for t in ("t1", "t2", "")
    }
    assert count == {"t1": 1, "t2": 0, "": 1}


def test_identity_headers_are_checked(server: RunningServer):
    answer = server.call("GET", f"{API}/jobs", None, {"X-User": "system"})
    assert answer.status == 400
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(
            f"GET {API}/jobs HTTP/1.1\r\nHost: localhost\r\nX-Tenant: a\r\nX-Tenant: b\r\nConnection: close\r\n\r\n".encode()
        )
        assert raw.makefile("rb").readline().startswith(b"HTTP/1.1 400")


def test_logs_of_a_job_and_of_one_benchmark(server: RunningServer):
    two = [{"id": "b", "provider_id": "prints"}] * 2
    job_id = post(server, body(benchmarks=two)).body["resource"]["id"]
    server.finished(job_id)
    header = "=== pod={job}-{index} container=local benchmark_id=b ===\n"
    tail = server.call("GET", f"{API}/jobs/{job_id}/logs?tail_lines=2")
    expected = "\n".join(header.format(job=job_id, index=index) + "two\nthree" for index in (0, 1))
    assert tail.body == expected
    assert tail.headers["content-type"] == "text/plain; charset=utf-8"
    assert tail.headers["trailer"] == "X-Log-Truncated"
    assert server.get(f"{API}/jobs/{job_id}/benchmarks/1/logs?tail_lines=-1") == "one\ntwo\nthree\n"
    assert server.get(f"{API}/jobs/{job_id}/benchmarks/1/logs?tail_lines=1") == "three"


def test_a_log_over_the_limit_is_truncated_as_its_last_line_and_the_trailer_state(server: RunningServer):
    job_id = server.submit(provider="babbles")
    server.finished(job_id)
    text = server.get(f"{API}/jobs/{job_id}/benchmarks/0/logs?tail_lines=-1")
    assert text.startswith("y\n" * 100 + "\n=== log truncated after 200 bytes")
    path = f"{API}/jobs/{job_id}/benchmarks/0/logs?tail_lines=-1"
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: close\r\n\r\n".encode()
        )
        received = raw.makefile("rb").read()
    assert received.endswith(b"0\r\nX-Log-Truncated: true\r\n\r\n")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/logs?tail_lines=0", 400, "query_parameter_invalid"),
        ("/logs?tail_lines=10001", 400, "query_parameter_invalid"),
        ("/logs?timestamps=maybe", 400, "query_parameter_invalid"),
        ("/logs?since_seconds=0", 400, "query_parameter_invalid"),
        ("/logs?since_seconds=", 400, "query_parameter_required"),
        ("/benchmarks/-1/logs", 400, "query_parameter_invalid"),
        ("/benchmarks/x/logs", 400, "query_parameter_invalid"),
        ("/benchmarks/9/logs", 404, "resource_not_found"),
    ],
)
def test_invalid_log_requests_are_refused_before_the_stream_starts(
    server: RunningServer, path: str, status: int, code: str
):
    job_id = post(server, body()).body["resource"]["id"]
    answer = server.call("GET", f"{API}/jobs/{job_id}{path}")
    assert answer.refusal == (status, code)


def test_methods_paths_and_ids(server: RunningServer):
    answer = server.call("PUT", f"{API}/jobs?x=1")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert answer.body["message"] == f"The HTTP method PUT is not allowed for the API {API}/jobs?x=1."
    head = server.call("HEAD", f"{API}/jobs")
    assert (head.status, head.body) == (200, "")
    for path in ("/nope", f"{API}/jobs/", "/api/v1/Health"):
        missing = server.call("GET", path)
        assert (missing.status, missing.body) == (404, "404 page not found\n")
        assert missing.headers["content-type"] == "text/plain; charset=utf-8"
    assert (
        server.call("GET", "/api/v1/health", None, {"X-Global-Transaction-Id": "abc"}).headers[
            "x-global-transaction-id"
        ]
        == "abc"
    )
    assert server.get("/api/v1/health")["status"] == "healthy"


def test_providers_come_from_their_files(server: RunningServer):
    page = server.get(f"{API}/providers")
    assert {item["resource"]["id"] for item in page["items"]} == {"scripted", "prints", "babbles"}
    assert server.get(f"{API}/providers?benchmarks=false")["items"][0]["benchmarks"] == []
    provider = server.get(f"{API}/providers/scripted")
    assert provider["resource"]["owner"] == "system"
    assert [b["id"] for b in provider["benchmarks"]] == ["b", "c"]
    assert (
        server.call("GET", f"{API}/providers/nope").body["message"]
        == "The provider resource 'nope' was not found."
    )
    for query, code in [
        ("scope=x", "query_parameter_value_invalid"),
        ("scope=system&owner=a", "query_parameter_mismatch"),
    ]:
        assert server.call("GET", f"{API}/providers?{query}").body["message_code"] == code
    assert server.get(f"{API}/providers?scope=tenant")["items"] == []
    assert len(server.get(f"{API}/providers?scope=system&limit=2")["items"]) == 2


def test_in_cluster_mode_both_identity_headers_are_required_tenant_first(tmp_path: Path):
    config = Config(tmp_path / "c", plugins={"runtime": "local"})
    config.provider("exit 3")
    with RunningServer(config.folder, flags=("--configdir", str(config.folder))) as server:
        codes = {}
        for sent in ((), ("X-Tenant",), ("X-User",), ("X-Tenant", "X-User")):
            answer = server.call("GET", f"{API}/jobs", None, dict.fromkeys(sent, "somebody"))
            codes[sent] = answer.body.get("message_code", answer.status)
        assert server.call("GET", "/api/v1/health").status == 200
    assert codes == {
        (): "missing_tenant_header",
        ("X-Tenant",): "missing_user_header",
        ("X-User",): "missing_tenant_header",
        ("X-Tenant", "X-User"): 200,
    }


@pytest.mark.slow
def test_a_client_that_stops_reading_logs_keeps_no_connection_open(tmp_path: Path):
    service = {"port": 0, "log_stream_timeout": "200ms", "max_log_response_bytes": -1}
    config = Config(tmp_path / "c", service=service)
    config.provider("head -c 100000000 /dev/zero; exit 3")
    with RunningServer(config.folder) as server:
        job_id = server.submit()
        server.finished(job_id)
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(
                f"GET {API}/jobs/{job_id}/logs?tail_lines=-1 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            )
            process = psutil.Process(server.pid)
            log = str(config.jobs_dir)
            wait_until(lambda: any(log in file.path for file in process.open_files()), "the log being read")
            wait_until(
                lambda: not any(log in file.path for file in process.open_files()), "the log being closed"
            )
            # It still has its end of the connection, and the server does not wait for it.
            wait_until(lambda: server.connections == 0, "the end of the connection")


def test_the_card_of_a_job_exists_at_once_and_has_its_state(server: RunningServer):
    job_id = post(server, body(tags=["x"])).body["resource"]["id"]
    card = server.get(f"{API}/jobs/{job_id}/card")
    assert card["metadata"]["evaluation_job_id"] == job_id
    assert card["results"]["status"]["state"] in ("pending", "running")
    assert server.report(job_id, "completed", metrics={"acc": 1.0}).status == 204
    card = server.get(f"{API}/jobs/{job_id}/card")
    assert card["results"]["status"]["state"] == "completed"
    assert card["results"]["benchmarks"][0]["metrics"] == {"acc": 1.0}
    unknown = server.call("GET", f"{API}/jobs/nope/card")
    assert unknown.refusal == (404, "resource_not_found")


COLLECTOR = {"enabled": True, "exporter_type": "otlp-http", "exporter_endpoint": "c:4318"}


@pytest.mark.parametrize(
    ("otel", "told"),
    [
        ({**COLLECTOR, "exporter_insecure": True}, "http://c:4318"),
        (COLLECTOR, "https://c:4318"),
        ({"enabled": True, "exporter_type": "stdout"}, "nowhere"),
        ({**COLLECTOR, "enabled": False}, "nowhere"),
    ],
)
def test_adapters_get_the_address_of_the_collector(tmp_path: Path, otel: dict[str, Any], told: str):
    config = Config(tmp_path / "config", otel=otel)
    config.provider('echo "${OTEL_EXPORTER_OTLP_ENDPOINT:-nowhere} $OTEL_SERVICE_NAME"; exit 1')
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "", "OTEL_SERVICE_NAME": ""}
    with RunningServer(config.folder, env=environment) as server:
        job_id = server.submit()
        server.finished(job_id)
        text = server.logs(job_id).splitlines()[-1]
    assert text.split() == [told, "evalhub-adapter"][: 1 if told == "nowhere" else 2]

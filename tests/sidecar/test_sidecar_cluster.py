"""The sidecar of a pod: routes, and credentials of each upstream."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import psutil
import pytest

from harness.answering import AnsweringServer, Reply, Request
from harness.sidecar import Pod, RunningSidecar, events_in

OK = Reply(200, b"{}", {"Content-Type": "application/json"})


def authorizations(upstream: AnsweringServer) -> list[list[str]]:
    return [received.header("Authorization") for received in upstream.requests]


class Full(NamedTuple):
    """A pod with all features, and the upstreams of its sidecar."""

    pod: Pod
    sidecar: RunningSidecar
    model: AnsweringServer
    judge: AnsweringServer
    tracker: AnsweringServer


@pytest.fixture(scope="module")
def everything(module_server: AnsweringServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Full]:
    pod = Pod(tmp_path_factory.mktemp("pod"))
    with AnsweringServer() as model, AnsweringServer() as judge, AnsweringServer() as tracker:
        pod.credentials(
            **{
                "api-key": "sk-real\n",
                "judge_api-key": "sk-judge",
                "judge_url": f"{judge.url}/v2",
                "own_sa_token": "",
                "own_url": judge.url,
                "hf-token": "hf",
                "empty_api-key": "",
                "empty_url": judge.url,
                "lost_api-key": "k",
                "odd_api-key": "k",
                "odd_url": "file:///etc/passwd",
            }
        )
        (pod.folder / "mlflow").write_text("Basic dTpw\n")
        mlflow = {"tracking_uri": f"{tracker.url}/base/", "token_path": str(pod.folder / "mlflow")}
        target = {"url": f"{model.url}/v1", "auth_secret_mount_path": str(pod.secret)}
        with pod.sidecar(module_server.url, mlflow=mlflow, model=target) as sidecar:
            yield Full(pod, sidecar, model, judge, tracker)


@pytest.fixture
def full(everything: Full) -> Full:
    for upstream in everything[2:]:
        upstream.reset(lambda _: OK)
    return everything


def test_events_are_sent_with_the_token_of_the_pod(pod: Pod, server: AnsweringServer):
    with pod.sidecar(server.url) as sidecar:
        headers = {"X-Tenant": "red", "Authorization": "Bearer of the adapter"}
        assert sidecar.call("POST", pod.events, {"a": 1}, headers).status == 204
    (received,) = server.requests
    assert (received.path, received.document) == (pod.events, {"a": 1})
    assert received.header("X-Tenant") == ["red"]
    assert received.header("Authorization") == ["Bearer pod-token"]


def test_a_token_that_is_refused_is_read_again(pod: Pod, server: AnsweringServer):
    good = "pod-token"
    server.answer = lambda r: Reply(204 if r.header("Authorization") == [f"Bearer {good}"] else 401)
    with pod.sidecar(server.url) as sidecar:
        assert sidecar.call("POST", pod.events, {}).status == 204
        good = "renewed"
        pod.token(good)
        assert sidecar.call("POST", pod.events, {}).status == 204
        good = "unknown to the pod"
        assert sidecar.call("POST", pod.events, {}).status == 401
    assert authorizations(server) == [["Bearer pod-token"]] * 2 + [["Bearer renewed"]] * 3


def test_without_a_token_the_adapters_header_is_kept(pod: Pod, server: AnsweringServer):
    (pod.folder / "token").unlink()
    with pod.sidecar(server.url) as sidecar:
        sidecar.call("POST", pod.events, {}, {"Authorization": "Bearer mine"})
    assert authorizations(server) == [["Bearer mine"]]


@pytest.mark.parametrize("what", ["samples?attempt=1", "artifacts?name=a%2Fb.log"])
def test_samples_and_artifacts_of_the_own_job_are_uploaded(pod: Pod, server: AnsweringServer, what: str):
    path = f"/api/v1/evaluations/jobs/{pod.job_id}/benchmarks/0/{what}"
    with pod.sidecar(server.url) as sidecar:
        assert sidecar.call("PUT", path, b'{"sample_id": "a"}\n' * 100_000).status < 300
    assert [(each.method, each.path) for each in server.requests] == [("PUT", path)]
    assert authorizations(server) == [["Bearer pod-token"]]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/evaluations/jobs/another/events"),
        ("POST", "/api/v1/evaluations/jobs"),
        ("POST", "/api/v1/evaluations/providers"),
        ("DELETE", f"/api/v1/evaluations/jobs/{'{own}'}"),
        ("PATCH", "/api/v1/evaluations/collections/c"),
        ("GET", "/api/v1/evaluations/jobs"),
        ("GET", "/api/v1/evaluations/jobs/another"),
        ("GET", "/api/v1/evaluations/jobs/another/logs"),
        ("PUT", "/api/v1/evaluations/jobs/another/benchmarks/0/samples"),
        ("PUT", "/callback/token/api/v1/evaluations/jobs/another/benchmarks/0/artifacts?name=a"),
        ("PUT", f"/api/v1/evaluations/jobs/{'{own}'}/benchmarks/0/logs"),
        ("PUT", f"/api/v1/evaluations/jobs/{'{own}'}"),
        ("POST", f"/api/v1/evaluations/jobs/{'{own}'}/benchmarks/0/samples"),
    ],
)
def test_requests_for_other_jobs_are_refused(full: Full, server: AnsweringServer, method: str, path: str):
    answer = full.sidecar.call(method, path.replace("{own}", full.pod.job_id), {})
    assert answer.refusal == (403, "not_this_job")
    assert server.requests == []


def test_the_own_job_and_public_resources_can_be_read(full: Full, server: AnsweringServer):
    server.answer = lambda _: OK
    for path in (f"jobs/{Pod.job_id}", f"jobs/{Pod.job_id}/logs?tail_lines=5", "providers", "collections/c"):
        assert full.sidecar.call("GET", f"/api/v1/evaluations/{path}").status == 200
    assert authorizations(server) == [["Bearer pod-token"]] * 4


def test_the_kubelet_can_probe_the_pods_address(pod: Pod, server: AnsweringServer):
    with pod.sidecar(server.url) as sidecar:
        listening = {
            c.laddr.ip for c in psutil.Process(sidecar.pid).net_connections() if c.status == "LISTEN"
        }
    assert "0.0.0.0" in listening


@pytest.mark.parametrize(
    "path",
    [
        "/api/2.0/mlflow/runs/create",
        "/api/3.0/mlflow/x?y=z",
        "/api/2.0/mlflow-artifacts/a",
        "/api/2.0/mlflow",
    ],
)
def test_mlflow_requests_are_sent_with_the_trackers_token(full: Full, path: str):
    assert full.sidecar.call("POST", path, {}, {"X-MLFLOW-WORKSPACE": "red"}).status == 200
    (received,) = full.tracker.requests
    assert received.path == f"/base{path}"
    assert received.header("Authorization") == ["Basic dTpw"]
    assert received.header("X-MLFLOW-WORKSPACE") == ["red"]


def test_mlflow_requests_without_a_tracker_have_no_route(
    pod: Pod, server: AnsweringServer, model: AnsweringServer
):
    with pod.sidecar(server.url, model={"url": model.url}) as sidecar:
        answer = sidecar.call("POST", "/api/2.0/mlflow/runs/create", {})
    assert answer.refusal == (400, "no_route")
    assert model.requests == []


def asked(full: Full, header: str | None) -> int:
    """The status of a request to the model with this header."""
    headers = {} if header is None else {"Authorization": header}
    return full.sidecar.call("POST", "/v1/chat/completions?a=b", {}, headers).status


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer ", "bearer   "])
def test_a_request_without_a_token_gets_the_pods_token(full: Full, header: str | None):
    assert asked(full, header) == 200
    assert authorizations(full.model) == [["Bearer pod-token"]]
    assert full.model.requests[0].path == "/v1/chat/completions?a=b"


@pytest.mark.parametrize("header", ["Bearer sk-own", "Basic dTpw", "Bearer refer"])
def test_a_token_of_the_adapter_is_kept(full: Full, header: str):
    assert asked(full, header) == 200
    assert authorizations(full.model) == [[header]]


def test_a_reference_is_replaced_by_the_credential(full: Full):
    assert asked(full, "Bearer api-key:ref") == 200
    assert authorizations(full.model) == [["Bearer sk-real"]]


def test_a_prefixed_reference_selects_its_host(full: Full):
    for key in ("judge_api-key", "own_sa_token"):
        assert asked(full, f"Bearer {key}:ref") == 200
    assert authorizations(full.judge) == [["Bearer sk-judge"], ["Bearer pod-token"]]
    assert full.judge.requests[0].path == "/v1/chat/completions?a=b"
    assert full.model.requests == []


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("nope_api-key", "no credential 'nope_api-key'"),
        ("hf-token", "no credential 'hf-token'"),
        ("empty_api-key", "'empty_api-key' of the model's secret is empty"),
        ("lost_api-key", "no http or https address 'lost_url'"),
        ("odd_api-key", "no http or https address 'odd_url'"),
        ("../token", "no credential '../token'"),
        ("", "no credential ''"),
    ],
)
def test_a_reference_to_a_missing_credential_is_refused(full: Full, key: str, problem: str):
    answer = full.sidecar.call("GET", "/v1/models", headers={"Authorization": f"Bearer {key}:ref"})
    assert answer.refusal == (400, "invalid_credential_reference")
    assert problem in answer.body["message"]
    assert full.model.requests == full.judge.requests == []


def sent_without_a_token(pod: Pod, model: AnsweringServer, **config: Any) -> list[list[str]]:
    with pod.sidecar("http://localhost:1", model={"url": model.url, **config}) as sidecar:
        assert sidecar.call("GET", "/v1/models").status == 200
    return authorizations(model)


@pytest.mark.parametrize("hosts", [["elsewhere.test"], ["localhost"]], ids=["another", "without TLS"])
def test_with_a_list_of_hosts_others_do_not_get_the_pods_token(
    pod: Pod, model: AnsweringServer, hosts: list[str]
):
    assert sent_without_a_token(pod, model, sa_token_hosts=hosts) == [[]]


def test_a_listed_host_gets_the_pods_token_over_tls(pod: Pod, tls_server: AnsweringServer):
    sent = sent_without_a_token(pod, tls_server, sa_token_hosts=["LOCALHOST"], insecure_skip_verify=True)
    assert sent == [["Bearer pod-token"]]


def test_without_a_model_the_rest_has_no_route(pod: Pod, server: AnsweringServer):
    with pod.sidecar(server.url) as sidecar:
        assert sidecar.call("GET", "/v1/models").body["message_code"] == "no_route"


def event(**fields: Any) -> dict[str, Any]:
    return {"benchmark_status_event": {"id": "b", "status": "running", **fields}}


@pytest.mark.parametrize(
    "sent", [{}, {"job_meta": {"resolved_sha": "a lie", "other": 1}}, {"job_meta": None}]
)
def test_events_carry_the_revision_that_the_init_program_recorded(
    pod: Pod, server: AnsweringServer, sent: dict[str, Any]
):
    (pod.folder / "revision").write_text("0123abc\n")
    with pod.sidecar(server.url, init_container={"is_git_job": True}) as sidecar:
        assert sidecar.call("POST", pod.events, event(**sent)).status == 204
    (told,) = events_in(server.requests)
    assert told["job_meta"]["resolved_sha"] == "0123abc"
    assert told["status"] == "running"


def test_without_a_recorded_revision_the_adapters_value_is_removed(pod: Pod, server: AnsweringServer):
    with pod.sidecar(server.url, init_container={"is_git_job": True}) as sidecar:
        sidecar.call("POST", pod.events, event(job_meta={"resolved_sha": "a lie"}))
        assert sidecar.call("POST", pod.events, b"no json").status == 204
    assert server.requests[0].document == event(job_meta={})
    assert server.requests[1].body == b"no json"


def test_events_of_jobs_without_fetched_data_are_unchanged(pod: Pod, server: AnsweringServer):
    body = b'{ "benchmark_status_event": {"job_meta": {"resolved_sha": "mine"}} }'
    with pod.sidecar(server.url) as sidecar:
        sidecar.call("POST", pod.events, body)
    assert server.requests[0].body == body


class FakeRegistry:
    """A stand-in for a registry that requires a token and accepts uploads to one repository."""

    def __init__(self, scheme: str = "Bearer", realm: str = "") -> None:
        self.scheme = scheme
        self.realm = realm
        self.token_requests: list[str] = []
        self.upstream = AnsweringServer(self.answer)

    def answer(self, received: Request) -> Reply:
        url = self.upstream.url
        if received.path.startswith("/token"):
            self.token_requests.append(received.path)
            if received.header("Authorization") != [f"Basic {base64.b64encode(b'me:pw').decode()}"]:
                return Reply(403)
            return Reply(200, json.dumps({"token": "granted", "expires_in": 300}).encode())
        wanted = (
            "Bearer granted" if self.scheme == "Bearer" else f"Basic {base64.b64encode(b'me:pw').decode()}"
        )
        if received.header("Authorization") != [wanted]:
            challenge = f'{self.scheme} realm="{self.realm or f"{url}/token"}",service="registry"'
            return Reply(401, b"", {"WWW-Authenticate": challenge})
        location = {
            "relative": "/v2/org/repo/blobs/uploads/1",
            "absolute": f"{url}/v2/org/repo/blobs/uploads/1?a=b",
        }
        kind = "relative" if "relative" in received.path else "absolute"
        return Reply(
            202, b"", {"Location": location[kind], "WWW-Authenticate": "x", "Docker-Upload-UUID": "1"}
        )


@pytest.fixture
def exporting(pod: Pod) -> Pod:
    """A pod whose job exports to a registry; its host is filled in by :func:`to`."""
    auths = {"https://LOCALHOST:{port}/v1/": {"auth": base64.b64encode(b"me:pw").decode()}}
    (pod.folder / "auths.json").write_text(json.dumps({"auths": auths}))
    return pod


def to(pod: Pod, registry: FakeRegistry) -> None:
    text = (pod.folder / "auths.json").read_text().replace("{port}", str(registry.upstream.port))
    (pod.folder / "docker.json").write_text(text)
    coordinates = {"oci_host": registry.upstream.url, "oci_repository": "org/repo"}
    pod.job(exports={"oci": {"coordinates": coordinates}})


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
def test_a_push_is_sent_with_the_registrys_token(exporting: Pod, server: AnsweringServer, scheme: str):
    registry = FakeRegistry(scheme)
    to(exporting, registry)
    with registry.upstream, exporting.sidecar(server.url) as sidecar:
        for _ in range(2):
            answer = sidecar.call("POST", "/v2/org/repo/blobs/uploads/", b"blob")
            assert answer.status == 202
            assert (
                answer.headers["location"]
                == f"http://127.0.0.1:{sidecar.port}/v2/org/repo/blobs/uploads/1?a=b"
            )
            assert answer.headers["docker-upload-uuid"] == "1"
            assert "www-authenticate" not in answer.headers
        relative = sidecar.call("POST", "/org/repo/relative", b"blob", {"Authorization": "Bearer adapter"})
        assert relative.headers["location"] == "/v2/org/repo/blobs/uploads/1"
    scope = "/token?service=registry&scope=repository:org/repo:pull,push"
    assert registry.token_requests == ([scope] if scheme == "Bearer" else []), (
        "one login serves many requests"
    )
    assert registry.upstream.requests[-1].body == b"blob"


def test_a_token_server_of_another_domain_gets_no_credentials(exporting: Pod, server: AnsweringServer):
    registry = FakeRegistry(realm="http://tokens.elsewhere.test/token")
    to(exporting, registry)
    with registry.upstream, exporting.sidecar(server.url) as sidecar:
        answer = sidecar.call("POST", "/v2/org/repo/blobs/uploads/", b"blob")
    assert answer.refusal == (502, "bad_gateway")
    assert (
        "it wants credentials sent to tokens.elsewhere.test, which is of another domain"
        in answer.body["message"]
    )
    allowed = {"allowed_realms": ["tokens.elsewhere.test"]}
    with registry.upstream, exporting.sidecar(server.url, oci=allowed) as sidecar:
        answer = sidecar.call("POST", "/v2/org/repo/blobs/uploads/", b"blob")
    assert "its name is not known" in answer.body["message"]


def test_other_repositories_have_no_route(exporting: Pod, server: AnsweringServer, model: AnsweringServer):
    registry = FakeRegistry()
    to(exporting, registry)
    with registry.upstream, exporting.sidecar(server.url, model={"url": model.url}) as sidecar:
        for path in ("/v2/org/other/blobs/uploads/", "/v2/", "/v2/org/repository/x"):
            assert sidecar.call("POST", path, b"blob").status == 200
    assert registry.upstream.requests == []
    assert len(model.requests) == 3


def test_a_registry_that_refuses_the_login_is_a_bad_gateway(exporting: Pod, server: AnsweringServer):
    registry = FakeRegistry()
    to(exporting, registry)
    (exporting.folder / "docker.json").unlink()
    with registry.upstream, exporting.sidecar(server.url) as sidecar:
        answer = sidecar.call("POST", "/v2/org/repo/blobs/uploads/", b"blob")
    assert answer.status == 502
    assert "the registry: it refused to log in with 403" in answer.body["message"]


def test_a_broken_configuration_is_reported_in_the_termination_message(pod: Pod, server: AnsweringServer):
    (pod.folder / "job.json").write_text("{}")
    sidecar = pod.sidecar(server.url)
    with pytest.raises(AssertionError, match="the sidecar ended with 1"):
        sidecar.start()
    assert (
        pod.folder / "message"
    ).read_text() == f"{pod.folder}/job.json: the job's specification has no id."

"""The HTTP client with servers that fail or are not MLflow: each failure is one readable error."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalhub_server.errors import ApiError, ExportRefused
from evalhub_server.models.job import Experiment, JobRequest
from evalhub_server.plugins import PluginContext
from evalhub_server.plugins.sections import Duration
from evalhub_server.testing.builders import a_job
from evalhub_tracking_mlflow.client import Client, MlflowError
from evalhub_tracking_mlflow.credentials import Credentials
from evalhub_tracking_mlflow.experiments import Experiments
from evalhub_tracking_mlflow.plugin import make_tracker
from evalhub_tracking_mlflow.settings import MlflowSettings, tls_context
from evalhub_tracking_mlflow.workspaces import Workspaces
from harness import free_port
from harness.answering import AnsweringServer, Reply, Request
from harness.certificates import certificate
from harness.proxy import RunningProxy

BODY = b'{"error_code": "INTERNAL_ERROR",\n "message": "bad"}'


class Stranger:
    """A server with the paths ``/echo`` (returns the headers), ``/STATUS`` (that status) and ``/hang`` (waits for :attr:`released`)."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def __call__(self, request: Request) -> Reply:
        word = request.path.strip("/").partition("?")[0]
        if word == "hang":
            self.released.wait(30)
        if word == "echo":
            return Reply(
                body=json.dumps({name.lower(): value for name, value in request.headers.items()}).encode()
            )
        return Reply(int(word) if word.isdecimal() else 200, body=BODY)


@pytest.fixture
def server() -> Iterator[AnsweringServer]:
    stranger = Stranger()
    with AnsweringServer(stranger) as made:
        yield made
        stranger.released.set()


def at(url: str, **settings: Any) -> Client:
    made = MlflowSettings(tracking_uri=url, **settings)
    return Client(Credentials(made), made.http_timeout, tls_context(made))


def client_of(port: int, scheme: str = "http", **settings: Any) -> Client:
    return at(f"{scheme}://127.0.0.1:{port}", **settings)


async def failure(client: Client, path: str) -> MlflowError:
    try:
        with pytest.raises(MlflowError) as caught:
            await client.get(path, dict[str, int])
    finally:
        await client.close()
    return caught.value


async def test_a_refusal_has_status_code_and_text(server: AnsweringServer):
    error = await failure(client_of(server.port), "/500")
    assert (error.status, error.code, str(error)) == (
        500,
        "INTERNAL_ERROR",
        "GET /500: 500 INTERNAL_ERROR bad",
    )


async def test_an_answer_that_is_not_mlflows_is_an_error(server: AnsweringServer):
    assert "not a response of MLflow" in str(await failure(client_of(server.port), "/200"))


async def test_a_server_that_does_not_answer_in_time_is_an_error(server: AnsweringServer):
    client = client_of(server.port, http_timeout=Duration(0.05))
    assert str(await failure(client, "/hang")) == "GET /hang: no answer within 0.05 seconds"


async def test_a_server_that_is_down_is_an_error(tmp_path: Path):
    error = await failure(client_of(free_port()), "/x")
    assert error.status == 0
    assert "Cannot connect" in str(error)


async def test_a_token_file_that_cannot_be_read_is_an_error(server: AnsweringServer, tmp_path: Path):
    error = await failure(client_of(server.port, token_path=str(tmp_path / "nothing")), "/echo")
    assert "No such file" in str(error)


async def test_requests_carry_token_and_workspace(server: AnsweringServer):
    client = client_of(server.port, token="secret")
    sent = await client.get("/echo", dict[str, str], workspace="team-a")
    assert (sent["authorization"], sent["x-mlflow-workspace"]) == ("Bearer secret", "team-a")
    assert "x-mlflow-workspace" not in await client.get("/echo", dict[str, str])
    await client.close()


async def test_the_certificates_that_the_settings_name_are_trusted_and_no_others(
    tmp_path: Path,
):
    tls = certificate(tmp_path)
    with AnsweringServer(Stranger(), tls=tls) as server:
        trusting = client_of(server.port, "https", ca_cert_path=str(tls.crt))
        assert "user-agent" in await trusting.get("/echo", dict[str, str])
        await trusting.close()
        assert "certificate" in str(await failure(client_of(server.port, "https"), "/echo"))


async def test_while_mlflow_is_down_experiments_are_refused_and_exports_retried():
    tracker = make_tracker(MlflowSettings(tracking_uri=f"http://127.0.0.1:{free_port()}"), PluginContext())
    await tracker.check()
    request = JobRequest(name="j", experiment=Experiment(name="e"))
    with pytest.raises(ApiError) as caught:
        await tracker.resolve_experiment(request, "j", "")
    assert (caught.value.status, caught.value.code) == (400, "mlflow_request_failed")
    assert caught.value.message.startswith("The MLflow request failed: 'GET /api/3.0/mlflow/server-info: ")
    with pytest.raises(MlflowError):
        await tracker.record(a_job(experiment_id="7", tracker="mlflow"))
    with pytest.raises(ExportRefused):
        await tracker.record(a_job())
    assert "MLFLOW_WORKSPACE" not in tracker.environment("team-a")
    await tracker.close()


async def test_closing_an_unused_client_does_nothing():
    await client_of(1).close()


async def test_an_mlflow_that_refuses_the_token_has_not_said_that_it_has_no_workspaces():
    answers = [Reply(401), Reply(body=b'{"workspaces_enabled": true}')]
    with AnsweringServer(lambda _: answers.pop(0)) as server:
        client = client_of(server.port)
        workspaces = Workspaces(client, "")
        with pytest.raises(MlflowError, match="401"):
            await workspaces.of("team-a")
        assert await workspaces.of("team-a") == "team-a"
        await client.close()


async def test_an_mlflow_that_does_not_know_the_question_has_no_workspaces():
    with AnsweringServer(lambda _: Reply(404)) as server:
        client = client_of(server.port)
        workspaces = Workspaces(client, "own")
        assert [await workspaces.of(tenant) for tenant in ("team-a", "")] == ["", ""]
        assert len(server.requests) == 1
        await client.close()


async def test_lookups_do_not_wait_for_each_other_while_mlflow_hangs():
    released = threading.Event()

    def answer(request: Request) -> Reply:
        released.wait(30)
        return Reply(body=b'{"experiment": {"experiment_id": "7"}}')

    with AnsweringServer(answer) as server:
        client = client_of(server.port)
        experiments = Experiments(client)
        asked = [asyncio.create_task(experiments.resolve("e", {}, "", "")) for _ in range(5)]
        await asyncio.to_thread(server.until, 5)
        released.set()
        assert await asyncio.gather(*asked) == ["7"] * 5
        await client.close()


async def test_the_proxy_of_the_environment_is_used_where_it_is_for(
    server: AnsweringServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    tls = certificate(tmp_path, "mlflow", "DNS:safe.mlflow.test")
    with (
        AnsweringServer(lambda _: Reply(body=b"{}"), tls=tls) as safe,
        RunningProxy({"mlflow.test": server.port, "safe.mlflow.test": safe.port}, "me:p@ss") as proxy,
    ):
        for name, value in proxy.environment("me:p%40ss").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("no_proxy", "other.test,.near.test")
        plain = at("http://mlflow.test", token="of-mlflow")
        headers = await plain.get("/echo", dict[str, str])
        tunnelled = at("https://safe.mlflow.test", ca_cert_path=str(tls.crt))
        await tunnelled.get("/x", dict[str, str])
        here, near = client_of(server.port), at("http://mlflow.near.test:1")
        await here.get("/echo", dict[str, str])
        with pytest.raises(MlflowError, match=r"mlflow\.near\.test"):
            await near.get("/echo", dict[str, str])
        for client in (plain, tunnelled, here, near):
            await client.close()
    assert proxy.requests == ["GET http://mlflow.test/echo", "CONNECT safe.mlflow.test:443"]
    assert headers["authorization"] == "Bearer of-mlflow"
    assert "proxy-authorization" not in headers
    assert safe.requests[0].header("Proxy-Authorization") == []


async def test_a_proxy_that_refuses_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch):
    with RunningProxy({}, "me:right") as proxy:
        for name, value in proxy.environment("me:wrong").items():
            monkeypatch.setenv(name, value)
        for url in ("http://mlflow.test", "https://mlflow.test"):
            client = at(url)
            with pytest.raises(MlflowError, match="407") as failed:
                await client.get("/x", dict[str, str])
            assert "wrong" not in str(failed.value)
            await client.close()


async def test_an_invalid_proxy_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "socks5://me:secret@proxy.test:1080")
    monkeypatch.setenv("no_proxy", "")
    client = at("http://mlflow.test")
    with pytest.raises(MlflowError, match=r"the proxy 'socks5://proxy\.test:1080'"):
        await client.get("/x", dict[str, str])
    await client.close()

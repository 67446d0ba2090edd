"""The Python client against a real server: calls, errors and following."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest

from evalhub_server.client import (
    Client,
    InvalidServerUrl,
    NotAuthorized,
    ResourceNotFound,
    ResponseError,
    Unreachable,
    Unsupported,
)
from evalhub_server.client.event_stream import read_events
from harness import Config, RunningServer, free_port
from harness.answering import AnsweringServer, Reply
from harness.config import steps_command
from harness.released import ReleasedServer, error


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("client")
    config = Config(folder)
    config.provider("sleep 600 # waits for the test's own events", "b")
    config.provider(steps_command("say:hello", "completed"), "quick", provider_id="quick")
    with RunningServer(config.folder, data_dir=folder / "data") as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Client:
    return Client(f"http://localhost:{server.port}")


def request(**fields: Any) -> dict[str, Any]:
    return {
        "name": "mine",
        "model": {"name": "m", "url": "http://model.test/v1"},
        "benchmarks": [{"id": "quick", "provider_id": "quick"}],
        **fields,
    }


def test_a_job_is_created_waited_for_listed_and_read(client: Client):
    created = client.jobs.create(request(name="listed"))
    job = client.jobs.wait(created["resource"]["id"])
    assert job["status"]["state"] == "completed"
    assert job == client.jobs.get(job["resource"]["id"])
    assert [each["name"] for each in client.jobs.iterate(name="listed")] == ["listed"]
    assert client.jobs.list(name="listed", status=["failed", "completed"])["total_count"] == 1
    assert "hello" in "".join(client.jobs.logs(job["resource"]["id"], 0))


def test_waiting_for_samples_ends_when_they_are_stored():
    cancelled = {"status": "cancelled"}
    steps = [
        {},
        {},
        {"samples": {}},
        {"samples": {"state": "pending"}},
        {"samples": {"state": "stored", "count": 3}},
    ]

    def next_step(_: Any) -> Reply:
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        benchmarks = [{"status": "completed", **step}, {"status": "failed"}, cancelled]
        body = {"resource": {"id": "j"}, "status": {"state": "partially_failed", "benchmarks": benchmarks}}
        return Reply(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    with AnsweringServer(next_step) as server:
        jobs = Client(server.url).jobs
        job = jobs.wait("j", samples_timeout_s=30)
        assert job["status"]["benchmarks"][0]["samples"]["count"] == 3
        steps[:] = [{"samples": {"state": "pending"}}]
        assert "count" not in jobs.wait("j", samples_timeout_s=0.3)["status"]["benchmarks"][0]["samples"]


def test_samples_of_a_real_job_are_waited_for(client: Client):
    job_id = client.jobs.create(request())["resource"]["id"]
    job = client.jobs.wait(job_id, samples_timeout_s=60)
    assert job["status"]["benchmarks"][0]["samples"]["state"] == "none"


def test_following_yields_each_change_and_ends_with_the_job(client: Client, server: RunningServer):
    job_id = server.submit("b")
    states: list[str] = []
    for job in client.jobs.follow(job_id):
        states.append(job["status"]["benchmarks"][0]["status"])
        if states[-1] == "pending":
            server.report(job_id, "running")
        elif len(states) < 4:
            server.report(job_id, "completed", metrics={"acc": 1})
    assert states[-1] == "completed"
    assert "running" in states


def test_following_outlasts_a_server_that_is_unavailable(server: RunningServer):
    job_id = server.submit("b")
    answers = {"jobs": 0}

    def forward(received: Any) -> Reply | None:
        answers["jobs"] += 1
        if answers["jobs"] == 1:
            return None
        if answers["jobs"] == 2:
            return error(503, "server_stopping", "The server is stopping.")
        server.report(job_id, "completed", metrics={"acc": 1})
        answer = server.call("GET", received.path)
        return Reply(200, json.dumps(answer.body).encode(), {"Content-Type": "application/json"})

    with AnsweringServer(forward) as between:
        job = list(Client(between.url).jobs.follow(job_id))[-1]
    assert job["status"]["state"] == "completed"
    assert answers["jobs"] == 3


def test_patience_with_an_unavailable_server_is_limited():
    with pytest.raises(Unreachable, match="cannot be reached"):
        list(Client(f"http://localhost:{free_port()}").jobs.follow("x", patience_s=0))


def test_errors_have_types_codes_and_fields(client: Client):
    with pytest.raises(ResourceNotFound, match="'nope' was not found") as missing:
        client.jobs.get("nope")
    assert (missing.value.status, missing.value.message_code) == (404, "resource_not_found")
    with pytest.raises(ResponseError) as refused:
        client.jobs.create(request(model={"name": "", "url": "x"}))
    assert refused.value.status == 400
    assert [each.path for each in refused.value.errors]


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://x:99999"])
def test_addresses_other_than_http_are_refused(url: str):
    with pytest.raises(InvalidServerUrl, match="not the http or https URL"):
        Client(url)


def test_a_token_that_no_header_can_have_is_refused():
    with pytest.raises(InvalidServerUrl, match="Authorization"):
        Client("http://x", token="a\nb")


def test_token_and_tenant_are_sent_and_never_to_the_target_of_a_redirect():
    with (
        AnsweringServer() as other,
        AnsweringServer(lambda _: Reply(307, b"", {"Location": other.url})) as redirecting,
    ):
        client = Client(f"{redirecting.url}/prefix/", token="t", tenant="team")
        with pytest.raises(ResponseError, match=f"redirects to {other.url}"):
            client.jobs.get("a/b")
        assert redirecting.requests[0].path == "/prefix/api/v1/evaluations/jobs/a%2Fb"
        assert redirecting.requests[0].header("Authorization") == ["Bearer t"]
        assert redirecting.requests[0].header("X-Tenant") == ["team"]
        assert other.requests == []


def test_the_client_is_configured_by_the_environment():
    with AnsweringServer(lambda _: error(401, "unauthorized", "no")) as refusing:
        client = Client.from_environment({"EVALHUB_BASE_URL": refusing.url, "EVALHUB_TOKEN": " t "})
        with pytest.raises(NotAuthorized, match="no"):
            client.providers.list()
        assert refusing.requests[0].header("Authorization") == ["Bearer t"]


def test_routes_and_filters_of_an_older_server_are_reported_as_unsupported():
    with AnsweringServer(ReleasedServer()) as released:
        client = Client(released.url)
        for call in (
            lambda: client.jobs.rerun("x"),
            client.baselines.list,
            lambda: client.compare("a", ["b"]),
            lambda: client.leaderboard("c"),
            lambda: client.samples.list("x", 0),
            lambda: b"".join(client.export()),
            lambda: list(client.jobs.stream("x")),
        ):
            with pytest.raises(Unsupported, match=r"has no (GET|POST) /api/v1/evaluations/"):
                call()
        with pytest.raises(Unsupported, match="parameter 'model_name'"):
            client.jobs.list(model_name="m")


def test_an_older_server_without_long_polls_is_polled():
    with AnsweringServer(ReleasedServer(reads=2)) as released:
        client = Client(released.url)
        job_id = client.jobs.create(request())["resource"]["id"]
        assert [job["status"]["state"] for job in client.jobs.follow(job_id)] == ["running", "completed"]
        assert "".join(client.jobs.follow_logs(job_id, 0)) == "first\nsecond\n"


def test_the_page_of_a_proxy_is_no_answer_of_a_server():
    with AnsweringServer(lambda _: Reply(200, b"<html>")) as proxy:
        assert not Client(proxy.url).is_healthy()
        with pytest.raises(Unreachable, match="not JSON"):
            Client(proxy.url).jobs.get("x")


def test_events_are_read_across_chunks():
    text = 'id: 1\nevent: job\ndata: {"a":\ndata: 1}\n\n: heartbeat\n\nevent: end\ndata: {"b": "é"}\n\nevent: cut'.encode()
    events = list(read_events(text[i : i + 3] for i in range(0, len(text), 3)))
    assert [tuple(event) for event in events] == [("job", {"a": 1}, "1"), ("end", {"b": "é"}, "")]


def test_importing_the_client_imports_no_server():
    program = (
        "import sys, evalhub_server.client\n"
        "heavy = {'litestar', 'uvicorn', 'aiohttp', 'asyncio', 'pandas', 'rich', 'structlog'}\n"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_several_threads_can_use_one_client(client: Client):
    found: list[int] = []
    threads = [Thread(target=lambda: found.append(client.jobs.list()["total_count"])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4

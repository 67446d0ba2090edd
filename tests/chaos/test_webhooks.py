"""Webhooks of a server process, with outages of the endpoint and restarts of the server."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from harness import Config, RunningServer, wait_until
from harness.answering import Request
from harness.receiver import Receiver

pytestmark = pytest.mark.slow

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ...").decode()
ALL = ["job.created", "job.running", "job.completed", "job.failed", "job.cancelled", "job.deleted"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def a_server(tmp_path: Path, receiver: Receiver, *steps: str, **webhook: Any) -> RunningServer:
    section = {"url": receiver.hook, "events": ALL, "allow_private_addresses": True, **webhook}
    config = Config(
        tmp_path / "config",
        webhook=section,
        finalizer={"retry_most": "1s"},
        env_mappings={"HOOK_SECRET": "webhook.secret"},
    )
    config.scripted(*steps)
    return RunningServer(config.folder, data_dir=tmp_path / "data", env={"HOOK_SECRET": SECRET})


def verified(requests: list[Request]) -> list[Any]:
    """The messages without repeats, which have equal ids. Asserts that each is signed."""
    documents = {got.headers["webhook-id"]: Webhook(SECRET).verify(got.body, got.headers) for got in requests}
    return list(documents.values())


def types(requests: list[Request]) -> list[str]:
    return [document["type"] for document in verified(requests)]


def test_every_event_is_sent_in_order_and_is_not_visible_to_clients(tmp_path: Path, receiver: Receiver):
    with a_server(tmp_path, receiver, "running", "env:HOOK_SECRET", "completed") as server:
        job_id = server.submit()
        job = server.finished(job_id)
        receiver.until(3)
        adapter_saw = server.logs(job_id)
        server.call("DELETE", f"/api/v1/evaluations/jobs/{job_id}?hard_delete=true")
        requests = receiver.until(4)
        log = server.log_text()
    assert types(requests) == ["job.created", "job.running", "job.completed", "job.deleted"]
    assert {document["data"]["id"] for document in verified(requests)} == {job_id}
    assert verified(requests)[2]["timestamp"] == job["resource"]["updated_at"]
    assert "exports" not in job["results"]
    assert SECRET not in log + adapter_saw
    assert "HOOK_SECRET=None" in adapter_saw


def test_events_missed_by_an_unavailable_endpoint_are_sent_in_order_after_a_restart(
    tmp_path: Path, receiver: Receiver
):
    receiver.stop()
    with a_server(tmp_path, receiver, "running", "completed") as server:
        job_id = server.submit()
        server.finished(job_id)
        wait_until(lambda: "Export failed" in server.log_text(), "a try that fails")
        server.kill()
        receiver.start()
        server.start()
        requests = receiver.until(3)
        assert types(requests) == ["job.created", "job.running", "job.completed"]
        assert {document["data"]["state"] for document in verified(requests)} == {"completed"}


def test_a_message_that_is_refused_is_repeated_with_its_id(tmp_path: Path, receiver: Receiver):
    receiver.status = 503
    with a_server(tmp_path, receiver, "completed", events=["job.completed"]) as server:
        server.submit()
        receiver.until(2)
        receiver.status = 200
        requests = receiver.until(3)
    assert len({request.headers["webhook-id"] for request in requests}) == 1


def test_only_selected_events_are_sent_and_by_default_the_terminal_ones(tmp_path: Path, receiver: Receiver):
    config = Config(
        tmp_path / "config",
        webhook={"url": receiver.hook, "secret": SECRET, "allow_private_addresses": True},
    )
    config.scripted("running", "hang")
    config.scripted("running", "completed", provider_id="quick")
    with RunningServer(config.folder) as server:
        cancelled, completed = server.submit(), server.submit(provider="quick")
        server.in_state(cancelled, "running")
        server.call("DELETE", f"/api/v1/evaluations/jobs/{cancelled}")
        server.finished(completed)
        requests = receiver.until(2)
    assert {(d["data"]["id"], d["type"]) for d in verified(requests)} == {
        (cancelled, "job.cancelled"),
        (completed, "job.completed"),
    }


def test_a_name_that_resolves_to_this_computer_is_refused(tmp_path: Path, receiver: Receiver):
    url = f"http://localhost:{receiver.port}/hook"
    with a_server(tmp_path, receiver, "completed", url=url, allow_private_addresses=False) as server:
        server.finished(server.submit())
        wait_until(
            lambda: "which is not public; to allow it, set webhook.allow_private" in server.log_text(),
            "the refusal",
        )
    assert receiver.requests == []

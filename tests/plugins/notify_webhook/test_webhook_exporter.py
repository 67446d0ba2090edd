"""The webhook exporter with a real endpoint: messages, deliveries and refused addresses."""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from evalhub_common.backoff import Backoff
from evalhub_notify_webhook import exporter
from evalhub_notify_webhook.exporter import DeliveryError, WebhookExporter
from evalhub_notify_webhook.settings import WebhookSettings
from evalhub_server.domain.record import with_changes
from evalhub_server.errors import SettingsError
from evalhub_server.models.common import State
from evalhub_server.plugins import Exporter, ExportRefused, OutboxEntry, PluginContext, Timespan
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.testing.builders import EPOCH, a_job
from harness.answering import AnsweringServer, Reply
from harness.certificates import certificate
from harness.proxy import RunningProxy
from harness.receiver import Receiver

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ...").decode()
OTHER = "whsec_" + base64.b64encode(b"another one of thirty-two bytes.").decode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def an_exporter(url: str, **settings: Any) -> WebhookExporter:
    settings = {"secret": SECRET, "allow_private_addresses": True, **settings}
    return WebhookExporter(WebhookSettings(url=url, **settings))


async def posted(url: str, **settings: Any) -> None:
    await an_exporter(url, **settings).export(a_job(), owed())


def owed(event: str = "job.completed", revision: int = 1) -> OutboxEntry:
    return OutboxEntry(
        kind="exporter", name="webhook", event=event, since=EPOCH, requested=False, revision=revision
    )


async def test_a_message_is_signed_and_describes_the_event(receiver: Receiver):
    job = a_job(name="nightly", tags=("a",), state=State.COMPLETED, tenant="blue")
    outcome = await an_exporter(receiver.hook).export(job, owed())
    (got,) = receiver.requests
    document = Webhook(SECRET).verify(got.body, got.headers)
    assert got.headers["content-type"] == "application/json"
    assert got.headers["webhook-id"] == outcome.reference
    assert (document["type"], document["timestamp"]) == ("job.completed", "2026-01-01T00:00:00Z")
    assert document["data"] == {
        "id": job.id,
        "href": f"/api/v1/evaluations/jobs/{job.id}",
        "name": "nightly",
        "tenant": "blue",
        "tags": ["a"],
        "model_name": "a-model",
        "created_at": document["data"]["created_at"],
        "updated_at": document["data"]["updated_at"],
        "state": "completed",
        "message": {
            "message": "Evaluation job created",
            "message_code": "evaluation_job_created",
            "message_origin": "server",
        },
        "benchmarks": [
            {"id": "bench-0", "provider_id": "provider-a", "benchmark_index": 0, "status": "pending"}
        ],
    }


async def test_a_repeat_has_the_same_id_and_another_message_another(receiver: Receiver):
    sender, job = an_exporter(receiver.hook), a_job()
    for debt in (owed(), owed(), owed(revision=2), owed("job.running")):
        await sender.export(job, debt)
    first, again, anew, other = (request.headers["webhook-id"] for request in receiver.requests)
    assert first == again
    assert len({first, anew, other}) == 3


async def test_the_file_is_read_for_every_message_and_may_have_two_secrets(
    receiver: Receiver, tmp_path: Path
):
    file = tmp_path / "secret"
    sender = an_exporter(receiver.hook, secret="", secret_path=str(file))
    file.write_text(f"{SECRET}\n", "utf-8")
    await sender.export(a_job(), owed())
    file.write_text(f"{OTHER}\n{SECRET}\n", "utf-8")
    await sender.export(a_job(), owed())
    before, after = receiver.requests
    for secret, got in ((SECRET, before), (SECRET, after), (OTHER, after)):
        Webhook(secret).verify(got.body, got.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(before.body, before.headers)


async def test_a_secret_file_that_is_missing_is_said_at_start(tmp_path: Path):
    sender = an_exporter("http://127.0.0.1:1", secret="", secret_path=str(tmp_path / "gone"))
    with pytest.raises(SettingsError, match=r"^webhook\.secret_path: .*gone cannot be read: No such file"):
        await sender.check()


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 429, 500, 503])
async def test_whatever_is_not_a_success_is_tried_again_and_no_redirect_is_followed(
    receiver: Receiver, status: int
):
    with Receiver() as elsewhere:
        receiver.status, receiver.location = status, elsewhere.hook
        with pytest.raises(DeliveryError, match=f"localhost answered {status} instead of 2xx"):
            await posted(receiver.hook)
        assert len(receiver.requests) == 1
        assert elsewhere.requests == []


async def test_an_endpoint_that_is_gone_gets_this_message_no_more(receiver: Receiver):
    receiver.status = 410
    with pytest.raises(ExportRefused, match="answered 410"):
        await posted(receiver.hook)


async def test_an_endpoint_that_is_down_is_tried_again(receiver: Receiver):
    receiver.stop()
    with pytest.raises(DeliveryError, match="localhost cannot be reached"):
        await posted(receiver.hook)


async def test_an_endpoint_that_does_not_answer_in_time_is_tried_again():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(DeliveryError, match=r"127\.0\.0\.1 did not answer within 0\.2 s"):
            await posted(url, http_timeout=Timespan(0.2))


async def test_an_endpoint_with_a_certificate_of_its_own_needs_the_authority_that_is_set(tmp_path: Path):
    tls = certificate(tmp_path, "endpoint")
    with AnsweringServer(lambda request: Reply(204), tls=tls) as endpoint:
        with pytest.raises(DeliveryError, match="localhost cannot be reached"):
            await posted(endpoint.url)
        assert endpoint.requests == []
        await posted(endpoint.url, ca_cert_path=str(tls.crt))
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "127.1", "2130706433", "0.0.0.0"])
async def test_nothing_is_sent_to_this_computer_unless_it_is_allowed(receiver: Receiver, host: str):
    with pytest.raises((SettingsError, ExportRefused), match=rf"{re.escape(host.strip('[]'))} (is|has) "):
        await posted(f"http://{host}:{receiver.port}/hook", allow_private_addresses=False)
    assert receiver.requests == []


async def test_a_message_about_a_deleted_job_has_few_attempts(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(exporter, "RETRY", Backoff(0.0, 0.0))
    receiver.status = 503
    with pytest.raises(DeliveryError, match="503"):
        await an_exporter(receiver.hook, events=("job.deleted",)).job_deleted(a_job())
    assert len(receiver.requests) == 3
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    receiver.status = 204
    await an_exporter(receiver.hook, events=("job.deleted",)).job_deleted(a_job())
    await an_exporter(receiver.hook, events=("job.created",)).job_deleted(a_job())
    assert len(receiver.requests) == 4


async def test_no_proxy_of_the_environment_gets_to_see_a_message(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    with Receiver() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        await posted(receiver.hook)
        assert proxy.requests == []
    assert len(receiver.requests) == 1


async def test_a_proxy_is_used_if_it_shall_be(receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    with RunningProxy({"hooks.test": receiver.port, "hooks.invalid": receiver.port}) as proxy:
        for name, value in proxy.environment().items():
            monkeypatch.setenv(name, value)
        await posted("http://hooks.test/hook", proxy_from_environment=True)
        # A name that only the proxy can resolve, and whose address only the proxy checks.
        await posted("http://hooks.invalid/hook", proxy_from_environment=True, allow_private_addresses=False)
        await posted(receiver.hook, proxy_from_environment=True)  # on this computer
    assert proxy.requests == ["POST http://hooks.test/hook", "POST http://hooks.invalid/hook"]
    assert len(receiver.requests) == 3


async def test_a_proxy_is_no_way_to_an_address_that_is_not_public(monkeypatch: pytest.MonkeyPatch):
    def private(host: str, *_: object, **__: object) -> list[Any]:
        assert host == "inside.test"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 0))]

    with RunningProxy({"inside.test": 9}) as proxy:
        for name, value in proxy.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(socket, "getaddrinfo", private)
        with pytest.raises(ExportRefused, match=r"10\.0\.0\.1, which is not public"):
            await posted(
                "http://inside.test/hook", proxy_from_environment=True, allow_private_addresses=False
            )
    assert proxy.requests == []


def test_changes_owe_the_events_that_are_selected():
    pending = a_job()
    running, failed = with_changes(pending, state=State.RUNNING), with_changes(pending, state=State.FAILED)
    everything = an_exporter(
        "http://a.test", events=("job.created", "job.running", "job.failed", "job.completed")
    )
    assert list(everything.events(None, pending)) == ["job.created"]
    assert list(everything.events(pending, running)) == ["job.running"]
    assert list(everything.events(running, with_changes(running, owner="another"))) == []
    assert list(everything.events(running, failed)) == ["job.failed"]
    assert list(everything.events(failed, with_changes(failed, state=State.COMPLETED))) == ["job.completed"]
    ends = an_exporter("http://a.test")
    assert [
        list(ends.events(*pair)) for pair in ((None, pending), (pending, running), (running, failed))
    ] == [
        [],
        [],
        ["job.failed"],
    ]
    assert not ends.is_requested(failed)


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ({"url": ""}, r"^webhook\.url: is not set"),
        ({"url": "a.test/hook"}, r"^webhook\.url: is not an http or https URL"),
        ({"url": "ftp://a.test"}, r"^webhook\.url: is not an http or https URL"),
        ({"url": "https://a.test:port"}, r"^webhook\.url: is not an http or https URL"),
        ({"url": "https://me:hunter2@a.test"}, r"^webhook\.url: has a user or password"),
        (
            {"url": "http://127.0.0.1:80"},
            r"^webhook\.url: 127\.0\.0\.1 is not a public address; .*allow_private",
        ),
        ({"url": "http://[::ffff:10.0.0.1]"}, r"^webhook\.url: ::ffff:.* is not a public address"),
        ({"secret": ""}, r"^webhook\.secret: messages must be signed"),
        ({"secret_path": "/a/file"}, r"^webhook\.secret: messages must be signed; set either"),
        ({"secret": "hunter2"}, r"^webhook\.secret: expected whsec_"),
        (
            {"events": ["job.done"]},
            r"^webhook\.events: 'job\.done' is not an event; choose from job\.created",
        ),
        ({"http_timeout": "0s"}, r"^webhook\.http_timeout: "),
        ({"ca_cert_path": "/gone.pem"}, r"^webhook\.ca_cert_path: /gone\.pem is not a file"),
    ],
)
def test_an_invalid_section_is_refused(section: dict[str, Any], complaint: str):
    plugins = load_plugins(environ={"EVALHUB_LOAD_PLUGINS": ""})
    whole = {"url": "https://a.test/hook", "secret": SECRET, **section}
    with pytest.raises(SettingsError, match=complaint) as refused:
        plugins.create(Exporter, "webhook", {"webhook": whole}, PluginContext())
    assert "hunter2" not in str(refused.value)


def test_the_repr_has_no_secret():
    assert SECRET not in repr(WebhookSettings(url="https://a.test", secret=SECRET))

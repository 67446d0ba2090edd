"""The spool: no event is lost while the server is unavailable, although the SDK sends each event once."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from evalhub_common.backoff import Backoff
from evalhub_sidecar import spool as spool_module
from evalhub_sidecar.errors import Refused
from evalhub_sidecar.event_files import Event, EventFiles, write_event
from evalhub_sidecar.spool import Answer, Spool
from harness import free_port, wait_until
from harness.answering import AnsweringServer, Reply, Request
from harness.sidecar import Pod, RunningSidecar, events_in


def number(value: int) -> dict[str, object]:
    return {"benchmark_status_event": {"number": value}}


def numbers(requests: list[Request]) -> list[int]:
    return [event["number"] for event in events_in(requests)]


def post(sidecar: RunningSidecar, pod: Pod, value: int) -> int:
    return sidecar.call("POST", pod.events, number(value)).status


def test_events_wait_for_the_server_and_arrive_in_order(pod: Pod):
    port = free_port()
    with pod.sidecar(f"http://localhost:{port}") as sidecar:
        answer = sidecar.call("POST", pod.events, number(1))
        assert answer.refusal == (202, "event_kept")
        assert [post(sidecar, pod, value) for value in (2, 3, 4)] == [202] * 3
        with AnsweringServer(lambda _: Reply(204), port=port) as server:
            wait_until(lambda: len(server.requests) == 4, "all events")
            assert numbers(server.requests) == [1, 2, 3, 4]
            assert {tuple(r.header("Authorization")) for r in server.requests} == {("Bearer pod-token",)}
            wait_until(lambda: not list(pod.spool.glob("*")), "an empty spool")
            assert post(sidecar, pod, 5) == 204, "what comes later gets the server's own answer again"


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_temporary_errors_of_the_server_are_retried(pod: Pod, server: AnsweringServer, status: int):
    broken = True
    server.answer = lambda _: Reply(status if broken else 204)
    with pod.sidecar(server.url) as sidecar:
        assert post(sidecar, pod, 1) == 202
        broken = False
        wait_until(lambda: not list(pod.spool.glob("*.json")), "the event's delivery")
        assert set(numbers(server.requests)) == {1}


@pytest.mark.parametrize("status", [400, 404, 409, 413])
def test_a_refusal_of_the_server_is_returned_to_the_adapter(pod: Pod, server: AnsweringServer, status: int):
    server.answer = lambda _: Reply(status, b'{"message_code": "x"}', {"Content-Type": "application/json"})
    with pod.sidecar(server.url) as sidecar:
        answer = sidecar.call("POST", pod.events, number(1))
        assert (answer.status, answer.body) == (status, {"message_code": "x"})
        assert post(sidecar, pod, 2) == status
    assert numbers(server.requests) == [1, 2]


def test_an_event_that_is_refused_later_does_not_block_the_next(pod: Pod):
    port = free_port()
    with pod.sidecar(f"http://localhost:{port}") as sidecar:
        assert [post(sidecar, pod, value) for value in (1, 2)] == [202, 202]
        with AnsweringServer(lambda r: Reply(409 if b"1" in r.body else 204), port=port) as server:
            wait_until(lambda: numbers(server.requests) == [1, 2], "both events")
    assert {"msg": "Stored event answered", "status": 409, "level": "error"}.items() <= next(
        line for line in sidecar.log_lines() if line["msg"] == "Stored event answered"
    ).items()


def test_shutdown_waits_for_stored_events(pod: Pod):
    port = free_port()
    with pod.sidecar(f"http://localhost:{port}") as sidecar:
        assert post(sidecar, pod, 1) == 202
        assert sidecar.process is not None
        sidecar.process.terminate()
        wait_until(lambda: "Sidecar stopping" in sidecar.log_text(), "the signal")
        with AnsweringServer(lambda _: Reply(204), port=port) as server:
            assert sidecar.process.wait(40) == 0
            assert numbers(server.requests) == [1]
    assert list(pod.spool.glob("*")) == []


def test_at_the_end_of_the_grace_period_every_event_was_sent_once(pod: Pod):
    pod.grace = "4s"
    with AnsweringServer(lambda _: Reply(503)) as server, pod.sidecar(server.url) as sidecar:
        assert [post(sidecar, pod, value) for value in (1, 2)] == [202, 202]
        assert sidecar.terminate() == 0
    assert numbers(server.requests)[-2:] == [1, 2]
    assert set(numbers(server.requests)[:-2]) == {1}
    assert sidecar.log_text().count("Event not delivered") == 2


def test_an_invalid_grace_period_is_named(pod: Pod):
    pod.grace = "soon"
    with pytest.raises(AssertionError, match="TERMINATION_GRACE: 'soon' is not a duration"):
        pod.sidecar("http://localhost:1").start()


def test_a_restarted_sidecar_delivers_stored_events(pod: Pod):
    port = free_port()
    headers = {"X-Tenant": "red", "Authorization": "Bearer of the adapter"}
    with pod.sidecar(f"http://localhost:{port}") as sidecar:
        for value in (1, 2):
            assert sidecar.call("POST", pod.events, number(value), headers).status == 202
    (first, second) = sorted(pod.spool.glob("*.json"))
    assert "of the adapter" not in first.read_text() + second.read_text()
    (pod.spool / "00000000.json").write_text("damaged")
    with AnsweringServer(lambda _: Reply(204), port=port) as server, pod.sidecar(f"http://localhost:{port}"):
        wait_until(lambda: numbers(server.requests) == [1, 2], "both events")
        assert server.requests[0].header("X-Tenant") == ["red"]
        wait_until(lambda: not first.exists() and not second.exists(), "an empty spool")


def test_files_written_by_an_adapter_are_validated(pod: Pod, server: AnsweringServer):
    pod.spool.mkdir()

    def left(name: str, target: str) -> None:
        text = json.dumps({"target": target, "headers": [], "body": "e30="})
        (pod.spool / name).write_text(text)

    left("00000001.json", "/api/v1/evaluations/jobs/another/events")
    left("00000002.json", "/api/v1/evaluations/providers")
    left("00000003.json", f"/api/v1/evaluations/jobs/../jobs/{pod.job_id}/events")
    left("evil.json", pod.events)
    (pod.folder / "elsewhere").write_text(json.dumps({"target": pod.events, "headers": [], "body": "e30="}))
    (pod.spool / "00000004.json").symlink_to(pod.folder / "elsewhere")
    left("00000005.json", pod.events)
    with pod.sidecar(server.url) as sidecar:
        wait_until(lambda: not (pod.spool / "00000005.json").exists(), "the job's own event")
        assert post(sidecar, pod, 1) == 204
    assert [received.path for received in server.requests] == [pod.events] * 2


def stored(event: Event) -> bytes:
    return msgspec.json.encode(event)


async def test_only_own_files_are_stored_events_and_no_new_one_replaces_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spool, outside = tmp_path / "spool", tmp_path / "outside"
    spool.mkdir(0o700)
    outside.write_bytes(stored(an_event("outside")))
    (spool / "00000001.json").write_bytes(stored(an_event("own")))
    (spool / "00000002.json").symlink_to(outside)
    (spool / "00000003.json").hardlink_to(outside)
    os.mkfifo(spool / "00000004.json")
    (spool / "00000005.json").mkdir()
    (spool / "00000006.json").write_bytes(stored(an_event("of another user")))
    if os.geteuid() == 0:
        os.chown(spool / "00000006.json", 65534, 65534)
    else:
        (spool / "00000006.json").chmod(0o666)
    files = EventFiles(spool, lambda _: True)
    assert [event.body for _, event in await files.read_all()] == [b"own"]
    path = files.next_path()
    assert path.name == "00000007.json"
    write_event(path, an_event("new"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert msgspec.json.decode(outside.read_bytes(), type=Event) == an_event("outside")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
async def test_another_users_directory_holds_no_stored_events(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir(0o700)
    (spool / "00000001.json").write_bytes(stored(an_event()))
    os.chown(spool, 65534, 65534)
    files = EventFiles(spool, lambda _: True)
    assert await files.read_all() == []
    with pytest.raises(OSError, match="another user"):
        write_event(files.next_path(), an_event())


def test_jobs_have_separate_queues(tmp_path: Path, server: AnsweringServer):
    server.answer = lambda r: Reply(503 if "/jobs/a/" in r.path else 204)
    with RunningSidecar(tmp_path, {"local_mode": True, "eval_hub": {"base_url": server.url}}) as sidecar:
        for job, status in (("a", 202), ("b", 204), ("a", 202), ("b", 204)):
            assert sidecar.call("POST", f"/api/v1/evaluations/jobs/{job}/events", {}).status == status


def test_events_for_a_jobs_own_callback_url_are_stored(tmp_path: Path, server: AnsweringServer):
    server.answer = lambda _: Reply(503)
    path = "/callback/t0ken/api/v1/evaluations/jobs/a/events"
    with RunningSidecar(tmp_path, {"local_mode": True, "eval_hub": {"base_url": server.url}}) as sidecar:
        assert sidecar.call("POST", path, {}).status == 202
        server.answer = lambda _: Reply(204)
        assert sidecar.terminate() == 0
    assert {received.path for received in server.requests} == {path}


def test_an_event_is_delivered_after_the_adapter_disconnected(pod: Pod, server: AnsweringServer):
    go_on = threading.Event()

    def slow(_: Request) -> Reply:
        go_on.wait(30)
        return Reply(503 if len(server.requests) == 1 else 204)

    server.answer = slow
    with pod.sidecar(server.url) as sidecar:
        connection = sidecar.connection()
        connection.request("POST", pod.events, json.dumps(number(1)).encode())
        server.until(1)
        connection.close()
        go_on.set()
        assert numbers(server.until(2)) == [1, 1]


def test_an_event_that_is_too_large_is_refused(pod: Pod, server: AnsweringServer):
    with pod.sidecar(server.url) as sidecar:
        answer = sidecar.call("POST", pod.events, b"x" * (10 * 2**20 + 1))
    assert answer.refusal == (413, "request_body_too_large")
    assert server.requests == []


def an_event(text: str = "x", target: str = "/t") -> Event:
    return Event(target=target, headers=(), body=text.encode())


def answering(*answers: Answer | None) -> tuple[list[str], Callable[[Event], Awaitable[Answer | None]]]:
    """A sender that returns these answers, the last one repeatedly, and the list of sent events."""
    sent: list[str] = []

    async def send(event: Event) -> Answer | None:
        sent.append(event.body.decode())
        return answers[min(len(sent), len(answers)) - 1]

    return sent, send


async def test_an_event_is_accepted_before_the_adapters_timeout(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spool_module, "ANSWER_WITHIN_S", 0.01)
    may_answer = asyncio.Event()

    async def send(event: Event) -> Answer | None:
        await may_answer.wait()
        return Answer(status=204)

    spool = Spool(send)
    assert await spool.deliver(an_event()) is None
    may_answer.set()
    assert await spool.flush(30) == 0


async def test_an_event_that_the_server_fails_on_is_dropped_after_the_last_attempt(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(spool_module, "RETRY", Backoff(0.0, 0.0))
    monkeypatch.setattr(spool_module, "MAX_ATTEMPTS", 3)
    sent, send = answering(*[Answer(status=500)] * 3, Answer(status=204))
    spool = Spool(send)
    assert await spool.deliver(an_event("poison")) is None
    assert await spool.deliver(an_event("good")) is None
    assert await spool.flush(30) == 0
    assert sent == ["poison"] * 3 + ["good"]


async def test_an_unavailable_server_is_retried_without_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spool_module, "RETRY", Backoff(0.0, 0.0))
    monkeypatch.setattr(spool_module, "MAX_ATTEMPTS", 3)
    sent, send = answering(None, *[Answer(status=503)] * 9, Answer(status=204))
    spool = Spool(send)
    await spool.deliver(an_event())
    assert await spool.flush(30) == 0
    assert len(sent) == 11


async def test_at_shutdown_each_event_is_sent_once_more():
    sent: list[str] = []

    async def send(event: Event) -> Answer:
        sent.append(event.body.decode())
        return Answer(status=204 if event.body == b"good" else 503)

    spool = Spool(send)
    for text in ("running", "good", "completed"):
        assert await spool.deliver(an_event(text)) is None
    assert await spool.flush(1) == 2
    assert set(sent[:-3]) == {"running"}
    assert sent[-3:] == ["running", "good", "completed"]


async def test_a_full_spool_refuses_events(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spool_module, "MAX_SPOOL_BYTES", 10)
    _, send = answering(None)
    spool = Spool(send)
    assert await spool.deliver(an_event("12345")) is None
    with pytest.raises(Refused) as refused:
        await spool.deliver(an_event("123456", "/another"))
    assert (refused.value.status, refused.value.code) == (503, "spool_full")
    assert await spool.flush(0) == 1

"""Streams of server-sent events and followed logs over HTTP."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import psutil
import pytest

from harness import Config, RunningServer, wait_until
from harness.events import EventReader, StreamedEvent
from harness.server import API


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("streams")
    config = Config(folder, service={"port": 0}, local={"max_parallel": 100})
    config.provider("sleep 600 # waits for the test's own events", "b", "c")
    script = 'd=$(dirname "$EVALHUB_JOB_SPEC_PATH"); echo one; echo two; until [ -e "$d/go" ]; do sleep 0.05; done; '
    config.provider(script + "echo three; printf last; exit 1", provider_id="prints")
    return config


@pytest.fixture(scope="module")
def server(config: Config) -> Iterator[RunningServer]:
    with RunningServer(config.folder, data_dir=config.folder / "data") as running:
        yield running


def go(config: Config, job_id: str) -> None:
    """Let the job of ``prints`` continue."""

    def found() -> bool:
        specs = list((config.jobs_dir / job_id).glob("**/job.json"))
        for spec in specs:
            (spec.parent / "go").touch()
        return bool(specs)

    wait_until(found, "the job's directory")


def stream(server: RunningServer, job_id: str, *fields: str, query: str = "", version: str = "1.1"):
    return EventReader(server, f"{API}/jobs/{job_id}/stream{query}", *fields, version=version)


def shown(events: list[StreamedEvent]) -> list[tuple[str, str]]:
    return [
        (e.name, e.data["state"] if e.name == "job" else e.data["benchmark"]["status"])
        for e in events
        if e.name in ("job", "benchmark")
    ]


def test_a_stream_begins_with_the_state_and_ends_with_the_job(server: RunningServer):
    job_id = server.submit("b")
    server.report(job_id, "running")
    with stream(server, job_id) as events:
        assert events.status == 200
        assert events.fields["content-type"] == "text/event-stream; charset=utf-8"
        assert events.fields["cache-control"] == "no-store"
        assert shown([events.event(), events.event()]) == [("job", "running"), ("benchmark", "running")]  # pyright: ignore[reportArgumentType]
        server.report(job_id, "running", progress={"done": 3, "total": 4})
        event = events.event()
        assert event is not None
        assert event.data["job_id"] == job_id
        assert event.data["benchmark"]["progress"]["done"] == 3
        server.report(job_id, "completed", metrics={"acc": 1.0})
        rest = events.rest()
    assert shown(rest) == [("benchmark", "completed"), ("job", "completed")]
    assert (rest[-1].name, rest[-1].data) == ("end", {"reason": "job_ended", "state": "completed"})


def test_a_reader_resumes_after_the_last_event_that_it_got(server: RunningServer):
    job_id = server.submit("b")
    server.report(job_id, "running")
    with stream(server, job_id) as events:
        events.until("benchmark")
        last_id = events.last_id
    for done in (1, 2, 3):
        server.report(job_id, "running", progress={"done": done, "total": 4})
    with stream(server, job_id, f"Last-Event-ID: {last_id}") as events:
        missed = [events.event() for _ in range(3)]
        assert [e.data["benchmark"]["progress"]["done"] for e in missed if e] == [1, 2, 3]
        last_id = events.last_id
    server.report(job_id, "completed", metrics={"acc": 1.0})
    with stream(server, job_id, f"Last-Event-ID: {last_id}") as events:
        assert [e.name for e in events.rest()] == ["benchmark", "job", "end"]
        end = events.last_id
    with stream(server, job_id, f"Last-Event-ID: {end}") as events:
        assert events.status == 204


@pytest.mark.parametrize("text", ["nonsense", "0" * 8 + "-5", "0" * 8 + "-5;999:7"])
def test_an_unknown_id_is_as_good_as_none(server: RunningServer, text: str):
    job_id = server.submit("b")
    server.report(job_id, "running")
    with stream(server, job_id, f"Last-Event-ID: {text}", query="?logs=true") as events:
        assert shown(events.until("benchmark")) == [("job", "running"), ("benchmark", "running")]


def test_logs_are_part_of_a_stream_on_request(server: RunningServer, config: Config):
    job_id = server.submit("b", provider="prints")
    with stream(server, job_id, query="?logs=true") as events:
        text = events.until("log")[-1].data["text"]
        while "two\n" not in text:
            text += events.until("log")[-1].data["text"]
        go(config, job_id)
        rest = events.rest()
    text += "".join(e.data["text"] for e in rest if e.name == "log")
    assert text == "one\ntwo\nthree\nlast"
    assert rest[-1].data == {"reason": "job_ended", "state": "failed"}


def test_a_stream_with_logs_resumes_after_a_restart_of_the_server(server: RunningServer, config: Config):
    job_id = server.submit("b", provider="prints")
    text = ""
    with stream(server, job_id, query="?logs=true") as events:
        while "two\n" not in text:
            text += events.until("log")[-1].data["text"]
        server.kill()
        with contextlib.suppress(OSError, ValueError):
            events.rest()
        last_id = events.last_id
    server.start()
    with stream(server, job_id, f"Last-Event-ID: {last_id}", query="?logs=true") as events:
        assert events.event().name == "job"  # pyright: ignore[reportOptionalMemberAccess]  the state again
        go(config, job_id)
        rest = events.rest()
    text += "".join(e.data["text"] for e in rest if e.name == "log")
    assert text == "one\ntwo\nthree\nlast"


def test_the_stream_of_a_list_has_the_jobs_that_match(server: RunningServer):
    with EventReader(server, f"{API}/jobs/stream?tags=followed&limit=1") as events:
        server.submit("b")
        job_id = server.submit("b", tags=["followed"])
        server.report(job_id, "running")
        found = [*events.until("job"), *events.until("job")]
        assert {e.data["job_id"] for e in found} == {job_id}
        last_id = events.last_id
    server.report(job_id, "completed", metrics={"acc": 1.0})
    with EventReader(
        server, f"{API}/jobs/stream?tags=followed&status=running", f"Last-Event-ID: {last_id}"
    ) as events:
        # It leaves the list, which readers have to see.
        assert shown(events.until("job")) == [("benchmark", "completed"), ("job", "completed")]
        server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true")


def test_tenants_follow_their_own_jobs_only(server: RunningServer):
    own, foreign = {"X-Tenant": "mine"}, {"X-Tenant": "theirs"}
    bodies = {"name": "j", "model": {"url": "http://m.test", "name": "m"}, "benchmarks": []}
    bodies["benchmarks"] = [{"id": "b", "provider_id": "scripted"}]
    with EventReader(server, f"{API}/jobs/stream", "X-Tenant: mine") as events:
        wait_until(lambda: server.connections == 1, "the stream")
        other = server.call("POST", f"{API}/jobs", bodies, foreign).body["resource"]["id"]
        job = server.call("POST", f"{API}/jobs", bodies, own).body["resource"]["id"]
        assert events.until("job")[-1].data["job_id"] == job
        last_id = events.last_id
    with EventReader(
        server, f"{API}/jobs/stream", "X-Tenant: theirs", f"Last-Event-ID: {last_id.split('-')[0]}-0"
    ) as events:
        assert events.until("job")[0].data["job_id"] == other
    for path in (f"{API}/jobs/{other}/stream", f"{API}/jobs/{other}/logs?follow=true"):
        with EventReader(server, path, "X-Tenant: mine") as events:
            assert events.status == 404


def test_a_deleted_job_ends_its_streams(server: RunningServer):
    job_id = server.submit("b")
    with stream(server, job_id) as events, EventReader(server, f"{API}/jobs/stream?limit=1") as all_jobs:
        events.until("benchmark")
        all_jobs.until("job")
        server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true")
        assert events.rest()[-1].data == {"reason": "job_ended", "state": "cancelled"}
        assert all_jobs.until("job")[-1].data["state"] == "cancelled"
        deleted = all_jobs.until("job")[-1].data
        assert (deleted["job_id"], deleted["deleted"]) == (job_id, True)


def test_followed_logs_end_with_the_benchmark(server: RunningServer, config: Config):
    job_id = server.submit("b", provider="prints")
    for path in ("logs", "benchmarks/0/logs"):
        with EventReader(server, f"{API}/jobs/{job_id}/{path}?follow=true&tail_lines=1000") as reader:
            assert reader.fields["content-type"] == "text/plain; charset=utf-8"
            text = b""
            while b"two\n" not in text:
                text += reader.chunk()
            if path != "logs":
                go(config, job_id)
                while chunk := reader.chunk():
                    text += chunk
                assert text == b"one\ntwo\nthree\nlast"
            else:
                assert text.startswith(b"=== pod=")
    with EventReader(server, f"{API}/jobs/{job_id}/benchmarks/0/logs?follow=true&tail_lines=2") as reader:
        assert b"".join(iter(reader.chunk, b"")) == b"three\nlast"
    assert server.call("GET", f"{API}/jobs/{job_id}/benchmarks/7/logs?follow=true").status == 404


def test_http_1_0_clients_get_the_plain_stream(server: RunningServer):
    job_id = server.submit("b")
    server.report(job_id, "completed", metrics={"acc": 1.0})
    with stream(server, job_id, version="1.0") as events:
        assert "transfer-encoding" not in events.fields
        assert [e.name for e in events.rest()] == ["job", "benchmark", "end"]


def test_a_head_request_has_no_body(server: RunningServer):
    answer = server.call("HEAD", f"{API}/jobs/stream")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


def test_a_reader_that_leaves_releases_everything(server: RunningServer):
    job_id = server.submit("b", provider="prints")
    process = psutil.Process(server.pid)
    wait_until(lambda: "two" in server.logs(job_id), "the adapter")
    wait_until(lambda: server.connections == 0, "no connection")
    before = process.num_fds()
    readers = [stream(server, job_id, query="?logs=true") for _ in range(10)]
    for reader in readers:
        reader.until("log")
        reader.close()
    wait_until(lambda: server.connections == 0 and process.num_fds() <= before, "the descriptors")


@pytest.mark.slow
def test_a_reader_that_does_not_read_is_disconnected(server: RunningServer):
    job_id = server.submit("b")
    wait_until(lambda: server.connections == 0, "no connection")
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(f"GET {API}/jobs/{job_id}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_until(lambda: server.connections == 1, "the stream")
        for done in range(300):  # more than the buffers of the sockets hold
            metrics = {"pad": f"{done}{'x' * 100_000}"}
            assert server.report(job_id, "running", metrics=metrics).status == 204
        # It still has its end of the connection, and the server does not wait for it.
        wait_until(lambda: server.connections == 0, "the end of the connection", timeout_s=90)


def test_the_server_closes_streams_when_it_stops(server: RunningServer):
    job_id = server.submit("b")
    server.report(job_id, "running")
    with stream(server, job_id) as one, EventReader(server, f"{API}/jobs/stream") as all_jobs:
        one.until("benchmark")
        all_jobs.until("job")
        assert server.terminate() == 0
        assert one.rest()[-1].data == {"reason": "server_stopping"}
        assert all_jobs.rest()[-1].data == {"reason": "server_stopping"}
    server.start()

"""The contract over the example runtime, and its reports over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evalhub_server.plugins import BenchmarkRun, LogOptions, Runtime
from evalhub_server.testing.echo import EchoRuntime
from evalhub_server.testing.runs import a_run
from evalhub_server.testing.runtime_contract import RuntimeContract

pytestmark = pytest.mark.asyncio


class TestEchoRuntime(RuntimeContract):
    survives_restart = False

    def make_runtime(self, directory: Path) -> Runtime:
        return EchoRuntime()

    def succeeds(self) -> BenchmarkRun:
        return a_run(callback_url="")

    def fails_with_3(self) -> BenchmarkRun:
        return a_run({"exit_code": 3}, callback_url="")

    def runs_until_stopped(self) -> BenchmarkRun:
        return a_run({"sleep_s": 3600}, callback_url="")

    def prints(self, text: str) -> BenchmarkRun:
        return a_run({"text": text}, callback_url="")

    def cannot_start(self) -> BenchmarkRun:
        return a_run({"sleep_s": "long"}, callback_url="")


class Receiver(ThreadingHTTPServer):
    """Takes events; answers 500 when ``broken``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[str, dict[str, object]]] = []
        self.broken = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.received.append((self.path, body["benchmark_status_event"]))
        self.send_response(500 if self.server.broken else 204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name in the standard library
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def ended(run: BenchmarkRun) -> tuple[int | None, str]:
    runtime = EchoRuntime()
    handle = await runtime.launch(run)
    exit_ = await runtime.wait(handle)
    text = b"".join([chunk async for chunk in runtime.logs(handle, LogOptions())]).decode()
    await runtime.close()
    return exit_.code, text


async def test_it_reports_its_metrics(receiver: Receiver) -> None:
    run = a_run({"metrics": {"score": 1.0}}, callback_url=receiver.url)
    assert await ended(run) == (0, "")
    path = f"/api/v1/evaluations/jobs/{run.spec.id}/events"
    ids = {"provider_id": "provider-a", "id": "bench-0", "benchmark_index": 0}
    assert receiver.received == [
        (path, {**ids, "status": "running"}),
        (path, {**ids, "status": "completed", "metrics": {"score": 1.0}}),
    ]


async def test_a_crash_reports_no_result(receiver: Receiver) -> None:
    assert await ended(a_run({"exit_code": 7}, callback_url=receiver.url)) == (7, "")
    assert [event["status"] for _, event in receiver.received] == ["running"]


async def test_a_report_that_is_refused_is_logged(receiver: Receiver) -> None:
    receiver.broken = True
    code, text = await ended(a_run({}, callback_url=receiver.url))
    assert code == 1
    assert "event completed was not accepted: HTTP Error 500" in text


async def test_a_server_that_is_not_there_is_logged() -> None:
    code, text = await ended(a_run({}))
    assert code == 1
    assert "Connection refused" in text

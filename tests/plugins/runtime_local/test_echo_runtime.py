"""The contract over the example runtime, and its reports over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evalhub_server.plugins import BenchmarkRun, LogOptions, Runtime
from evalhub_server.testing.echo import EchoRuntime
from evalhub_server.testing.runs import a_run
from evalhub_server.testing.runtime_contract import RuntimeContract
from harness.answering import AnsweringServer, Reply

pytestmark = pytest.mark.asyncio


class TestEchoRuntime(RuntimeContract):
    survives_restart = False
    starts_processes = False
    gives_input = False

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


@pytest.fixture
def server() -> Iterator[AnsweringServer]:
    """Takes events."""
    with AnsweringServer(lambda _: Reply(204)) as running:
        yield running


async def wait_for_exit(run: BenchmarkRun) -> tuple[int | None, str]:
    runtime = EchoRuntime()
    handle = await runtime.launch(run)
    exit_ = await runtime.wait(handle)
    text = b"".join([chunk async for chunk in runtime.logs(handle, LogOptions())]).decode()
    await runtime.close()
    return exit_.code, text


async def test_it_reports_its_metrics(server: AnsweringServer) -> None:
    run = a_run({"metrics": {"score": 1.0}}, callback_url=server.url)
    assert await wait_for_exit(run) == (0, "")
    ids = {"provider_id": "provider-a", "id": "bench-0", "benchmark_index": 0}
    assert [request.document["benchmark_status_event"] for request in server.requests] == [
        {**ids, "status": "running"},
        {**ids, "status": "completed", "metrics": {"score": 1.0}},
    ]
    assert {request.path for request in server.requests} == {f"/api/v1/evaluations/jobs/{run.spec.id}/events"}


async def test_a_crash_reports_no_result(server: AnsweringServer) -> None:
    assert await wait_for_exit(a_run({"exit_code": 7}, callback_url=server.url)) == (7, "")
    (request,) = server.requests
    assert request.document["benchmark_status_event"]["status"] == "running"


async def test_a_report_that_is_refused_is_logged(server: AnsweringServer) -> None:
    server.answer = lambda _: Reply(500)
    code, text = await wait_for_exit(a_run({}, callback_url=server.url))
    assert code == 1
    assert "event completed was not accepted: HTTP Error 500" in text


async def test_a_server_that_is_not_there_is_logged() -> None:
    code, text = await wait_for_exit(a_run({}))
    assert code == 1
    assert "Connection refused" in text

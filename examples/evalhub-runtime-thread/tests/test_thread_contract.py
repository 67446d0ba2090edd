"""The server's conformance suite over the thread runtime, and what is special about threads."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from evalhub_runtime_thread import runtime as thread_runtime
from evalhub_runtime_thread.runtime import ThreadRuntime
from evalhub_runtime_thread.workload import Task
from evalhub_server.plugins import BenchmarkRun, Runtime, StartupError
from evalhub_server.testing import RuntimeContract, a_run


def say(task: Task) -> dict[str, Any]:
    if text := task.spec.parameters.get("text"):
        for line in text.split("\n"):
            task.say(line)
    return {"score": 1.0}


def leave(task: Task) -> dict[str, Any]:
    sys.exit(3)


def fail(task: Task) -> dict[str, Any]:
    raise ValueError("no such data set")


def hang(task: Task) -> dict[str, Any]:
    task.stopping.wait()
    return {}


never_listening = threading.Event()


def ignore(task: Task) -> dict[str, Any]:
    never_listening.wait()
    return {}


class Server(ThreadingHTTPServer):
    """Takes events and remembers them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.events: list[dict[str, Any]] = []
        self.status = 204


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Server)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.events.append({"path": self.path, **body["benchmark_status_event"]})
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class calls it so
        pass


class TestThreadRuntime(RuntimeContract):
    survives_restart = False
    starts_processes = False
    gives_input = False

    @pytest.fixture(autouse=True)
    def server(self) -> Iterator[Server]:
        with Server() as self.callback:
            thread = threading.Thread(target=self.callback.serve_forever, args=(0.01,))
            thread.start()
            yield self.callback
            self.callback.shutdown()
            thread.join()

    def make_runtime(self, directory: Path) -> Runtime:
        return ThreadRuntime([__name__], max_threads=2)

    def calls(self, function: str, **fields: Any) -> BenchmarkRun:
        url = f"http://127.0.0.1:{self.callback.server_port}"
        return a_run({"callable": f"{__name__}:{function}"}, callback_url=url, **fields)

    def succeeds(self) -> BenchmarkRun:
        return self.calls("say")

    def fails_with_3(self) -> BenchmarkRun:
        return self.calls("leave")

    def runs_until_stopped(self) -> BenchmarkRun:
        return self.calls("hang")

    def prints(self, text: str) -> BenchmarkRun:
        return self.calls("say", parameters={"text": text})

    def cannot_start(self) -> BenchmarkRun:
        return a_run({"callable": "os:abort"})

    async def test_running_and_the_metrics_are_reported(self, runtime: Runtime, server: Server):
        run = self.succeeds()
        await self.ended(runtime, run)
        ids = {
            "path": f"/api/v1/evaluations/jobs/{run.spec.id}/events",
            "provider_id": "provider-a",
            "id": "bench-0",
            "benchmark_index": 0,
        }
        completed = {**ids, "status": "completed", "metrics": {"score": 1.0}}
        assert server.events == [{**ids, "status": "running"}, completed]

    async def test_what_the_function_raises_is_in_the_log(self, runtime: Runtime):
        handle, exit_ = await self.ended(runtime, self.calls("fail"))
        assert exit_.code == 1
        assert (await self.log_of(runtime, handle)).endswith("ValueError: no such data set\n")

    async def test_a_refused_report_is_a_failure(self, runtime: Runtime, server: Server):
        server.status = 409
        handle, exit_ = await self.ended(runtime, self.succeeds())
        assert exit_.code == 1
        assert "409" in await self.log_of(runtime, handle)

    async def test_a_stopped_function_reports_no_result(self, runtime: Runtime, server: Server):
        handle = await runtime.launch(self.runs_until_stopped())
        await runtime.stop(handle, self.grace_s)
        assert "completed" not in [event["status"] for event in server.events]

    async def test_a_function_that_does_not_listen_is_not_said_to_have_ended(
        self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(thread_runtime, "LAST_WAIT_S", 0.0)
        never_listening.clear()
        handle = await runtime.launch(self.calls("ignore"))
        waiting = asyncio.create_task(runtime.wait(handle))
        with pytest.raises(TimeoutError, match=r"Task\.stopping"):
            await runtime.stop(handle, 0)
        assert not waiting.done()
        never_listening.set()
        assert (await self.soon(waiting)).signal == "SIGTERM"


@pytest.mark.parametrize(("modules", "hint"), [((), "List the modules"), (("no_such_module",), "Install it")])
@pytest.mark.asyncio
async def test_it_refuses_to_start_without_modules(modules: tuple[str, ...], hint: str):
    with pytest.raises(StartupError, match=rf"thread\.modules.*{hint}"):
        await ThreadRuntime(modules, max_threads=1).check()

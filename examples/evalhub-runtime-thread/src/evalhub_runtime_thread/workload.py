"""One function in one thread, and what it reports."""

from __future__ import annotations

import threading
import traceback
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import msgspec

from evalhub_server.plugins import BenchmarkRun, Exit, JobSpec, Json

HTTP_TIMEOUT_S = 30


class Task(msgspec.Struct, frozen=True):
    """What the function gets. It should return soon once ``stopping`` is set; ``say`` adds a line to the log."""

    spec: JobSpec
    environment: Mapping[str, str]
    stopping: threading.Event
    say: Callable[[str], None]


Function = Callable[[Task], Json]
"""Evaluates, and returns the metrics."""


class Workload:
    """``exit`` is set when the thread has nothing left to do."""

    def __init__(self, run: BenchmarkRun, function: Function) -> None:
        self.lines: list[str] = []
        self.stopping = threading.Event()
        self.exit: Future[Exit] = Future()
        self.exit.set_running_or_notify_cancel()  # from here on, a cancelled wait cannot cancel it
        task = Task(run.spec, run.environment, self.stopping, self.lines.append)
        # Not asyncio.to_thread: Python waits for its threads at exit, and one that does not listen would keep the
        # server from ending. A daemon thread ends with the process.
        threading.Thread(target=self._run, args=(function, task), name=f"run-{run.key}", daemon=True).start()

    def _run(self, function: Function, task: Task) -> None:
        code: object = 0
        try:
            report(task.spec, status="running")
            metrics = function(task)
            if not self.stopping.is_set():
                report(task.spec, status="completed", metrics=metrics)
        except BaseException as error:  # noqa: BLE001  whatever it is, the exit must be set
            self.lines.extend(traceback.format_exc().splitlines())
            code = error.code if isinstance(error, SystemExit) else 1
        if self.stopping.is_set():
            self.exit.set_result(Exit(signal="SIGTERM"))  # the word for "asked to end" that the core knows
        else:
            self.exit.set_result(Exit(code=code if isinstance(code, int) else 1))


def report(spec: JobSpec, **event: Any) -> None:
    """POST a status event, as every adapter does. Raises :class:`OSError` if the server does not take it."""
    ids = {"provider_id": spec.provider_id, "id": spec.benchmark_id, "benchmark_index": spec.benchmark_index}
    url = f"{spec.callback_url}/api/v1/evaluations/jobs/{spec.id}/events"
    body = msgspec.json.encode({"benchmark_status_event": ids | event})
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310  the server's own
    urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S).close()  # noqa: S310  as above

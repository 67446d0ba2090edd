"""A runtime without processes: an example for plugin authors, and a fast one for tests.

A workload is a task of this event loop. The provider file defines what it does::

    runtime:
      echo:
        metrics: {score: 1.0}     # reported when it completes
        text: "hello"             # printed to its log
        sleep_s: 0.5              # between the reports of running and completed
        exit_code: 0              # any other: it ends without a result, like a crashed adapter
"""

from __future__ import annotations

import asyncio
import http.client
import urllib.error
import urllib.request
from collections import deque
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import msgspec
from msgspec import Struct

from evalhub_server.domain.record import Exit
from evalhub_server.errors import LaunchError
from evalhub_server.models.common import Json
from evalhub_server.models.jobspec import JobSpec
from evalhub_server.plugins.runtime import BenchmarkRun, Handle, LogOptions, Runtime

HTTP_TIMEOUT_S = 10


class EchoConfig(Struct, kw_only=True, frozen=True):
    """``runtime.echo`` of a provider file."""

    metrics: Json = {}
    text: str = ""
    sleep_s: float = 0.0
    exit_code: int = 0


class EchoWorkload:
    """The counterpart of a process or a pod in other runtimes."""

    def __init__(self, spec: JobSpec, config: EchoConfig) -> None:
        self.log = bytearray()
        self.exit = Exit(signal="SIGTERM")
        self._spec = spec
        self._config = config
        self.task = asyncio.create_task(self._run(), name=f"echo-{spec.id}-{spec.benchmark_index}")

    async def _run(self) -> None:
        if self._config.text:
            self._print(self._config.text)
        reported = await self._report(status="running")
        await asyncio.sleep(self._config.sleep_s)
        if self._config.exit_code == 0:
            reported = await self._report(status="completed", metrics=self._config.metrics) and reported
        self.exit = Exit(code=self._config.exit_code if reported else 1)

    async def _report(self, **event: Any) -> bool:
        """POST one status event, unless there is no ``callback_url``; False if the server refused it."""
        spec = self._spec
        if not spec.callback_url:
            return True
        ids = {
            "provider_id": spec.provider_id,
            "id": spec.benchmark_id,
            "benchmark_index": spec.benchmark_index,
        }
        request = urllib.request.Request(  # noqa: S310  the server's own address
            f"{spec.callback_url}/api/v1/evaluations/jobs/{spec.id}/events",
            data=msgspec.json.encode({"benchmark_status_event": ids | event}),
            headers={"Content-Type": "application/json"},
        )
        sending = asyncio.ensure_future(asyncio.to_thread(_send, request))
        try:
            problem = await asyncio.shield(sending)
        except asyncio.CancelledError:
            # A thread cannot be cancelled, and a stopped workload must not report.
            await asyncio.wait([sending])
            raise
        if problem:
            self._print(f"event {event['status']} was not accepted: {problem}")
        return not problem

    def _print(self, text: str) -> None:
        self.log += text.encode() + b"\n"


class EchoRuntime(Runtime):
    """Runs benchmarks as tasks of the event loop. They end with the server, and are lost to a durable storage."""

    name = "echo"
    provider_key = "echo"

    def __init__(self) -> None:
        self._workloads: dict[tuple[str, int, int], EchoWorkload] = {}

    async def check(self) -> None:
        """Do nothing: it runs anywhere."""

    async def launch(self, run: BenchmarkRun) -> Handle:
        # No await, so that two callers cannot both start the workload.
        if run.key not in self._workloads:
            try:
                config = msgspec.convert(run.config or {}, EchoConfig)
            except msgspec.ValidationError as error:
                raise LaunchError(
                    f"Provider '{run.spec.provider_id}': runtime.echo: {error}. Correct the provider."
                ) from error
            self._workloads[run.key] = EchoWorkload(run.spec, config)
        return _handle(run)

    async def find(self, run: BenchmarkRun) -> Handle | None:
        return _handle(run) if run.key in self._workloads else None

    async def wait(self, handle: Handle) -> Exit:
        workload = self._workload(handle)
        if workload is None:
            return Exit(lost=True)
        # Unlike awaiting the task, this leaves it alone when the caller is cancelled.
        await asyncio.wait([workload.task])
        return workload.exit

    async def stop(self, handle: Handle, grace_s: float) -> None:
        workload = self._workload(handle)
        if workload is not None:
            workload.task.cancel()
            await asyncio.wait([workload.task])

    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        workload = self._workload(handle)
        text = bytes(workload.log) if workload else b""
        if options.tail_lines >= 0:
            text = b"".join(deque(BytesIO(text), maxlen=options.tail_lines))
        if text:
            yield text

    async def remove(self, job_id: str, tenant: str) -> None:
        for key in [key for key in self._workloads if key[0] == job_id]:
            del self._workloads[key]

    async def close(self) -> None:
        """Cancel the tasks: unlike processes, they cannot outlive the event loop."""
        tasks = [workload.task for workload in self._workloads.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _workload(self, handle: Handle) -> EchoWorkload | None:
        return self._workloads.get((handle["job_id"], handle["benchmark_index"], handle["attempt"]))


def _handle(run: BenchmarkRun) -> Handle:
    job_id, benchmark_index, attempt = run.key
    return {"job_id": job_id, "benchmark_index": benchmark_index, "attempt": attempt}


def _send(request: urllib.request.Request) -> str:
    """Return the error text; empty on success."""
    try:
        urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S).close()  # noqa: S310  as above
    except urllib.error.HTTPError as error:
        with error:
            return str(error)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    return ""

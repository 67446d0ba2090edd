"""Runs a Python function in a thread of the server. A provider file names it::

    runtime:
      thread:
        callable: my_package.my_module:my_function

It is called with a :class:`~evalhub_runtime_thread.workload.Task` and returns metrics; what it raises fails the
benchmark. A thread cannot do all that a process or a pod can:

* It does not outlive the server: after a restart its workload is lost, and ``wait`` says so.
* It cannot be forced to end. It is asked to, through ``Task.stopping``; while the function does not listen,
  ``stop`` raises and the server tries again.
* It has no environment of its own: what trackers set is in ``Task.environment``.
* It cannot crash alone. So it calls only functions of the modules that ``thread.modules`` in config.yaml lists.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import AsyncIterator, Collection
from typing import cast

import msgspec

from evalhub_runtime_thread.workload import Function, Workload
from evalhub_server.plugins import (
    BenchmarkRun,
    Exit,
    Handle,
    LaunchError,
    Limits,
    LogOptions,
    Runtime,
    StartupError,
)

LAST_WAIT_S = 5.0
"""How long ``stop`` waits after the grace, where other runtimes use force."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``runtime.thread`` of a provider file."""

    callable: str


class ThreadRuntime(Runtime):
    name = "thread"
    provider_key = "thread"

    def __init__(self, modules: Collection[str], max_threads: int) -> None:
        self.limits = Limits(total=max_threads)
        self._modules = modules
        self._workloads: dict[tuple[str, int, int], Workload] = {}

    async def check(self) -> None:
        if not self._modules:
            raise StartupError("thread.modules: empty. List the modules whose functions providers may name.")
        for name in self._modules:
            try:
                await asyncio.to_thread(importlib.import_module, name)
            except ImportError as error:
                raise StartupError(
                    f"thread.modules: {name}: {error}. Install it into the server's environment, or correct the name."
                ) from error

    async def launch(self, run: BenchmarkRun) -> Handle:
        # No await between the question and the answer, so two callers cannot both start it.
        if run.key not in self._workloads:
            self._workloads[run.key] = Workload(run, self._function(run))
        return _handle(run)

    async def find(self, run: BenchmarkRun) -> Handle | None:
        return _handle(run) if run.key in self._workloads else None

    async def wait(self, handle: Handle) -> Exit:
        workload = self._workload(handle)
        return await asyncio.wrap_future(workload.exit) if workload else Exit(lost=True)

    async def stop(self, handle: Handle, grace_s: float) -> None:
        workload = self._workload(handle)
        if workload is None:
            return
        workload.stopping.set()
        _, alive = await asyncio.wait([asyncio.wrap_future(workload.exit)], timeout=grace_s + LAST_WAIT_S)
        if alive:  # to return would be to say that nothing of it is alive
            raise TimeoutError("the function does not look at Task.stopping, and a thread cannot be forced")

    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        workload = self._workload(handle)
        lines = list(workload.lines) if workload else []
        if options.tail_lines >= 0:
            lines = lines[max(len(lines) - options.tail_lines, 0) :]
        if lines:
            yield "".join(f"{line}\n" for line in lines).encode()

    async def remove(self, job_id: str, tenant: str) -> None:
        for key in [key for key in self._workloads if key[0] == job_id]:
            del self._workloads[key]

    async def close(self) -> None:
        """Ask the threads to end."""
        for workload in self._workloads.values():
            workload.stopping.set()

    def _function(self, run: BenchmarkRun) -> Function:
        where = f"Provider '{run.spec.provider_id}': runtime.thread"
        try:
            entry = msgspec.convert(run.config or {}, Entry)
        except msgspec.ValidationError as error:
            raise LaunchError(f"{where}: {error}. Correct the provider.") from error
        module, _, name = entry.callable.partition(":")
        function = getattr(sys.modules[module], name, None) if module in self._modules else None
        if not callable(function):
            raise LaunchError(f"{where}.callable: '{entry.callable}' is not in a module of thread.modules.")
        return cast("Function", function)

    def _workload(self, handle: Handle) -> Workload | None:
        job_id, benchmark_index, attempt = handle["key"]
        return self._workloads.get((job_id, benchmark_index, attempt))


def _handle(run: BenchmarkRun) -> Handle:
    return {"key": list(run.key)}
